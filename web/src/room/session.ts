// SPDX-License-Identifier: Apache-2.0
// One person's stay in a meeting: joins, keeps media and state in step with the server, comes back after breaks.
// The screen reads the two stores and calls the methods; it never sees a socket or a peer connection.

import { createStore } from "zustand/vanilla";

import type { Devices } from "./devices";
import { type PeerFactory, Publisher, Receiver, type Tracks } from "./peers";
import type { Command, EndCode, IceServer, PublishOffer, ServerMessage, Source, View } from "./protocol";
import { RETRIED_CODES } from "./protocol";
import { SerialQueue } from "./queue";
import { applyDelta, applySnapshot, applyTalking, EMPTY, maySpeak, type RoomState } from "./state";
import { CommandRefused, ConnectionLost, Signalling } from "./ws";

const FIRST_RETRY_MS = 500;
const LAST_RETRY_MS = 10_000;
/** When no media server has room and nobody says when there may be. */
const FULL_RETRY_MS = 10_000;
const VIEW_INTERVAL_MS = 300;
/** ICE restarts in a row before everything is built anew. */
const MAX_RESTARTS = 2;

/** Why no ticket was given. `code` is set when asking again is pointless. */
export class TicketRefused extends Error {
  constructor(
    readonly code: EndCode,
    problem: Error,
  ) {
    super(problem.message, { cause: problem });
  }
}

/** There is no room at the moment: it may be asked again after so many milliseconds, not earlier. */
export class NoRoom extends Error {
  constructor(readonly retryMs: number = FULL_RETRY_MS) {
    super("no media server has room");
  }
}

export interface SessionOptions {
  /** A single-use ticket; throws TicketRefused, NoRoom, or anything else when it is worth trying again. */
  ticket: () => Promise<string>;
  url: string;
  devices: Devices;
  /** Before the first `joined`, which tells the role: false for those who only watch. */
  publishes: boolean;
  createPeer?: PeerFactory;
}

export class RoomSession {
  readonly state = createStore<RoomState>(() => EMPTY);
  readonly tracks = createStore<{ tracks: Tracks }>(() => ({ tracks: new Map() }));
  readonly devices: Devices;
  /** The last stream that the person wanted to send and the server refused. */
  readonly refused = createStore<{ error: CommandRefused | null }>(() => ({ error: null }));

  private signalling: Signalling | null = null;
  private readonly publisher: Publisher;
  private readonly receiver: Receiver;
  /** Offers of the publishing connection, one at a time. */
  private readonly publishing = new SerialQueue();
  private iceServers: IceServer[] = [];
  private view: View = { tiles: [], audio_only: false, stage_height: 720 };
  private viewTimer: ReturnType<typeof setTimeout> | undefined;
  private retryTimer: ReturnType<typeof setTimeout> | undefined;
  private retries = 0;
  private restarts = 0;
  private readonly stopWatchingDevices: () => void;

  constructor(private readonly options: SessionOptions) {
    this.devices = options.devices;
    this.publisher = new Publisher(() => void this.restartPublishing(), options.createPeer);
    this.receiver = new Receiver({
      answer: (negotiation, sdp) => this.signalling?.send({ type: "answer", negotiation, sdp }),
      tracks: (tracks) => this.tracks.setState({ tracks }),
      broken: () => this.restartReceiving(),
      iceServers: () => this.iceServers,
      ...(options.createPeer ? { createPeer: options.createPeer } : {}),
    });
    this.stopWatchingDevices = this.devices.store.subscribe((now, before) => {
      if (now.microphone.track !== before.microphone.track)
        this.sendTrack("microphone", now.microphone.track);
      if (now.camera.track !== before.camera.track) this.sendTrack("camera", now.camera.track);
      if (now.screen !== before.screen) this.sendTrack("screen", now.screen);
      if (now.microphone.on !== before.microphone.on || now.camera.on !== before.camera.on)
        this.tellDevices();
    });
    window.addEventListener("online", this.comeBackNow);
  }

  /** Joins, or comes back. Ends in the store's `phase`; never throws. */
  async connect(): Promise<void> {
    if (this.finished) return;
    const resume = this.publisherStands && this.receiver.alive;
    let ticket: string;
    let offer: PublishOffer | null = null;
    try {
      ticket = await this.options.ticket();
      if (!resume) this.receiver.close();
      if (!resume && this.hasTracks) offer = await this.publisher.build(this.currentTracks());
    } catch (error) {
      if (error instanceof TicketRefused) this.end(error.code, error.message, error.cause);
      else if (error instanceof NoRoom) this.comeBackWhenThereIsRoom(error.retryMs);
      else this.comeBackLater();
      return;
    }
    if (this.finished) return;
    const signalling = new Signalling(this.options.url, {
      open: () => {
        const { revision } = this.state.getState();
        signalling.send({ type: "join", ticket, offer, resume, revision, view: this.view });
      },
      message: (message) => {
        if (signalling === this.signalling) this.receive(message, offer !== null);
      },
      close: () => {
        if (signalling !== this.signalling) return;
        this.signalling = null;
        this.comeBackLater();
      },
    });
    this.signalling = signalling;
  }

  /** Carries out an act. Throws CommandRefused, or ConnectionLost when the line broke meanwhile. */
  async command(command: Command): Promise<void> {
    if (!this.signalling) throw new ConnectionLost();
    await this.signalling.request({ type: "command", ...command });
  }

  /** Says what is visible; told to the server at most every few hundred milliseconds. */
  setView(view: Partial<View>): void {
    const next = { ...this.view, ...view };
    if (JSON.stringify(next) === JSON.stringify(this.view)) return;
    this.view = next;
    this.viewTimer ??= setTimeout(() => {
      this.viewTimer = undefined;
      this.signalling?.send({ type: "view", ...this.view });
    }, VIEW_INTERVAL_MS);
  }

  leave(): void {
    this.signalling?.send({ type: "leave" });
    this.finish({ phase: "left" });
  }

  private get finished(): boolean {
    const { phase } = this.state.getState();
    return phase === "ended" || phase === "left";
  }

  /** True when publishing needs no new connection: it works, or there is nothing to publish. */
  private get publisherStands(): boolean {
    return this.publisher.alive || (this.state.getState().me !== null && !this.hasTracks);
  }

  private get hasTracks(): boolean {
    return this.publishes && Object.values(this.currentTracks()).some((track) => track !== null);
  }

  /** The role may change during the stay. */
  private get publishes(): boolean {
    const { role } = this.state.getState();
    return role === null ? this.options.publishes : maySpeak(role);
  }

  private currentTracks(): Record<Source, MediaStreamTrack | null> {
    const { microphone, camera, screen } = this.devices.store.getState();
    return { microphone: microphone.track, camera: camera.track, screen };
  }

  private receive(message: Exclude<ServerMessage, { type: "reply" }>, offered: boolean): void {
    switch (message.type) {
      case "waiting":
        // Whoever was in the meeting before has no media there any more.
        if (!offered) this.closeMedia();
        this.state.setState({ phase: "waiting" });
        break;
      case "joined":
        void this.joined(message, offered);
        break;
      case "snapshot":
        this.state.setState((state) => applySnapshot(state, message));
        break;
      case "delta":
        this.state.setState((state) => applyDelta(state, message));
        break;
      case "offer":
        this.receiver.handle(message).catch(() => this.startOver());
        break;
      case "feeds":
        void this.receiver.reassign(message.feeds);
        break;
      case "rejoin":
        void this.publishAnew();
        break;
      case "talking":
        this.state.setState((state) => applyTalking(state, message.talking, message.silent));
        break;
      case "admissions":
        this.state.setState({ waiting: message.waiting });
        break;
      case "ended":
        if (message.code === "media_capacity") {
          const { signalling } = this;
          this.signalling = null; // its close asks for no earlier return
          signalling?.close();
          this.comeBackWhenThereIsRoom();
        } else if (RETRIED_CODES.includes(message.code)) this.signalling?.close();
        else this.end(message.code, message.detail);
        break;
    }
  }

  private async joined(message: Extract<ServerMessage, { type: "joined" }>, offered: boolean): Promise<void> {
    this.retries = 0;
    this.restarts = 0;
    this.iceServers = message.ice_servers;
    this.publisher.setIceServers(message.ice_servers);
    this.state.setState({ phase: "joined", full: false, me: message.participant_id, role: message.role });
    // Whoever only watches from now on is neither seen nor heard, and the camera's light goes out.
    if (!maySpeak(message.role)) this.devices.close();
    try {
      if (message.answer) await this.publisher.accept(message.answer.sdp);
      else if (offered) this.publisher.close();
      else if (!message.resumed) {
        this.closeMedia();
        if (this.hasTracks) await this.publishAnew();
      }
    } catch {
      this.startOver();
    }
    this.tellDevices();
  }

  private sendTrack(source: Source, track: MediaStreamTrack | null): void {
    if (this.state.getState().me === null || !this.publishes) return;
    if (!this.publisher.alive) {
      if (track) void this.publishAnew();
    } else if (this.publisher.setTrack(source, track)) {
      void this.publish(() => this.publisher.offer());
    }
  }

  private publishAnew(): Promise<void> {
    return this.publish(() => this.publisher.build(this.currentTracks()));
  }

  /** One offer and its answer. A refusal takes the offer back; a lost line is mended by the reconnect. */
  private publish(offer: () => Promise<PublishOffer>): Promise<void> {
    return this.publishing.run(async () => {
      const signalling = this.signalling;
      if (!signalling) return;
      try {
        const reply = await signalling.request({ type: "publish", ...(await offer()) });
        if (reply.answer) await this.publisher.accept(reply.answer.sdp);
      } catch (error) {
        if (error instanceof ConnectionLost) return;
        // The browser itself cannot negotiate this any further: a new connection can carry it.
        if (!(error instanceof CommandRefused)) return this.startOver();
        await this.publisher.rollback();
        // Somebody else may be sharing already: the screen is not sent, so it must not look as if it were.
        this.devices.closeScreen();
        this.refused.setState({ error });
      }
    });
  }

  private async restartPublishing(): Promise<void> {
    if (!this.signalling || this.finished) return;
    if (++this.restarts > MAX_RESTARTS) return this.startOver();
    await this.publish(() => this.publisher.offer(true));
  }

  private restartReceiving(): void {
    if (!this.signalling || this.finished) return;
    if (++this.restarts > MAX_RESTARTS) return this.startOver();
    this.signalling.request({ type: "restart_ice" }).catch((error: unknown) => {
      if (error instanceof CommandRefused) this.startOver();
    });
  }

  /** Media cannot be mended: come back with new connections. */
  private startOver(): void {
    this.closeMedia();
    this.signalling?.close();
  }

  private closeMedia(): void {
    this.publisher.close();
    this.receiver.close();
  }

  private tellDevices(): void {
    const { microphone, camera } = this.devices.store.getState();
    this.command({ act: "set_own_devices", microphone_off: !microphone.on, camera_off: !camera.on }).catch(
      () => undefined, // refused for observers, who have no devices; repeated after a reconnect
    );
  }

  private comeBackLater(): void {
    if (this.finished) return;
    this.state.setState((state) => ({ phase: state.me === null ? "connecting" : "reconnecting" }));
    const backoff = Math.min(FIRST_RETRY_MS * 2 ** this.retries++, LAST_RETRY_MS);
    clearTimeout(this.retryTimer);
    this.retryTimer = setTimeout(() => void this.connect(), backoff * (0.5 + Math.random() / 2));
  }

  private comeBackWhenThereIsRoom(retryMs = FULL_RETRY_MS): void {
    if (this.finished) return;
    this.state.setState({ full: true });
    clearTimeout(this.retryTimer);
    // A little later, each at another moment: not everybody who was refused comes back at once.
    this.retryTimer = setTimeout(() => void this.connect(), retryMs * (1 + Math.random() / 4));
  }

  private readonly comeBackNow = (): void => {
    if (this.signalling || this.state.getState().phase !== "reconnecting") return;
    clearTimeout(this.retryTimer);
    void this.connect();
  };

  private end(code: EndCode, detail: string, cause?: unknown): void {
    this.finish({ phase: "ended", ended: { code, detail, cause } });
  }

  private finish(change: Partial<RoomState>): void {
    if (this.finished) return;
    this.state.setState(change);
    window.removeEventListener("online", this.comeBackNow);
    clearTimeout(this.retryTimer);
    clearTimeout(this.viewTimer);
    this.stopWatchingDevices();
    this.signalling?.close();
    this.signalling = null;
    this.closeMedia();
    this.devices.close();
  }
}
