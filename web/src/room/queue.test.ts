// SPDX-License-Identifier: Apache-2.0
import { describe, expect, it, vi } from "vitest";

import { type PeerFactory, Receiver } from "./peers";
import { SerialQueue } from "./queue";

describe("the queue", () => {
  it("starts a job only when the one before is done", async () => {
    const queue = new SerialQueue();
    const log: string[] = [];
    let finish = () => {};
    const slow = queue.run(async () => {
      log.push("slow begins");
      await new Promise<void>((resolve) => (finish = resolve));
      log.push("slow ends");
    });
    const quick = queue.run(async () => {
      log.push("quick");
    });
    await Promise.resolve();
    finish();
    await Promise.all([slow, quick]);
    expect(log).toEqual(["slow begins", "slow ends", "quick"]);
  });

  it("goes on after a job that failed, and tells its caller", async () => {
    const queue = new SerialQueue();
    const failing = queue.run(() => Promise.reject(new Error("no")));
    const next = queue.run(() => Promise.resolve("yes"));
    await expect(failing).rejects.toThrow("no");
    await expect(next).resolves.toBe("yes");
  });
});

/** A peer connection that enforces the signalling states of RFC 9429, section 3.2, as the browser's does. */
class StrictPeer extends EventTarget {
  static made: StrictPeer[] = [];
  signalingState = "stable";
  connectionState = "connected";
  closed = false;

  constructor() {
    super();
    StrictPeer.made.push(this);
  }

  async setRemoteDescription() {
    if (this.signalingState !== "stable") throw new Error(`offer in state ${this.signalingState}`);
    this.signalingState = "have-remote-offer";
    await new Promise((resolve) => setTimeout(resolve, 1));
  }

  async createAnswer() {
    return { type: "answer", sdp: "answer" };
  }

  async setLocalDescription() {
    if (this.signalingState !== "have-remote-offer")
      throw new Error(`answer in state ${this.signalingState}`);
    await new Promise((resolve) => setTimeout(resolve, 1));
    this.signalingState = "stable";
  }

  getTransceivers() {
    return [{ mid: "0", receiver: { track: `track of ${StrictPeer.made.indexOf(this)}` } }];
  }

  close() {
    this.closed = true;
  }
}

describe("the receiving connection", () => {
  function receiver() {
    StrictPeer.made = [];
    const answered: unknown[] = [];
    const tracks: string[][] = [];
    const made = new Receiver({
      answer: (negotiation) => answered.push(negotiation),
      tracks: (map) => tracks.push([...map].map(([key, track]) => `${key}=${String(track)}`)),
      broken: () => {},
      iceServers: () => [],
      createPeer: (() => new StrictPeer()) as unknown as PeerFactory,
    });
    return { made, answered, tracks };
  }
  const offer = (negotiation: number, new_connection = false) => ({
    negotiation,
    sdp: "offer",
    feeds: [{ mid: "0", participant_id: `p${negotiation}`, source: "camera" as const }],
    new_connection,
  });

  it("answers offers that arrive together one at a time and in order", async () => {
    const { made, answered } = receiver();
    await Promise.all([made.handle(offer(1, true)), made.handle(offer(2)), made.handle(offer(3))]);
    expect(answered).toEqual([1, 2, 3]);
    expect(StrictPeer.made).toHaveLength(1);
  });

  it("starts anew when told so; what stood carries on until the new connection does", async () => {
    vi.useFakeTimers({ shouldAdvanceTime: true });
    const { made, answered, tracks } = receiver();
    await made.handle(offer(1, true));
    await made.handle(offer(2, true));
    expect(answered).toEqual([1, 2]);
    expect(StrictPeer.made.map((each) => each.closed)).toEqual([false, false]);
    expect(tracks.at(-1)).toEqual(["p2/camera=track of 1", "p1/camera=track of 0"]);
    vi.runAllTimers();
    expect(StrictPeer.made.map((each) => each.closed)).toEqual([true, false]);
    expect(tracks.at(-1)).toEqual(["p2/camera=track of 1"]);
    vi.useRealTimers();
  });

  it("lets a connection that has failed go at once", async () => {
    const { made, tracks } = receiver();
    await made.handle(offer(1, true));
    for (const peer of StrictPeer.made) peer.connectionState = "failed";
    await made.handle(offer(2, true));
    expect(StrictPeer.made.map((each) => each.closed)).toEqual([true, false]);
    expect(tracks.at(-1)).toEqual(["p2/camera=track of 1"]);
  });

  it("shows who was put on a line without an offer, in order with the offers", async () => {
    const { made, answered, tracks } = receiver();
    const feeds = [{ mid: "0", participant_id: "p9", source: "camera" as const }];
    await Promise.all([made.handle(offer(1, true)), made.reassign(feeds), made.handle(offer(2))]);
    expect(answered).toEqual([1, 2]);
    expect(tracks).toEqual([["p1/camera=track of 0"], ["p9/camera=track of 0"], ["p2/camera=track of 0"]]);
  });

  it("shows a line that was given to somebody else as theirs", async () => {
    const { made, tracks } = receiver();
    await made.handle(offer(1, true));
    await made.handle(offer(2));
    expect(tracks).toEqual([["p1/camera=track of 0"], ["p2/camera=track of 0"]]);
  });
});
