// SPDX-License-Identifier: Apache-2.0
// Every question and act of the app as one function each; the only file that names REST paths.

import { infiniteQueryOptions, QueryClient, queryOptions } from "@tanstack/react-query";

import { api, unwrap } from "./client";
import { ApiError } from "./problem";
import type { Meeting, MeetingCreate, MeetingUpdate, Recording } from "./types";

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

export const meQuery = queryOptions({
  queryKey: ["me"],
  queryFn: () => unwrap(api.GET("/v1/me")),
  staleTime: 300_000,
});

export function saveLocale(locale: "vi" | "en"): Promise<unknown> {
  return unwrap(api.PATCH("/v1/me", { body: { locale } }));
}

export const unitsQuery = queryOptions({
  queryKey: ["units"],
  queryFn: async () => (await unwrap(api.GET("/v1/units"))).items,
  staleTime: 300_000,
});

export interface Found {
  kind: "user" | "site";
  id: string;
  name: string;
  office: string | null;
  unit_id: string;
}

export function searchQuery(kind: Found["kind"], query: string) {
  const params = { query: { query, page_size: SEARCH_PAGE_SIZE } };
  return queryOptions({
    queryKey: ["search", kind, query],
    queryFn: async (): Promise<Found[]> => {
      if (kind === "user") {
        const { items } = await unwrap(api.GET("/v1/users", { params }));
        return items.map(({ id, display_name, office, unit_id }) => ({
          kind,
          id,
          name: display_name,
          office,
          unit_id,
        }));
      }
      const { items } = await unwrap(api.GET("/v1/sites", { params }));
      return items.map(({ id, name, unit_id }) => ({ kind, id, name, office: null, unit_id }));
    },
    staleTime: 60_000,
  });
}

/** All meetings that touch a span of time; without their appointments. */
export function meetingsQuery(from: string, to: string) {
  return queryOptions({
    queryKey: ["meetings", from, to],
    queryFn: async () => {
      const items: Meeting[] = [];
      let pageToken: string | null | undefined = "";
      do {
        const page: PageOfMeetings = await unwrap(
          api.GET("/v1/meetings", {
            params: { query: { from, to, page_size: PAGE_SIZE, page_token: pageToken } },
          }),
        );
        items.push(...page.items);
        pageToken = page.next_page_token;
      } while (pageToken);
      return items;
    },
    refetchInterval: MEETINGS_INTERVAL_MS,
  });
}

interface PageOfMeetings {
  items: Meeting[];
  next_page_token?: string | null;
}

const meetingPath = (id: string) => ({ params: { path: { meeting_id: id } } });

export function meetingQuery(id: string) {
  return queryOptions({
    queryKey: ["meeting", id],
    queryFn: () => unwrap(api.GET("/v1/meetings/{meeting_id}", meetingPath(id))),
  });
}

export function createMeeting(draft: MeetingCreate, idempotencyKey: string): Promise<Meeting> {
  return unwrap(
    api.POST("/v1/meetings", {
      params: { header: { "idempotency-key": idempotencyKey } },
      body: draft,
    }),
  );
}

export function updateMeeting(meeting: Meeting, change: MeetingUpdate): Promise<Meeting> {
  return unwrap(
    api.PATCH("/v1/meetings/{meeting_id}", {
      params: { path: { meeting_id: meeting.id }, header: { "if-match": meeting.etag } },
      body: change,
    }),
  );
}

export function cancelMeeting(meeting: Meeting, reason: string): Promise<unknown> {
  return unwrap(
    api.POST("/v1/meetings/{meeting_id}:cancel", {
      params: { path: { meeting_id: meeting.id }, header: { "if-match": meeting.etag } },
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
      (await unwrap(api.GET("/v1/meetings/{meeting_id}/attendance", meetingPath(id)))).items,
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
  const { ticket } = await unwrap(Promise.resolve(call));
  const date = Date.parse(call.response.headers.get("Date") ?? "");
  return { ticket, clockAheadMs: Number.isNaN(date) ? 0 : date - Date.now() };
}

export function startRecording(meetingId: string): Promise<Recording> {
  return unwrap(api.POST("/v1/meetings/{meeting_id}/recordings", meetingPath(meetingId)));
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
      (await unwrap(api.GET("/v1/meetings/{meeting_id}/recordings", meetingPath(id)))).items,
    refetchInterval: (query) => (query.state.data?.some(isMoving) ? RECORDING_INTERVAL_MS : false),
  });
}

const isMoving = (recording: Recording) => recording.state !== "ready" && recording.state !== "failed";

export const recordingsQuery = infiniteQueryOptions({
  queryKey: ["recordings"],
  queryFn: ({ pageParam }) =>
    unwrap(
      api.GET("/v1/recordings", {
        params: { query: { page_size: PAGE_SIZE, page_token: pageParam } },
      }),
    ),
  initialPageParam: "",
  getNextPageParam: (page) => page.next_page_token,
  refetchInterval: (query) =>
    query.state.data?.pages.some((page) => page.items.some(isMoving)) ? RECORDING_INTERVAL_MS : false,
});

export function recordingQuery(id: string) {
  return queryOptions({
    queryKey: ["recording", id],
    queryFn: () => unwrap(api.GET("/v1/recordings/{recording_id}", recordingPath(id))),
    refetchInterval: (query) =>
      query.state.data && isMoving(query.state.data) ? RECORDING_INTERVAL_MS : false,
  });
}

/** A short-lived address that a video element can load. */
export async function contentUrl(id: string): Promise<string> {
  const ticket = await unwrap(api.POST("/v1/recordings/{recording_id}/content-tickets", recordingPath(id)));
  return ticket.url;
}

export function notificationsQuery(unreadOnly: boolean) {
  return infiniteQueryOptions({
    queryKey: ["notifications", unreadOnly],
    queryFn: ({ pageParam }) =>
      unwrap(
        api.GET("/v1/notifications", {
          params: { query: { unread_only: unreadOnly, page_token: pageParam } },
        }),
      ),
    initialPageParam: "",
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
  queryFn: async () => (await unwrap(api.GET("/v1/nodes"))).items,
  refetchInterval: 5_000,
});
