// SPDX-License-Identifier: Apache-2.0
// The two peer connections of a client: one sends, one receives. Neither knows who is at the other end, nor
// how messages travel.

import type { Feed, IceServer, PublishOffer, ServerOffer, Source, Stream } from "./protocol";
import { SerialQueue } from "./queue";

const DISCONNECTED_PATIENCE_MS = 4_000;
/** A new connection replaces one that still carries something only when it does as well: nobody shall notice. */
const FORMER_PUBLISHER_MS = 1_000;
const FORMER_RECEIVER_MS = 3_000;
const SCREEN_MAX_BITRATE = 2_000_000;
const CAMERA_LAYERS: RTCRtpEncodingParameters[] = [
  { rid: "h", maxBitrate: 1_200_000 },
  { rid: "m", scaleResolutionDownBy: 2, maxBitrate: 350_000 },
  { rid: "l", scaleResolutionDownBy: 4, maxBitrate: 120_000 },
];

export type PeerFactory = (config: RTCConfiguration) => RTCPeerConnection;
export const browserPeer: PeerFactory = (config) => new RTCPeerConnection(config);

/** Tells once per break: at once when ICE failed, after some patience when it is merely disconnected. */
function watch(pc: RTCPeerConnection, onBroken: () => void): void {
  let timer: ReturnType<typeof setTimeout> | undefined;
  pc.addEventListener("connectionstatechange", () => {
    clearTimeout(timer);
    if (pc.connectionState === "failed") onBroken();
    if (pc.connectionState === "disconnected") {
      timer = setTimeout(() => {
        if (pc.connectionState === "disconnected") onBroken();
      }, DISCONNECTED_PATIENCE_MS);
    }
  });
}

/** The publishing connection: the browser offers, the server answers. */
export class Publisher {
  private pc: RTCPeerConnection | null = null;
  private former: RTCPeerConnection | null = null;
  private iceServers: IceServer[] = [];
  private readonly transceivers = new Map<Source, RTCRtpTransceiver>();

  constructor(
    private readonly onBroken: () => void,
    private readonly createPeer: PeerFactory = browserPeer,
  ) {}

  get alive(): boolean {
    return this.pc !== null && this.pc.connectionState !== "failed" && this.pc.connectionState !== "closed";
  }

  /**
   * Starts a new connection that sends these tracks and gives its first offer. One that stood sends on until
   * others have come to receive from the new one.
   */
  async build(tracks: Partial<Record<Source, MediaStreamTrack | null>>): Promise<PublishOffer> {
    const former = this.pc?.connectionState === "connected" ? this.pc : null;
    if (former) this.pc = null;
    this.close();
    this.former = former;
    const pc = this.createPeer({ iceServers: this.iceServers, bundlePolicy: "max-bundle" });
    this.pc = pc;
    pc.addEventListener("connectionstatechange", () => {
      if (pc.connectionState === "connected") setTimeout(() => former?.close(), FORMER_PUBLISHER_MS);
      else if (pc.connectionState === "failed") former?.close();
    });
    watch(pc, () => {
      if (pc === this.pc) this.onBroken();
    });
    for (const source of ["microphone", "camera", "screen"] as const) {
      const track = tracks[source];
      if (track) this.setTrack(source, track);
    }
    return this.offer();
  }

  /** Sends a track, or nothing. True when the other end must be told with a new offer. */
  setTrack(source: Source, track: MediaStreamTrack | null): boolean {
    if (!this.pc) return false;
    const known = this.transceivers.get(source);
    if (!known) {
      if (!track) return false;
      const init: RTCRtpTransceiverInit = { direction: "sendonly" };
      if (source === "camera") init.sendEncodings = CAMERA_LAYERS.map((each) => ({ ...each }));
      if (source === "screen") init.sendEncodings = [{ maxBitrate: SCREEN_MAX_BITRATE }];
      this.transceivers.set(source, this.pc.addTransceiver(track, init));
      return true;
    }
    void known.sender.replaceTrack(track);
    // Camera and microphone keep their place while they are off; a screen comes and goes.
    const direction = source === "screen" && !track ? "inactive" : "sendonly";
    if (known.direction === direction) return false;
    known.direction = direction;
    return true;
  }

  /** A fresh offer. Candidates are not waited for: the server learns the address from the first check. */
  async offer(iceRestart = false): Promise<PublishOffer> {
    if (!this.pc) throw new Error("there is no publishing connection");
    const offer = await this.pc.createOffer({ iceRestart });
    await this.pc.setLocalDescription(offer);
    const streams: Stream[] = [];
    for (const [source, transceiver] of this.transceivers) {
      if (transceiver.mid !== null && transceiver.direction === "sendonly") {
        streams.push({ mid: transceiver.mid, source });
      }
    }
    return { sdp: offer.sdp ?? "", streams };
  }

  async accept(sdp: string): Promise<void> {
    await this.pc?.setRemoteDescription({ type: "answer", sdp });
  }

  /** Takes back an offer that was refused, so that the next one can be made (RFC 9429, section 4.1.10.2). */
  async rollback(): Promise<void> {
    if (this.pc?.signalingState === "have-local-offer") {
      await this.pc.setLocalDescription({ type: "rollback" });
    }
  }

  setIceServers(iceServers: IceServer[]): void {
    this.iceServers = iceServers;
    this.pc?.setConfiguration({ iceServers, bundlePolicy: "max-bundle" });
  }

  close(): void {
    this.former?.close();
    this.pc?.close();
    this.former = this.pc = null;
    this.transceivers.clear();
  }
}

export type Tracks = ReadonlyMap<string, MediaStreamTrack>;

export function trackKey(participantId: string, source: Source): string {
  return `${participantId}/${source}`;
}

/** The receiving connection: the server offers, the browser answers, one at a time and in order. */
export class Receiver {
  private pc: RTCPeerConnection | null = null;
  private known: Tracks = new Map();
  private former: { pc: RTCPeerConnection; tracks: Tracks } | null = null;
  private readonly queue = new SerialQueue();

  constructor(
    private readonly options: {
      answer: (negotiation: ServerOffer["negotiation"], sdp: string) => void;
      tracks: (tracks: Tracks) => void;
      broken: () => void;
      iceServers: () => IceServer[];
      createPeer?: PeerFactory;
    },
  ) {}

  get alive(): boolean {
    return this.pc !== null && this.pc.connectionState !== "failed" && this.pc.connectionState !== "closed";
  }

  handle(offer: ServerOffer): Promise<void> {
    return this.queue.run(async () => {
      const pc = offer.new_connection || !this.pc ? this.start() : this.pc;
      await pc.setRemoteDescription({ type: "offer", sdp: offer.sdp });
      const answer = await pc.createAnswer();
      await pc.setLocalDescription(answer);
      // Closed meanwhile: nobody waits for this answer any more.
      if (pc !== this.pc) return;
      this.options.answer(offer.negotiation, answer.sdp ?? "");
      this.known = tracksOf(pc, offer.feeds);
      this.tell();
    });
  }

  /** Other participants were put on lines that are there, without a negotiation. */
  reassign(feeds: Feed[]): Promise<void> {
    return this.queue.run(async () => {
      if (!this.pc) return;
      this.known = tracksOf(this.pc, feeds);
      this.tell();
    });
  }

  close(): void {
    this.pc?.close();
    this.pc = null;
    this.known = new Map();
    this.dropFormer();
  }

  /** Tells what is received: from the former connection what the new one does not carry yet. */
  private tell(): void {
    const tracks = new Map(this.known);
    for (const [key, track] of this.former?.tracks ?? []) {
      const fresh = this.known.get(key);
      if (fresh && !fresh.muted) continue; // a remote track is muted until its first packet
      tracks.set(key, track);
      fresh?.addEventListener("unmute", () => this.tell(), { once: true });
    }
    this.options.tracks(tracks);
  }

  private dropFormer(): void {
    this.former?.pc.close();
    this.former = null;
    this.tell();
  }

  private start(): RTCPeerConnection {
    this.former?.pc.close();
    this.former = null;
    if (this.pc?.connectionState === "connected") {
      const former = { pc: this.pc, tracks: this.known };
      this.former = former;
      setTimeout(() => {
        if (this.former === former) this.dropFormer();
      }, FORMER_RECEIVER_MS);
    } else this.pc?.close();
    this.known = new Map();
    const create = this.options.createPeer ?? browserPeer;
    const pc = create({ iceServers: this.options.iceServers(), bundlePolicy: "max-bundle" });
    this.pc = pc;
    watch(pc, () => {
      if (pc === this.pc) this.options.broken();
    });
    return pc;
  }
}

function tracksOf(pc: RTCPeerConnection, feeds: Feed[]): Tracks {
  const byMid = new Map(pc.getTransceivers().map((each) => [each.mid, each.receiver.track]));
  const tracks = new Map<string, MediaStreamTrack>();
  for (const feed of feeds) {
    const track = byMid.get(feed.mid);
    if (track) tracks.set(trackKey(feed.participant_id, feed.source), track);
  }
  return tracks;
}
