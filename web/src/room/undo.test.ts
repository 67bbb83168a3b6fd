// SPDX-License-Identifier: Apache-2.0
import { describe, expect, it } from "vitest";

import type { FloorHolder, Participant } from "./protocol";
import { EMPTY, type RoomState } from "./state";
import { undoOf } from "./undo";

function participant(id: string, change: Partial<Participant> = {}): Participant {
  return {
    id,
    party: { kind: "site", id: `site-${id}`, name: `Site ${id}` },
    role: "delegate",
    connection: "connected",
    streams: [],
    muted: false,
    microphone_off: false,
    camera_off: false,
    audible: false,
    join_time: "2026-11-23T01:00:00Z",
    link_quality: null,
    ...change,
  };
}

const holder = (participant_id: string, change: Partial<FloorHolder> = {}): FloorHolder => ({
  participant_id,
  grant_time: "2026-11-23T01:00:00Z",
  limit_seconds: null,
  called: false,
  ...change,
});

function room(all: Participant[], holders: FloorHolder[] = []): RoomState {
  return {
    ...EMPTY,
    participants: new Map(all.map((each) => [each.id, each])),
    floor: { queue: [], holders },
  };
}

describe("taking back", () => {
  it("muting all opens those again who were heard, and nobody else", () => {
    const before = room([
      participant("a", { audible: true }),
      participant("b", { muted: true }),
      participant("c", { audible: true, role: "chair" }),
      participant("d"),
    ]);
    expect(undoOf({ act: "mute_all" }, before)).toEqual([
      { act: "mute_participant", participant_id: "a", muted: false },
    ]);
  });

  it("muting one restores what was; repeating it changes nothing", () => {
    const before = room([participant("a", { muted: true })]);
    const act = { act: "mute_participant", participant_id: "a" } as const;
    expect(undoOf({ ...act, muted: false }, before)).toEqual([{ ...act, muted: true }]);
    expect(undoOf({ ...act, muted: true }, before)).toEqual([]);
  });

  it("taking the floor gives it back with its limit", () => {
    const before = room([participant("a")], [holder("a", { limit_seconds: 180 }), holder("b")]);
    expect(undoOf({ act: "take_floor", participant_id: "a" }, before)).toEqual([
      { act: "grant_floor", participant_id: "a", limit_seconds: 180 },
    ]);
  });

  it("a call ends it and gives the floor back to those who had it", () => {
    const before = room([], [holder("a"), holder("b", { limit_seconds: 60 })]);
    expect(undoOf({ act: "call_site", participant_id: "c" }, before)).toEqual([
      { act: "end_call" },
      { act: "grant_floor", participant_id: "a" },
      { act: "grant_floor", participant_id: "b", limit_seconds: 60 },
    ]);
  });

  it("the end of a call calls the site again", () => {
    const before = room([], [holder("a", { called: true })]);
    expect(undoOf({ act: "end_call" }, before)).toEqual([{ act: "call_site", participant_id: "a" }]);
  });

  it("a new main screen shows the former one", () => {
    const before = {
      ...EMPTY,
      stage: { mode: "pinned", participant_id: "a", screen_participant_id: null, showing: "a" },
    } as const;
    expect(undoOf({ act: "set_stage", participant_id: "b" }, before)).toEqual([
      { act: "set_stage", participant_id: "a" },
    ]);
    expect(undoOf({ act: "set_stage", participant_id: "b" }, EMPTY)).toEqual([{ act: "set_stage" }]);
  });

  it("a removal is not possible", () => {
    expect(undoOf({ act: "remove_participant", participant_id: "a" }, EMPTY)).toEqual([]);
  });
});
