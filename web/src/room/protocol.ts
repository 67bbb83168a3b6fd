// SPDX-License-Identifier: Apache-2.0
// The meeting WebSocket's nouns and messages, as docs/live-protocol.md has them. Types only.

export type Role = "chair" | "secretary" | "operator" | "delegate" | "observer" | "press";
export type Source = "microphone" | "camera" | "screen";

export interface Stream {
  mid: string;
  source: Source;
}

export interface Party {
  kind: "user" | "site" | "unit";
  id: string;
  name: string;
  office?: string | null;
  unit_id?: string | null;
  unit_name?: string | null;
}

export interface Room {
  meeting_id: string;
  microphone_policy: "floor" | "open";
  recording: null | { recording_id: string; start_time: string };
  open_time: string | null;
  closed: boolean;
}

export interface Participant {
  id: string;
  party: Party;
  role: Role;
  connection: "connecting" | "connected" | "lost";
  streams: Stream[];
  muted: boolean;
  microphone_off: boolean;
  camera_off: boolean;
  /** Derived by the server: may its audio be heard now. */
  audible: boolean;
  join_time: string;
  /** 0..100, null while unknown. */
  link_quality: number | null;
}

export interface FloorHolder {
  participant_id: string;
  grant_time: string;
  limit_seconds: number | null;
  called: boolean;
}

export interface Floor {
  queue: { participant_id: string; request_time: string }[];
  holders: FloorHolder[];
}

export interface Stage {
  mode: "auto" | "pinned" | "called";
  participant_id: string | null;
  screen_participant_id: string | null;
  /** Derived by the server: whose picture is on the main screen. */
  showing: string | null;
}

export interface ChatMessage {
  id: string;
  participant_id: string;
  sender_name: string;
  text: string;
  send_time: string;
}

export interface Waiting {
  admission_id: string;
  party: Party;
  request_time: string;
}

export interface Feed {
  mid: string;
  participant_id: string;
  source: Source;
}

export interface View {
  tiles: string[];
  audio_only: boolean;
  stage_height: 180 | 360 | 720;
}

export interface PublishOffer {
  sdp: string;
  streams: Stream[];
}

export type Command =
  | { act: "raise_hand" }
  | { act: "lower_hand"; participant_id?: string }
  | { act: "grant_floor"; participant_id: string; limit_seconds?: number }
  | { act: "take_floor"; participant_id?: string }
  | { act: "return_floor" }
  | { act: "call_site"; participant_id: string; limit_seconds?: number }
  | { act: "end_call" }
  | { act: "mute_participant"; participant_id: string; muted: boolean }
  | { act: "mute_all" }
  | { act: "remove_participant"; participant_id: string }
  | { act: "set_stage"; participant_id?: string }
  | { act: "send_chat"; text: string }
  | { act: "set_own_devices"; microphone_off: boolean; camera_off: boolean }
  | { act: "reorder_queue"; participant_ids: string[] };

export type ClientMessage =
  | {
      type: "join";
      ticket: string;
      offer: PublishOffer | null;
      resume: boolean;
      revision: number | null;
      view: View;
    }
  | ({ type: "publish"; id: string } & PublishOffer)
  | { type: "answer"; negotiation: string | number; sdp: string }
  | { type: "restart_ice"; id: string }
  | ({ type: "view" } & View)
  | ({ type: "command"; id: string } & Command)
  | { type: "leave" };

export interface Snapshot {
  revision: number;
  room: Room;
  participants: Participant[];
  floor: Floor;
  stage: Stage;
  chat: ChatMessage[];
}

export interface Delta {
  revision: number;
  room?: Room;
  participants?: Participant[];
  removed_participants?: string[];
  floor?: Floor;
  stage?: Stage;
  chat?: ChatMessage[];
}

export interface IceServer {
  urls: string | string[];
  username?: string;
  credential?: string;
}

export interface ServerOffer {
  negotiation: string | number;
  sdp: string;
  feeds: Feed[];
  new_connection: boolean;
}

export interface ReplyError {
  reason: string;
  detail: string;
  metadata?: Record<string, unknown>;
}

export type EndCode =
  | "meeting_ended"
  | "removed"
  | "replaced"
  | "refused"
  | "meeting_not_found"
  | "meeting_not_open"
  | "ticket_invalid"
  | "join_expected"
  | "message_invalid"
  | "rate_limited"
  | "no_media_node"
  | "media_capacity"
  | "participant_limit"
  | "appointment_changed"
  | "server_stopping"
  | "internal";

export type ServerMessage =
  | { type: "waiting"; admission_id: string }
  | {
      type: "joined";
      participant_id: string;
      role: Role;
      answer: null | { sdp: string };
      resumed: boolean;
      ice_servers: IceServer[];
    }
  | ({ type: "snapshot" } & Snapshot)
  | ({ type: "delta" } & Delta)
  | ({ type: "offer" } & ServerOffer)
  | { type: "feeds"; feeds: Feed[] }
  | { type: "rejoin"; reason: string }
  | { type: "reply"; id: string; answer: null | { sdp: string }; error: null | ReplyError }
  | { type: "talking"; talking: string[]; silent: string[] }
  | { type: "admissions"; waiting: Waiting[] }
  | { type: "ended"; code: EndCode; detail: string };

/** Codes after which the client comes back by itself. */
export const RETRIED_CODES: readonly EndCode[] = [
  "server_stopping",
  "appointment_changed",
  "no_media_node",
  "media_capacity",
  "internal",
];

export const MAX_CHAT_CHARACTERS = 2000;
