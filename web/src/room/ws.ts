// SPDX-License-Identifier: Apache-2.0
// One WebSocket to the gateway: messages out and in, requests matched with their replies. Knows no media.

import { textsOf } from "../api/problem";
import type { ClientMessage, Command, PublishOffer, ReplyError, ServerMessage } from "./protocol";

/** A request without a reply for this long means that the line is dead, whatever the browser thinks. */
const REPLY_TIMEOUT_MS = 10_000;

/** The server refused an act; `reason` is machine-readable. */
export class CommandRefused extends Error {
  readonly reason: string;
  readonly params: Record<string, string>;

  constructor(error: ReplyError) {
    super(error.detail);
    this.reason = error.reason;
    this.params = textsOf(error.metadata);
  }
}

export class ConnectionLost extends Error {}

type Reply = Extract<ServerMessage, { type: "reply" }>;
type Request =
  ({ type: "command" } & Command) | ({ type: "publish" } & PublishOffer) | { type: "restart_ice" };

interface Pending {
  resolve: (reply: Reply) => void;
  reject: (error: Error) => void;
  timer: ReturnType<typeof setTimeout>;
}

export class Signalling {
  private readonly socket: WebSocket;
  private readonly pending = new Map<string, Pending>();
  private count = 0;
  private closed = false;

  constructor(
    url: string,
    private readonly handlers: {
      open: () => void;
      message: (message: Exclude<ServerMessage, Reply>) => void;
      close: () => void;
    },
  ) {
    this.socket = new WebSocket(url);
    this.socket.addEventListener("open", () => handlers.open());
    this.socket.addEventListener("close", () => this.close());
    this.socket.addEventListener("message", (event: MessageEvent<string>) => {
      if (!this.closed) this.receive(JSON.parse(event.data) as ServerMessage);
    });
  }

  send(message: ClientMessage): void {
    if (this.socket.readyState === WebSocket.OPEN) this.socket.send(JSON.stringify(message));
  }

  /** Sends and waits for the reply. Throws CommandRefused or ConnectionLost. */
  request(message: Request): Promise<Reply> {
    if (this.socket.readyState !== WebSocket.OPEN) return Promise.reject(new ConnectionLost());
    const id = String(++this.count);
    return new Promise((resolve, reject) => {
      const timer = setTimeout(() => this.close(), REPLY_TIMEOUT_MS);
      this.pending.set(id, { resolve, reject, timer });
      this.send({ ...message, id });
    });
  }

  /** Ends the connection and tells the owner once, as if the line had broken. */
  close(): void {
    if (this.closed) return;
    this.closed = true;
    this.socket.close();
    for (const { reject, timer } of this.pending.values()) {
      clearTimeout(timer);
      reject(new ConnectionLost());
    }
    this.pending.clear();
    this.handlers.close();
  }

  private receive(message: ServerMessage): void {
    if (message.type !== "reply") {
      this.handlers.message(message);
      return;
    }
    const pending = this.pending.get(message.id);
    if (!pending) return;
    this.pending.delete(message.id);
    clearTimeout(pending.timer);
    if (message.error) pending.reject(new CommandRefused(message.error));
    else pending.resolve(message);
  }
}
