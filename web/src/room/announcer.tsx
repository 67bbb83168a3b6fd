// SPDX-License-Identifier: Apache-2.0
// Says what has just happened, to eyes and to screen readers, and what went wrong with an act.

import type { TFunction } from "i18next";
import { Undo2 } from "lucide-react";
import { useEffect, useState } from "react";
import { useTranslation } from "react-i18next";

import { Button } from "../ui/basics";
import { useRoom, useRoomContext, useUndo } from "./context";
import type { Command } from "./protocol";
import { mayModerate, type RoomState } from "./state";

const SHOWN_MS = 6_000;
const UNDO_MS = 10_000;

export function Announcer() {
  const { t } = useTranslation();
  const { session, failure } = useRoomContext();
  const [text, setText] = useState("");

  useEffect(
    () =>
      session.state.subscribe((now, before) => {
        const news = newsOf(now, before, t);
        if (news.length > 0) setText(news.join(". "));
      }),
    [session, t],
  );
  useEffect(() => {
    if (!text) return;
    const timer = setTimeout(() => setText(""), SHOWN_MS);
    return () => clearTimeout(timer);
  }, [text]);

  return (
    <div className="toasts">
      <p role="status" className={text ? "toast" : "visually-hidden"} data-testid="announcement">
        {text}
      </p>
      <p role="alert" className={failure ? "toast is-bad" : "visually-hidden"}>
        {failure}
      </p>
      <UndoOffer />
    </div>
  );
}

/** Offers to take the last act back; stays as long as somebody points at it or has it in focus. */
function UndoOffer() {
  const { t } = useTranslation();
  const { done, setDone } = useRoomContext();
  const participants = useRoom((state) => state.participants);
  const undo = useUndo();
  const [held, setHeld] = useState(false);
  useEffect(() => {
    if (!done || held) return;
    const timer = setTimeout(() => setDone(null), UNDO_MS);
    return () => clearTimeout(timer);
  }, [done, held, setDone]);

  const id = done && "participant_id" in done.command ? done.command.participant_id : undefined;
  const name = (id && participants.get(id)?.party.name) || null;
  const words = done && `${t(`undo.done.${actOf(done.command)}`)}${name ? `: ${name}` : ""}`;
  return (
    // Nobody acts on the group; it only waits while its button is pointed at or in focus.
    // eslint-disable-next-line jsx-a11y/no-noninteractive-element-interactions
    <div
      role="group"
      aria-label={t("undo.undo")}
      className={done ? "toast undo" : "visually-hidden"}
      onPointerEnter={() => setHeld(true)}
      onPointerLeave={() => setHeld(false)}
      onFocus={() => setHeld(true)}
      onBlur={() => setHeld(false)}
    >
      <span role="status">
        {words}
        {done && <span className="visually-hidden">. {t("undo.hint")}</span>}
      </span>
      {done && (
        <Button onPress={undo} aria-keyshortcuts="Z">
          <Undo2 size={16} aria-hidden="true" />
          {t("undo.undo")}
        </Button>
      )}
    </div>
  );
}

function actOf(command: Command) {
  if (command.act === "mute_participant" && !command.muted) return "unmute_participant";
  return command.act as "mute_all";
}

/** What is worth saying about a change, most important first. */
export function newsOf(now: RoomState, before: RoomState, t: TFunction): string[] {
  // The first snapshot is no news: everything in it was there already.
  if (before.revision === null || now.phase !== "joined") return [];
  const news: string[] = [];
  const nameOf = (id: string) => now.participants.get(id)?.party.name ?? "…";
  const mine = (state: RoomState) => state.floor.holders.find((each) => each.participant_id === state.me);

  if (now.role !== null && before.role !== null && now.role !== before.role)
    news.push(t("announce.role_changed", { role: t(`role.${now.role}`) }));
  else if (before.phase === "reconnecting") news.push(t("announce.reconnected"));
  if (now.floor !== before.floor) {
    if (mine(now) && (!mine(before) || (mine(now)?.called && !mine(before)?.called))) {
      news.push(t(mine(now)?.called ? "announce.you_called" : "announce.you_granted"));
    }
    if (!mine(now) && mine(before)) news.push(t("announce.you_returned"));
    for (const holder of now.floor.holders) {
      if (holder.participant_id === now.me) continue;
      const held = before.floor.holders.find((each) => each.participant_id === holder.participant_id);
      const name = nameOf(holder.participant_id);
      if (holder.called && !held?.called) news.push(t("announce.called", { name }));
      else if (!held) news.push(t("announce.speaking", { name }));
    }
    const queued = new Set(before.floor.queue.map((each) => each.participant_id));
    for (const { participant_id: id } of now.floor.queue) {
      if (!queued.has(id) && id !== now.me) news.push(t("announce.raised", { name: nameOf(id) }));
    }
  }
  if (now.room?.recording && !before.room?.recording) news.push(t("announce.recording_on"));
  if (!now.room?.recording && before.room?.recording) news.push(t("announce.recording_off"));

  const me = now.me ? now.participants.get(now.me) : undefined;
  const meBefore = before.me ? before.participants.get(before.me) : undefined;
  if (me?.muted && meBefore && !meBefore.muted) news.push(t("announce.muted"));

  const waited = new Set(before.waiting.map((each) => each.admission_id));
  for (const each of now.waiting) {
    if (!waited.has(each.admission_id)) news.push(t("announce.waiting", { name: each.party.name }));
  }
  // Comings and goings matter to those who run the meeting; to the others they would be noise.
  if (mayModerate(now.role) && now.participants !== before.participants) {
    for (const each of now.participants.values()) {
      const known = before.participants.get(each.id);
      if (!known && each.id !== now.me) news.push(t("announce.joined", { name: each.party.name }));
      if (known?.connection === "connected" && each.connection === "lost") {
        news.push(t("announce.lost", { name: each.party.name }));
      }
    }
  }
  return news;
}
