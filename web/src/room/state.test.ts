// SPDX-License-Identifier: Apache-2.0
import { describe, expect, it } from "vitest";

import type { Participant, Snapshot } from "./protocol";
import { applyDelta, applySnapshot, applyTalking, EMPTY, reseat } from "./state";

function participant(
  id: string,
  joinTime = "2026-11-23T01:00:00Z",
  change: Partial<Participant> = {},
): Participant {
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
    join_time: joinTime,
    link_quality: null,
    ...change,
  };
}

const snapshot: Snapshot = {
  revision: 7,
  room: { meeting_id: "m", microphone_policy: "floor", recording: null, open_time: null, closed: false },
  participants: [participant("a"), participant("b", "2026-11-23T01:01:00Z")],
  floor: { queue: [], holders: [] },
  stage: { mode: "auto", participant_id: null, screen_participant_id: null, showing: "a" },
  chat: [{ id: "1", participant_id: "a", sender_name: "A", text: "x", send_time: "2026-11-23T01:02:00Z" }],
};
const start = applySnapshot(EMPTY, snapshot);

describe("a delta", () => {
  it("replaces whole what it names and leaves the rest", () => {
    const next = applyDelta(start, {
      revision: 8,
      participants: [participant("a", undefined, { muted: true })],
    });
    expect(next.participants.get("a")?.muted).toBe(true);
    expect(next.participants.get("b")).toBe(start.participants.get("b"));
    expect(next.floor).toBe(start.floor);
    expect(next.revision).toBe(8);
  });

  it("that is not newer than the snapshot changes nothing", () => {
    expect(applyDelta(start, { revision: 7, removed_participants: ["a"] })).toBe(start);
  });

  it("removes those who have gone, with what was heard of them", () => {
    const talking = applyTalking(start, ["a", "b"], []);
    const next = applyDelta(talking, { revision: 8, removed_participants: ["a"] });
    expect([...next.participants.keys()]).toEqual(["b"]);
    expect([...next.talking]).toEqual(["b"]);
  });

  it("appends new chat messages once, however often they come", () => {
    const message = {
      id: "2",
      participant_id: "b",
      sender_name: "B",
      text: "y",
      send_time: "2026-11-23T01:03:00Z",
    };
    const once = applyDelta(start, { revision: 8, chat: [message] });
    const twice = applyDelta(once, { revision: 9, chat: [message] });
    expect(twice.chat.map((each) => each.id)).toEqual(["1", "2"]);
  });
});

describe("a snapshot", () => {
  it("replaces everything known of the meeting but not who one is", () => {
    const before = { ...start, me: "a", phase: "joined" as const };
    const next = applySnapshot(before, {
      ...snapshot,
      revision: 20,
      participants: [participant("c")],
      chat: [],
    });
    expect([...next.participants.keys()]).toEqual(["c"]);
    expect(next.chat).toEqual([]);
    expect(next.me).toBe("a");
  });
});

describe("seats", () => {
  const room = (...all: Participant[]) => new Map(all.map((each) => [each.id, each]));

  it("are taken in the order people join", () => {
    const late = participant("a", "2026-11-23T03:00:00Z");
    const early = participant("b", "2026-11-23T02:00:00Z");
    expect(reseat([], room(late, early))).toEqual(["b", "a"]);
  });

  it("stay where they are when somebody before leaves", () => {
    expect(reseat(["a", "b", "c"], room(participant("b"), participant("c")))).toEqual([null, "b", "c"]);
  });

  it("that are free go to those who come next", () => {
    expect(reseat([null, "b"], room(participant("b"), participant("d")))).toEqual(["d", "b"]);
  });

  it("do not trail off into empty ones", () => {
    expect(reseat(["a", "b"], room(participant("a")))).toEqual(["a"]);
  });
});
