// SPDX-License-Identifier: Apache-2.0
// Every question and act of the app as one function each; the only file that names REST paths.

import { infiniteQueryOptions, QueryClient, queryOptions } from "@tanstack/react-query";

import { api, unwrap } from "./client";
import { ApiError } from "./problem";
import type {
  Appointment,
  AttendanceRecord,
  MediaNode,
  Me,
  Meeting,
  Notification,
  Recording,
  Unit,
} from "./types";

const PAGE_SIZE = 50;
const SEARCH_PAGE_SIZE = 12;
const NOTIFICATIONS_INTERVAL_MS = 30_000;
const MEETINGS_INTERVAL_MS = 30_000;
const RECORDING_INTERVAL_MS = 3_000;

export const queryClient = new QueryClient({
  defaultOptions: {
    queries: {
      staleTime: 5_000,
      // Only what may pass by itself is tried again.
      retry: (count, error) =>
        count < 2 && error instanceof ApiError && (error.status === 0 || error.status >= 500),
    },
  },
});

interface Page<T> {
  items: T[];
  next_page_token: string | null;
}

export const meQuery = queryOptions({
  queryKey: ["me"],
  queryFn: () => unwrap<Me>(api.GET("/v1/me")),
  staleTime: 300_000,
});

export function saveLocale(locale: "vi" | "en"): Promise<unknown> {
  return unwrap(api.PATCH("/v1/me", { body: { locale } }));
}

export const unitsQuery = queryOptions({
  queryKey: ["units"],
  queryFn: async () => (await unwrap<{ items: Unit[] }>(api.GET("/v1/units"))).items,
  staleTime: 300_000,
});

export interface Found {
  kind: "user" | "site";
  id: string;
  name: string;
  office: string | null;
  unit_name: string | null;
}

export function searchQuery(kind: "user" | "site", query: string) {
  const path = kind === "user" ? "/v1/users" : "/v1/sites";
  return queryOptions({
    queryKey: ["search", kind, query],
    queryFn: async () =>
      (
        await unwrap<Page<Omit<Found, "kind">>>(
          api.GET(path, { params: { query: { query, page_size: SEARCH_PAGE_SIZE } } }),
        )
      ).items.map((each) => ({ ...each, kind })),
    staleTime: 60_000,
  });
}

/** All meetings that touch a span of time. */
export function meetingsQuery(from: string, to: string) {
  return queryOptions({
    queryKey: ["meetings", from, to],
    queryFn: async () => {
      const items: Meeting[] = [];
      let page_token: string | null = null;
      do {
        const page: Page<Meeting> = await unwrap<Page<Meeting>>(
          api.GET("/v1/meetings", {
            params: { query: { from, to, page_size: PAGE_SIZE, ...(page_token ? { page_token } : {}) } },
          }),
        );
        items.push(...page.items);
        page_token = page.next_page_token;
      } while (page_token);
      return items;
    },
    refetchInterval: MEETINGS_INTERVAL_MS,
  });
}

const meetingPath = (id: string) => ({ params: { path: { meeting_id: id } } });

export function meetingQuery(id: string) {
  return queryOptions({
    queryKey: ["meeting", id],
    queryFn: () => unwrap<Meeting>(api.GET("/v1/meetings/{meeting_id}", meetingPath(id))),
  });
}

export interface MeetingDraft {
  unit_id: string;
  title: string;
  description: string;
  start_time: string;
  duration_seconds: number;
  time_zone: string;
  microphone_policy: Meeting["microphone_policy"];
  appointments: { party: Pick<Appointment["party"], "kind" | "id">; role: Appointment["role"] }[];
}

export function createMeeting(draft: MeetingDraft, idempotencyKey: string): Promise<Meeting> {
  return unwrap<Meeting>(
    api.POST("/v1/meetings", {
      params: { header: { "Idempotency-Key": idempotencyKey } },
      body: draft,
    }),
  );
}

export function updateMeeting(meeting: Meeting, change: Partial<MeetingDraft>): Promise<Meeting> {
  return unwrap<Meeting>(
    api.PATCH("/v1/meetings/{meeting_id}", {
      params: { path: { meeting_id: meeting.id }, header: { "If-Match": meeting.etag } },
      body: change,
    }),
  );
}

export function cancelMeeting(meeting: Meeting, reason: string): Promise<unknown> {
  return unwrap(
    api.POST("/v1/meetings/{meeting_id}:cancel", {
      params: { path: { meeting_id: meeting.id }, header: { "If-Match": meeting.etag } },
      body: { reason },
    }),
  );
}

export function endMeeting(id: string): Promise<unknown> {
  return unwrap(api.POST("/v1/meetings/{meeting_id}:end", meetingPath(id)));
}

export function attendanceQuery(id: string) {
  return queryOptions({
    queryKey: ["attendance", id],
    queryFn: async () =>
      (
        await unwrap<{ items: AttendanceRecord[] }>(
          api.GET("/v1/meetings/{meeting_id}/attendance", meetingPath(id)),
        )
      ).items,
  });
}

export function decideAdmission(
  meetingId: string,
  admissionId: string,
  decision: "admit" | "refuse",
): Promise<unknown> {
  const params = { path: { meeting_id: meetingId, admission_id: admissionId } };
  return decision === "admit"
    ? unwrap(api.POST("/v1/meetings/{meeting_id}/admissions/{admission_id}:admit", { params }))
    : unwrap(api.POST("/v1/meetings/{meeting_id}/admissions/{admission_id}:refuse", { params }));
}

/** A ticket, and by how much the server's clock is ahead of this one. */
export async function connectTicket(id: string): Promise<{ ticket: string; clockAheadMs: number }> {
  const call = await api.POST("/v1/meetings/{meeting_id}/connect-tickets", meetingPath(id)).catch(() => {
    throw ApiError.network();
  });
  const { ticket } = await unwrap<{ ticket: string }>(Promise.resolve(call));
  const date = Date.parse(call.response.headers.get("Date") ?? "");
  return { ticket, clockAheadMs: Number.isNaN(date) ? 0 : date - Date.now() };
}

export function startRecording(meetingId: string): Promise<Recording> {
  return unwrap<Recording>(api.POST("/v1/meetings/{meeting_id}/recordings", meetingPath(meetingId)));
}

const recordingPath = (id: string) => ({ params: { path: { recording_id: id } } });

export function stopRecording(id: string): Promise<unknown> {
  return unwrap(api.POST("/v1/recordings/{recording_id}:stop", recordingPath(id)));
}

export function retryRecording(id: string): Promise<unknown> {
  return unwrap(api.POST("/v1/recordings/{recording_id}:retry", recordingPath(id)));
}

export function meetingRecordingsQuery(id: string) {
  return queryOptions({
    queryKey: ["meeting-recordings", id],
    queryFn: async () =>
      (await unwrap<{ items: Recording[] }>(api.GET("/v1/meetings/{meeting_id}/recordings", meetingPath(id))))
        .items,
    refetchInterval: (query) => (query.state.data?.some(isMoving) ? RECORDING_INTERVAL_MS : false),
  });
}

const isMoving = (recording: Recording) => recording.state !== "ready" && recording.state !== "failed";

export const recordingsQuery = infiniteQueryOptions({
  queryKey: ["recordings"],
  queryFn: ({ pageParam }) =>
    unwrap<Page<Recording>>(
      api.GET("/v1/recordings", {
        params: { query: { page_size: PAGE_SIZE, ...(pageParam ? { page_token: pageParam } : {}) } },
      }),
    ),
  initialPageParam: null as string | null,
  getNextPageParam: (page) => page.next_page_token,
  refetchInterval: (query) =>
    query.state.data?.pages.some((page) => page.items.some(isMoving)) ? RECORDING_INTERVAL_MS : false,
});

export function recordingQuery(id: string) {
  return queryOptions({
    queryKey: ["recording", id],
    queryFn: () => unwrap<Recording>(api.GET("/v1/recordings/{recording_id}", recordingPath(id))),
    refetchInterval: (query) =>
      query.state.data && isMoving(query.state.data) ? RECORDING_INTERVAL_MS : false,
  });
}

/** A short-lived address that a video element can load. */
export async function contentUrl(id: string): Promise<string> {
  const ticket = await unwrap<{ url: string }>(
    api.POST("/v1/recordings/{recording_id}/content-tickets", recordingPath(id)),
  );
  return ticket.url;
}

interface NotificationPage extends Page<Notification> {
  unread_count: number;
}

export function notificationsQuery(unreadOnly: boolean) {
  return infiniteQueryOptions({
    queryKey: ["notifications", unreadOnly],
    queryFn: ({ pageParam }) =>
      unwrap<NotificationPage>(
        api.GET("/v1/notifications", {
          params: { query: { unread_only: unreadOnly, ...(pageParam ? { page_token: pageParam } : {}) } },
        }),
      ),
    initialPageParam: null as string | null,
    getNextPageParam: (page) => page.next_page_token,
    refetchInterval: NOTIFICATIONS_INTERVAL_MS,
  });
}

export function readNotification(id: string): Promise<unknown> {
  return unwrap(
    api.POST("/v1/notifications/{notification_id}:read", { params: { path: { notification_id: id } } }),
  );
}

export function readAllNotifications(): Promise<unknown> {
  return unwrap(api.POST("/v1/notifications:read-all"));
}

export const nodesQuery = queryOptions({
  queryKey: ["nodes"],
  queryFn: async () => (await unwrap<{ items: MediaNode[] }>(api.GET("/v1/nodes"))).items,
  refetchInterval: 5_000,
});
