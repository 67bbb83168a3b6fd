// SPDX-License-Identifier: Apache-2.0
// Who takes part, in the meeting's form: chair, secretary, and everybody else with a role.

import { X } from "lucide-react";
import { useTranslation } from "react-i18next";

import type { Role } from "../api/types";
import { Button, Empty, Select } from "../ui/basics";
import type { Errors, Invited, SetField } from "./meeting-draft";
import { type PartyChoice, partyKey, PartySearch } from "./party-search";

const INVITED_ROLES: Role[] = ["delegate", "secretary", "operator", "observer", "press"];

export function PartyFields({ invited, errors, set }: { invited: Invited[]; errors: Errors; set: SetField }) {
  const { t } = useTranslation();
  const chair = invited.find((each) => each.role === "chair");
  const secretary = invited.find((each) => each.role === "secretary");
  const taken = new Set(invited.map(partyKey));
  const appoint = (role: Role) => (party: PartyChoice) => set("invited", [...invited, { ...party, role }]);
  const dismiss = (party: Invited) =>
    set(
      "invited",
      invited.filter((each) => each !== party),
    );
  return (
    <section className="panel">
      <h2>{t("form.who")}</h2>
      <Single
        label={t("form.chair")}
        help={t("form.chair_help")}
        chosen={chair}
        taken={taken}
        error={errors.chair}
        onChoose={appoint("chair")}
        onDismiss={dismiss}
      />
      <Single
        label={t("form.secretary")}
        chosen={secretary}
        taken={taken}
        onChoose={appoint("secretary")}
        onDismiss={dismiss}
      />
      <PartySearch
        label={t("form.search")}
        help={t("form.search_help")}
        error={errors.invited}
        kinds={["unit", "site", "user"]}
        taken={taken}
        onChoose={appoint("delegate")}
      />
      <h3>{t("form.invited", { count: invited.length })}</h3>
      {invited.length === 0 && <Empty>{t("form.invited_none")}</Empty>}
      <ul className="parties" aria-label={t("form.invite")}>
        {invited
          .filter((each) => each !== chair && each !== secretary)
          .map((each) => (
            <li key={partyKey(each)}>
              <PartyName party={each} />
              <Select
                hideLabel
                label={t("form.role_of", { name: each.name })}
                value={each.role}
                options={INVITED_ROLES.map((role) => ({ value: role, label: t(`role.${role}`) }))}
                onChange={(role) =>
                  set(
                    "invited",
                    invited.map((other) => (other === each ? { ...each, role: role as Role } : other)),
                  )
                }
              />
              <RemoveButton party={each} onDismiss={dismiss} />
            </li>
          ))}
      </ul>
    </section>
  );
}

/** One party in one role: a search until somebody is chosen, then the name. */
function Single({
  label,
  chosen,
  onDismiss,
  ...search
}: {
  label: string;
  help?: string;
  chosen: Invited | undefined;
  taken: ReadonlySet<string>;
  error?: string | undefined;
  onChoose: (party: PartyChoice) => void;
  onDismiss: (party: Invited) => void;
}) {
  if (!chosen) return <PartySearch label={label} kinds={["user", "site"]} {...search} />;
  return (
    <div className="field" role="group" aria-label={label}>
      <span className="field-label">{label}</span>
      <div className="chosen">
        <PartyName party={chosen} />
        <RemoveButton party={chosen} onDismiss={onDismiss} />
      </div>
    </div>
  );
}

function PartyName({ party }: { party: Invited }) {
  return (
    <span>
      <strong>{party.name}</strong>
      <small>{party.detail}</small>
    </span>
  );
}

function RemoveButton({ party, onDismiss }: { party: Invited; onDismiss: (party: Invited) => void }) {
  const { t } = useTranslation();
  return (
    <Button tone="plain" aria-label={t("form.remove", { name: party.name })} onPress={() => onDismiss(party)}>
      <X size={18} aria-hidden="true" />
    </Button>
  );
}
