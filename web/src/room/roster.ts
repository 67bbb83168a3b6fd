// SPDX-License-Identifier: Apache-2.0
// Who should be there beside who is: the meeting's appointments joined with the live participants. Pure.

import type { Appointment } from "../api/types";
import type { Participant, Party, Role, Waiting } from "./protocol";

export type RosterPresence = "connected" | "connecting" | "lost" | "absent" | "waiting";

export interface RosterRow {
  key: string;
  party: Party;
  role: Role | null;
  participant: Participant | null;
  presence: RosterPresence;
  /** In the room without standing on the list of the invited. */
  extra: boolean;
}

const ROLE_RANK: Role[] = ["chair", "secretary", "operator", "delegate", "observer", "press"];

export function rosterOf(
  appointments: readonly Appointment[],
  participants: ReadonlyMap<string, Participant>,
  waiting: readonly Waiting[],
): RosterRow[] {
  const left = new Map([...participants.values()].map((each) => [partyKey(each.party), each]));
  const rows: RosterRow[] = [];
  for (const { party, role } of appointments) {
    if (party.kind === "unit") continue;
    const participant = left.get(partyKey(party)) ?? null;
    left.delete(partyKey(party));
    rows.push(rowOf(party, role, participant));
  }
  // A unit is there when any of its people or sites is.
  for (const { party, role } of appointments) {
    if (party.kind !== "unit") continue;
    const members = [...left.values()].filter((each) => each.party.unit_id === party.id);
    for (const member of members) {
      left.delete(partyKey(member.party));
      rows.push(rowOf(member.party, member.role, member));
    }
    if (members.length === 0) rows.push(rowOf(party, role, null));
  }
  rows.sort((a, b) => rank(a) - rank(b));
  for (const participant of left.values()) {
    rows.push({ ...rowOf(participant.party, participant.role, participant), extra: true });
  }
  for (const each of waiting) {
    rows.push({
      key: `waiting/${each.admission_id}`,
      party: each.party,
      role: null,
      participant: null,
      presence: "waiting",
      extra: true,
    });
  }
  return rows;
}

function rowOf(party: Party, role: Role, participant: Participant | null): RosterRow {
  return {
    key: partyKey(party),
    party: participant?.party ?? party,
    role: participant?.role ?? role,
    participant,
    presence: participant?.connection ?? "absent",
    extra: false,
  };
}

function partyKey(party: Party): string {
  return `${party.kind}/${party.id}`;
}

function rank(row: RosterRow): number {
  return row.role ? ROLE_RANK.indexOf(row.role) : ROLE_RANK.length;
}
