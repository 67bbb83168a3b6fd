// SPDX-License-Identifier: Apache-2.0
// What a client knows of a meeting: a value and the pure functions that carry it forward. No I/O.

import type {
  ChatMessage,
  Delta,
  EndCode,
  Floor,
  Participant,
  Role,
  Room,
  Snapshot,
  Stage,
  Waiting,
} from "./protocol";

export type Phase = "connecting" | "waiting" | "joined" | "reconnecting" | "ended" | "left";

export interface RoomState {
  phase: Phase;
  /** True while nobody more can be let in: it is tried again by itself. */
  full: boolean;
  me: string | null;
  role: Role | null;
  revision: number | null;
  room: Room | null;
  participants: ReadonlyMap<string, Participant>;
  floor: Floor;
  stage: Stage;
  chat: readonly ChatMessage[];
  waiting: readonly Waiting[];
  talking: ReadonlySet<string>;
  /** Whose tile stands where; null is a seat that somebody has left. */
  seats: readonly (string | null)[];
  /** `cause` is the problem that refused a ticket. */
  ended: { code: EndCode; detail: string; cause?: unknown } | null;
}

export const EMPTY: RoomState = {
  phase: "connecting",
  full: false,
  me: null,
  role: null,
  revision: null,
  room: null,
  participants: new Map(),
  floor: { queue: [], holders: [] },
  stage: { mode: "auto", participant_id: null, screen_participant_id: null, showing: null },
  chat: [],
  waiting: [],
  talking: new Set(),
  seats: [],
  ended: null,
};

export function applySnapshot(state: RoomState, snapshot: Snapshot): RoomState {
  const participants = new Map(snapshot.participants.map((each) => [each.id, each]));
  return {
    ...state,
    revision: snapshot.revision,
    room: snapshot.room,
    participants,
    floor: snapshot.floor,
    stage: snapshot.stage,
    chat: snapshot.chat,
    talking: keepKnown(state.talking, participants),
    seats: reseat(state.seats, participants),
  };
}

/** Applies what changed. A delta that is not newer than what is known changes nothing: it was already in the snapshot. */
export function applyDelta(state: RoomState, delta: Delta): RoomState {
  if (state.revision !== null && delta.revision <= state.revision) return state;
  let participants = state.participants;
  if (delta.participants?.length || delta.removed_participants?.length) {
    const changed = new Map(participants);
    for (const each of delta.participants ?? []) changed.set(each.id, each);
    for (const id of delta.removed_participants ?? []) changed.delete(id);
    participants = changed;
  }
  const moved = participants !== state.participants;
  return {
    ...state,
    revision: delta.revision,
    room: delta.room ?? state.room,
    participants,
    floor: delta.floor ?? state.floor,
    stage: delta.stage ?? state.stage,
    chat: delta.chat ? appendChat(state.chat, delta.chat) : state.chat,
    talking: moved ? keepKnown(state.talking, participants) : state.talking,
    seats: moved ? reseat(state.seats, participants) : state.seats,
  };
}

export function applyTalking(state: RoomState, talking: string[], silent: string[]): RoomState {
  const heard = new Set(state.talking);
  for (const id of talking) heard.add(id);
  for (const id of silent) heard.delete(id);
  return { ...state, talking: heard };
}

function appendChat(known: readonly ChatMessage[], added: ChatMessage[]): readonly ChatMessage[] {
  const ids = new Set(known.map((each) => each.id));
  return [...known, ...added.filter((each) => !ids.has(each.id))];
}

function keepKnown(ids: ReadonlySet<string>, participants: ReadonlyMap<string, Participant>): Set<string> {
  return new Set([...ids].filter((id) => participants.has(id)));
}

/** Keeps everyone's seat; the newly come take empty seats first, then new ones, in the order they joined. */
export function reseat(
  seats: readonly (string | null)[],
  participants: ReadonlyMap<string, Participant>,
): (string | null)[] {
  const result = seats.map((id) => (id !== null && participants.has(id) ? id : null));
  const seated = new Set(result);
  const come = [...participants.values()]
    .filter((each) => !seated.has(each.id))
    .sort((a, b) => a.join_time.localeCompare(b.join_time) || a.id.localeCompare(b.id));
  for (const each of come) {
    const free = result.indexOf(null);
    if (free >= 0) result[free] = each.id;
    else result.push(each.id);
  }
  while (result.length && result[result.length - 1] === null) result.pop();
  return result;
}

export function mayModerate(role: Role | null): boolean {
  return role === "chair" || role === "secretary" || role === "operator";
}

export function mayAdmit(role: Role | null): boolean {
  return role === "chair" || role === "secretary";
}

export function maySpeak(role: Role | null): boolean {
  return role !== null && role !== "observer" && role !== "press";
}
