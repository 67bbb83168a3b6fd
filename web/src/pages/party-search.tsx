// SPDX-License-Identifier: Apache-2.0
// Finds units, sites and people while one types, with or without diacritics.

import { useQuery } from "@tanstack/react-query";
import { useState } from "react";
import {
  Button as AriaButton,
  ComboBox,
  FieldError,
  Input,
  Label,
  ListBox,
  ListBoxItem,
  Popover,
  Text,
} from "react-aria-components";
import { useTranslation } from "react-i18next";

import { searchQuery, unitsQuery } from "../api/queries";
import type { Party } from "../api/types";
import { useSettled } from "../ui/basics";
import { matches } from "../util/text";

const TYPING_PAUSE_MS = 200;
const MAX_UNITS = 8;

export type PartyChoice = Pick<Party, "kind" | "id" | "name"> & { detail: string };

interface Option extends PartyChoice {
  key: string;
}

export function PartySearch({
  label,
  help,
  error,
  kinds,
  taken,
  onChoose,
}: {
  label: string;
  help?: string;
  error?: string | null | undefined;
  kinds: readonly Party["kind"][];
  /** Keys `kind/id` that are already chosen. */
  taken: ReadonlySet<string>;
  onChoose: (party: PartyChoice) => void;
}) {
  const { t } = useTranslation();
  const [text, setText] = useState("");
  // A fresh combo box after each choice: emptied by hand it would open its list again.
  const [chosenCount, setChosenCount] = useState(0);
  const typed = useSettled(text.trim(), TYPING_PAUSE_MS);
  const asks = (kind: Party["kind"]) => kinds.includes(kind);
  const sites = useQuery({ ...searchQuery("site", typed), enabled: asks("site") });
  const users = useQuery({ ...searchQuery("user", typed), enabled: asks("user") && typed !== "" });
  const units = useQuery(unitsQuery);
  const unitName = (id: string) => units.data?.find((each) => each.id === id)?.name;

  const options: Option[] = [
    ...(asks("unit") && typed ? (units.data ?? []) : [])
      .filter((each) => matches(`${each.name} ${each.code}`, typed))
      .slice(0, MAX_UNITS)
      .map((each) => ({ kind: "unit" as const, id: each.id, name: each.name, detail: t("kind.unit") })),
    ...[...(sites.data ?? []), ...(users.data ?? [])].map((each) => ({
      kind: each.kind,
      id: each.id,
      name: each.name,
      detail: [t(`kind.${each.kind}`), each.office, unitName(each.unit_id)].filter(Boolean).join(" · "),
    })),
  ]
    .map((each) => ({ ...each, key: partyKey(each) }))
    .filter((each) => !taken.has(each.key));
  const searching = sites.isFetching || users.isFetching;

  return (
    <ComboBox
      key={chosenCount}
      className="field"
      // eslint-disable-next-line jsx-a11y/no-autofocus -- keeps the focus where it was, so that one can go on inviting
      autoFocus={chosenCount > 0}
      items={options}
      inputValue={text}
      onInputChange={setText}
      selectedKey={null}
      allowsEmptyCollection
      isInvalid={Boolean(error)}
      onSelectionChange={(key) => {
        const chosen = options.find((each) => each.key === key);
        if (!chosen) return;
        onChoose(chosen);
        setText("");
        setChosenCount(chosenCount + 1);
      }}
    >
      <Label>{label}</Label>
      <div className="field-box">
        <Input />
        <AriaButton className="field-act" aria-label={label}>
          ▾
        </AriaButton>
      </div>
      {help && (
        <Text slot="description" className="field-help">
          {help}
        </Text>
      )}
      <FieldError className="field-error">{error}</FieldError>
      <Popover className="popover" offset={4}>
        <ListBox
          className="options"
          renderEmptyState={() => (
            <p className="empty">{searching ? t("form.searching") : t("form.search_none")}</p>
          )}
        >
          {(option: Option) => (
            <ListBoxItem id={option.key} textValue={option.name} className="option">
              <strong>{option.name}</strong>
              <small>{option.detail}</small>
            </ListBoxItem>
          )}
        </ListBox>
      </Popover>
    </ComboBox>
  );
}

export function partyKey(party: Pick<Party, "kind" | "id">): string {
  return `${party.kind}/${party.id}`;
}
