// provisional until docs/openapi.json is there
export type Role = "chair" | "secretary" | "operator" | "delegate" | "observer" | "press";
export interface Party {
  kind: "user" | "site" | "unit";
  id: string;
  name: string;
  office?: string | null;
  unit_id?: string | null;
  unit_name?: string | null;
}
export interface Appointment {
  id: string;
  party: Party;
  role: Role;
}
export interface Meeting {
  id: string;
  unit_id: string;
  unit_name: string;
  title: string;
  description: string;
  start_time: string;
  duration_seconds: number;
  time_zone: string;
  status: "scheduled" | "running" | "ended" | "cancelled";
  microphone_policy: "floor" | "open";
  appointments: Appointment[];
  created_by: string;
  create_time: string;
  update_time: string;
  actual_start_time: string | null;
  actual_end_time: string | null;
  etag: string;
  my_role: Role | null;
  cancel_reason: string | null;
  sequence: number;
}
export interface AttendanceRecord {
  party: Party;
  role: Role;
  join_time: string | null;
  leave_time: string | null;
  absent: boolean;
}
export interface Recording {
  id: string;
  meeting_id: string;
  meeting_title: string;
  state: "capturing" | "shipping" | "composing" | "ready" | "failed";
  start_time: string;
  stop_time: string | null;
  duration_seconds: number | null;
  size_bytes: number | null;
  media_type: string | null;
  sha256: string | null;
  progress_percent: number | null;
  shipped_bytes: number | null;
  started_by: string | null;
  failure: string | null;
}
export interface Notification {
  id: string;
  kind: string;
  title: string;
  body: string;
  meeting_id: string | null;
  create_time: string;
  read_time: string | null;
}
export interface Unit {
  id: string;
  parent_id: string | null;
  code: string;
  name: string;
  position: number;
}
export interface MediaNode {
  id: string;
  health: "up" | "down" | "draining";
  sessions: number;
  handles: number;
  peer_connections: number;
  observe_time: string;
  janus_version: string;
}
export interface Me {
  kind: "user" | "site";
  user?: { id: string; name: string; office?: string | null; locale?: "vi" | "en" } | null;
  site?: { id: string; name: string } | null;
  organisation: { id: string; code: string; name: string };
  permissions: { unit_id: string; permissions: string[] }[];
}
