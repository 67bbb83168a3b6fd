// SPDX-License-Identifier: Apache-2.0
import { describe, expect, it } from "vitest";

import { GRACE_MS, read, type Stay } from "./stay";

const stay: Stay = {
  meetingId: "m",
  microphone: { on: false, deviceId: "a" },
  camera: null,
  seenMs: 1_000_000,
};
const stored = JSON.stringify(stay);

describe("an interrupted stay", () => {
  it("goes on with its devices while the server keeps the place", () => {
    expect(read(stored, "m", stay.seenMs + GRACE_MS - 1)).toEqual(stay);
  });

  it("is over when the place is gone", () => {
    expect(read(stored, "m", stay.seenMs + GRACE_MS)).toBeNull();
  });

  it("is no stay in another meeting", () => {
    expect(read(stored, "n", stay.seenMs)).toBeNull();
  });

  it("is none when nothing was remembered", () => {
    expect(read(null, "m", stay.seenMs)).toBeNull();
  });
});
