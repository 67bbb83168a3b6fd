// SPDX-License-Identifier: Apache-2.0
import { describe, expect, it } from "vitest";

import type { Appointment, Party as ApiParty } from "../api/types";
import type { Participant, Party } from "./protocol";
import { rosterOf } from "./roster";

const party = (kind: ApiParty["kind"], id: string, unit: string): ApiParty => ({
  kind,
  id,
  name: id,
  office: "",
  unit_id: unit,
  unit_name: unit,
});
const site = (id: string, unit = "u") => party("site", id, unit);
const appointment = (party: ApiParty, role: Appointment["role"] = "delegate"): Appointment => ({
  id: `appointment-${party.id}`,
  party,
  role,
});
const inside = (party: Party, connection: Participant["connection"] = "connected"): Participant => ({
  id: `participant-${party.id}`,
  party,
  role: "delegate",
  connection,
  streams: [],
  muted: false,
  microphone_off: false,
  camera_off: false,
  audible: false,
  join_time: "2026-11-23T01:00:00Z",
  link_quality: null,
});
const room = (...all: Participant[]) => new Map(all.map((each) => [each.id, each]));
const states = (rows: ReturnType<typeof rosterOf>) =>
  rows.map((row) => [row.party.id, row.presence, row.extra]);

describe("the roster", () => {
  it("says of every invited site whether it is there, lost, or not yet in", () => {
    const invited = [appointment(site("a")), appointment(site("b")), appointment(site("c"))];
    const rows = rosterOf(invited, room(inside(site("a")), inside(site("b"), "lost")), []);
    expect(states(rows)).toEqual([
      ["a", "connected", false],
      ["b", "lost", false],
      ["c", "absent", false],
    ]);
  });

  it("puts the chair first, whatever the order of invitation", () => {
    const rows = rosterOf([appointment(site("a")), appointment(site("b"), "chair")], room(), []);
    expect(rows.map((row) => row.party.id)).toEqual(["b", "a"]);
  });

  it("counts a unit as there when one of its sites is", () => {
    const unit = party("unit", "district", "city");
    expect(states(rosterOf([appointment(unit)], room(), []))).toEqual([["district", "absent", false]]);
    const member = site("ward", "district");
    expect(states(rosterOf([appointment(unit)], room(inside(member)), []))).toEqual([
      ["ward", "connected", false],
    ]);
  });

  it("lists those in the room who were not invited, and those who wait, as extra", () => {
    const waiting = [{ admission_id: "w", party: site("outside"), request_time: "2026-11-23T01:00:00Z" }];
    const rows = rosterOf([], room(inside(site("guest"))), waiting);
    expect(states(rows)).toEqual([
      ["guest", "connected", true],
      ["outside", "waiting", true],
    ]);
  });
});
