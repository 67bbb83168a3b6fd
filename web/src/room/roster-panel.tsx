// SPDX-License-Identifier: Apache-2.0
// Every invited site's state, those who wait outside, and beside each the acts of those who run the meeting.

import { useMutation } from "@tanstack/react-query";
import { EllipsisVertical, MicOff, PhoneCall } from "lucide-react";
import { useMemo, useState } from "react";
import { Menu, MenuItem, MenuTrigger, Popover, SearchField, Input, Label } from "react-aria-components";
import { useTranslation } from "react-i18next";

import { decideAdmission } from "../api/queries";
import { Badge, Button, ConfirmDialog, Empty } from "../ui/basics";
import { ProblemBox } from "../ui/problem";
import { matches } from "../util/text";
import { formatTime } from "../util/time";
import { useCommand, useRoom, useRoomContext } from "./context";
import type { Participant, Waiting } from "./protocol";
import { rosterOf, type RosterPresence, type RosterRow } from "./roster";
import { mayAdmit, mayModerate, maySpeak } from "./state";

const PRESENCE_TONE = {
  connected: "ok",
  connecting: "busy",
  lost: "bad",
  absent: "none",
  waiting: "warn",
} as const;
const FILTERS: RosterPresence[] = ["connected", "lost", "absent"];

export function RosterPanel() {
  const { t } = useTranslation();
  const { meeting } = useRoomContext();
  const participants = useRoom((state) => state.participants);
  const waiting = useRoom((state) => state.waiting);
  const role = useRoom((state) => state.role);
  const [search, setSearch] = useState("");
  const [filter, setFilter] = useState<RosterPresence | null>(null);
  const [removing, setRemoving] = useState<Participant | null>(null);
  const command = useCommand();

  const rows = useMemo(
    // Those who decide on the waiting see them above, with the acts.
    () => rosterOf(meeting.appointments, participants, mayAdmit(role) ? [] : waiting),
    [meeting.appointments, participants, role, waiting],
  );
  const count = (presence: RosterPresence) => rows.filter((row) => row.presence === presence).length;
  const invited = rows.filter((row) => !row.extra).length;
  const present = rows.filter((row) => !row.extra && row.presence === "connected").length;
  const shown = rows.filter(
    (row) =>
      (filter === null || row.presence === filter) &&
      (search === "" || matches(`${row.party.name} ${row.party.unit_name ?? ""}`, search)),
  );
  const firstExtra = shown.find((row) => row.extra);

  return (
    <div className="panel-body">
      {mayAdmit(role) && waiting.length > 0 && <WaitingList waiting={waiting} />}
      <p className="panel-count" data-testid="roster-count">
        {t("roster.counts", { present, invited })}
      </p>
      <SearchField value={search} onChange={setSearch} className="field search">
        <Label className="visually-hidden">{t("roster.search")}</Label>
        <Input placeholder={t("roster.search")} />
      </SearchField>
      <div className="filters" role="group" aria-label={t("meeting.state")}>
        <button type="button" aria-pressed={filter === null} onClick={() => setFilter(null)}>
          {t("roster.all")} {rows.length}
        </button>
        {FILTERS.filter((each) => each !== "lost" || filter === each || count(each) > 0).map((each) => (
          <button key={each} type="button" aria-pressed={filter === each} onClick={() => setFilter(each)}>
            {t(`roster.state.${each}`)} {count(each)}
          </button>
        ))}
      </div>
      {shown.length === 0 && <Empty>{t("roster.none")}</Empty>}
      <ul className="roster" aria-label={t("roster.title")}>
        {shown.map((row) => (
          <RosterItem key={row.key} row={row} heading={row === firstExtra} onRemove={setRemoving} />
        ))}
      </ul>
      {removing && (
        <ConfirmDialog
          final
          isOpen
          onOpenChange={() => setRemoving(null)}
          title={t("roster.remove_confirm", { name: removing.party.name })}
          detail={t("roster.remove_detail")}
          confirm={t("roster.remove")}
          onConfirm={() => command({ act: "remove_participant", participant_id: removing.id })}
        />
      )}
    </div>
  );
}

function RosterItem({
  row,
  heading,
  onRemove,
}: {
  row: RosterRow;
  heading: boolean;
  onRemove: (participant: Participant) => void;
}) {
  const { t } = useTranslation();
  const role = useRoom((state) => state.role);
  const me = useRoom((state) => state.me);
  const { participant, party } = row;
  const id = participant?.id ?? "";
  const talking = useRoom((state) => state.talking.has(id));
  const place = useRoom((state) => state.floor.queue.findIndex((each) => each.participant_id === id) + 1);
  const holds = useRoom((state) => state.floor.holders.some((each) => each.participant_id === id));
  const acts = participant && participant.id !== me && mayModerate(role);
  return (
    <>
      {heading && <li className="roster-heading">{t("roster.extra")}</li>}
      <li className={`roster-row is-${row.presence}`} data-testid={`roster-${party.kind}-${party.id}`}>
        <span className="roster-who">
          <strong>
            {party.name}
            {participant?.id === me && ` (${t("room.you")})`}
          </strong>
          <small>
            {[row.role && t(`role.${row.role}`), party.office ?? party.unit_name].filter(Boolean).join(" · ")}
          </small>
        </span>
        <span className="roster-marks">
          <Badge tone={PRESENCE_TONE[row.presence]}>{t(`roster.state.${row.presence}`)}</Badge>
          {holds && <Badge tone="warn">{t("floor.holder")}</Badge>}
          {place > 0 && <Badge tone="busy">{`${t("floor.raise")} ${place}`}</Badge>}
          {talking && !holds && <span className="mark">{t("roster.speaking")}</span>}
          {participant?.muted && (
            <span className="mark">
              <MicOff size={13} aria-hidden="true" /> {t("roster.muted")}
            </span>
          )}
        </span>
        {acts && <RosterActs participant={participant} holds={holds} onRemove={onRemove} />}
      </li>
    </>
  );
}

function RosterActs({
  participant,
  holds,
  onRemove,
}: {
  participant: Participant;
  holds: boolean;
  onRemove: (participant: Participant) => void;
}) {
  const { t } = useTranslation();
  const command = useCommand();
  const pinned = useRoom(
    (state) => state.stage.mode === "pinned" && state.stage.participant_id === participant.id,
  );
  const called = useRoom((state) =>
    state.floor.holders.some((each) => each.participant_id === participant.id && each.called),
  );
  const { id, party } = participant;
  const speaks = maySpeak(participant.role);
  const onAct = (act: string) => {
    if (act === "grant") command({ act: "grant_floor", participant_id: id });
    if (act === "take") command({ act: "take_floor", participant_id: id });
    if (act === "call") command({ act: "call_site", participant_id: id });
    if (act === "mute") command({ act: "mute_participant", participant_id: id, muted: !participant.muted });
    if (act === "stage") command(pinned ? { act: "set_stage" } : { act: "set_stage", participant_id: id });
    if (act === "remove") onRemove(participant);
  };
  return (
    <span className="roster-acts">
      {speaks &&
        (called ? (
          <Button onPress={() => command({ act: "end_call" })}>{t("room.end_call")}</Button>
        ) : (
          <Button aria-label={t("roster.call_named", { name: party.name })} onPress={() => onAct("call")}>
            <PhoneCall size={15} aria-hidden="true" />
            {t("roster.call")}
          </Button>
        ))}
      <MenuTrigger>
        <Button tone="plain" aria-label={t("roster.acts", { name: party.name })}>
          <EllipsisVertical size={18} aria-hidden="true" />
        </Button>
        <Popover className="popover" placement="bottom end">
          <Menu className="menu-list" onAction={(key) => onAct(String(key))}>
            {speaks && !holds && <MenuItem id="grant">{t("roster.grant")}</MenuItem>}
            {holds && <MenuItem id="take">{t("floor.take")}</MenuItem>}
            {speaks && (
              <MenuItem id="mute">{participant.muted ? t("roster.unmute") : t("roster.mute")}</MenuItem>
            )}
            {speaks && <MenuItem id="stage">{pinned ? t("roster.unstage") : t("roster.stage")}</MenuItem>}
            <MenuItem id="remove" className="is-danger">
              {t("roster.remove")}
            </MenuItem>
          </Menu>
        </Popover>
      </MenuTrigger>
    </span>
  );
}

function WaitingList({ waiting }: { waiting: readonly Waiting[] }) {
  const { t } = useTranslation();
  const { meeting } = useRoomContext();
  const decide = useMutation({
    mutationFn: ({ id, decision }: { id: string; decision: "admit" | "refuse" }) =>
      decideAdmission(meeting.id, id, decision),
  });
  const [refusing, setRefusing] = useState<Waiting | null>(null);
  return (
    <section className="waiting" aria-label={t("waiting.title", { count: waiting.length })}>
      <h2>{t("waiting.title", { count: waiting.length })}</h2>
      {decide.error && <ProblemBox error={decide.error} />}
      <ul>
        {waiting.map((each) => {
          const { admission_id: id, party, request_time } = each;
          return (
            <li key={id}>
              <span className="roster-who">
                <strong>{party.name}</strong>
                <small>
                  {[
                    party.unit_name,
                    t("waiting.since", { time: formatTime(request_time, meeting.time_zone) }),
                  ]
                    .filter(Boolean)
                    .join(" · ")}
                </small>
              </span>
              <span className="roster-acts">
                <Button
                  aria-label={t("waiting.refuse_named", { name: party.name })}
                  onPress={() => setRefusing(each)}
                >
                  {t("waiting.refuse")}
                </Button>
                <Button
                  tone="primary"
                  aria-label={t("waiting.admit_named", { name: party.name })}
                  onPress={() => decide.mutate({ id, decision: "admit" })}
                >
                  {t("waiting.admit")}
                </Button>
              </span>
            </li>
          );
        })}
      </ul>
      {refusing && (
        <ConfirmDialog
          final
          isOpen
          onOpenChange={() => setRefusing(null)}
          title={t("waiting.refuse_confirm", { name: refusing.party.name })}
          detail={t("waiting.refuse_detail")}
          confirm={t("waiting.refuse")}
          onConfirm={() => decide.mutate({ id: refusing.admission_id, decision: "refuse" })}
        />
      )}
    </section>
  );
}
