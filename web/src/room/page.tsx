// SPDX-License-Identifier: Apache-2.0
// The way into a meeting and out of it: check the devices, wait to be admitted, the room, the end.

import { useQuery } from "@tanstack/react-query";
import { useEffect, useState } from "react";
import { useTranslation } from "react-i18next";
import { Link, useParams } from "react-router";
import { useStore } from "zustand";

import { ApiError } from "../api/problem";
import { connectTicket, meetingQuery, queryClient } from "../api/queries";
import type { Meeting } from "../api/types";
import { Button, Emblem, Loading, useTitle } from "../ui/basics";
import { setClock } from "../ui/clock";
import { ProblemBox } from "../ui/problem";
import { browserZone } from "../util/time";
import { RoomProvider } from "./context";
import { Devices } from "./devices";
import { Prejoin } from "./prejoin";
import type { EndCode } from "./protocol";
import { Room } from "./room";
import { RoomSession, TicketRefused } from "./session";
import { maySpeak } from "./state";

export function RoomPage() {
  const { id = "" } = useParams();
  const { t } = useTranslation();
  const meeting = useQuery(meetingQuery(id));
  // Kept while the meeting is asked for again: whoever waits or was refused must not fall out of the room's page.
  const [hidden, setHidden] = useState<Meeting | null>(null);
  if (hidden?.id !== id && meeting.error instanceof ApiError && meeting.error.status === 404) {
    setHidden(unseen(id, t("prejoin.unseen")));
  }
  const shown = meeting.data ?? (hidden?.id === id ? hidden : null);
  if (shown) return <Entrance key={id} meeting={shown} />;
  if (meeting.error) {
    return (
      <div className="page narrow">
        <ProblemBox error={meeting.error} onRetry={() => void meeting.refetch()} />
      </div>
    );
  }
  return <Loading />;
}

/** Whoever has no appointment does not see the meeting, yet may knock; to a stranger the server says not found. */
function unseen(id: string, title: string): Meeting {
  return {
    id,
    title,
    unit_id: "",
    unit_name: "",
    description: "",
    start_time: new Date().toISOString(),
    duration_seconds: 0,
    time_zone: browserZone(),
    status: "running",
    microphone_policy: "floor",
    appointments: [],
    created_by: "",
    create_time: "",
    update_time: "",
    actual_start_time: null,
    actual_end_time: null,
    etag: "",
    my_role: null,
    cancel_reason: "",
    sequence: 0,
  };
}

function Entrance({ meeting }: { meeting: Meeting }) {
  const [devices] = useState(() => new Devices());
  const [session, setSession] = useState<RoomSession | null>(null);

  useEffect(
    () => () => {
      devices.close();
    },
    [devices],
  );
  useEffect(() => {
    if (!session) return;
    const leave = () => session.leave();
    // Told at once, so that nobody waits for a seat that is empty.
    window.addEventListener("pagehide", leave);
    return () => {
      window.removeEventListener("pagehide", leave);
      leave();
    };
  }, [session]);

  const join = () => {
    const next = new RoomSession({
      ticket: () => ticketFor(meeting.id),
      url: socketUrl(meeting.id),
      devices,
      // Guests come in as observers: they watch and listen.
      publishes: meeting.my_role !== null && maySpeak(meeting.my_role),
    });
    setSession(next);
    void next.connect();
  };
  if (!session) return <Prejoin meeting={meeting} devices={devices} onJoin={join} />;
  return <Inside session={session} meeting={meeting} onAgain={() => setSession(null)} />;
}

function Inside({
  session,
  meeting,
  onAgain,
}: {
  session: RoomSession;
  meeting: Meeting;
  onAgain: () => void;
}) {
  const { t } = useTranslation();
  useTitle(meeting.title);
  const phase = useStore(session.state, (state) => state.phase);
  const ready = useStore(session.state, (state) => state.room !== null);
  const ended = useStore(session.state, (state) => state.ended);
  const over = phase === "ended" || phase === "left";

  useEffect(() => {
    // The meeting's page shows attendance and recordings as they are now.
    if (over) void queryClient.invalidateQueries();
  }, [over]);

  if (over) return <Out code={ended?.code ?? null} meeting={meeting} onAgain={onAgain} />;
  if (phase === "waiting" || !ready) {
    return (
      <main className="hall">
        <Emblem size={64} />
        <h1>{meeting.title}</h1>
        <p className="hall-state" role="status">
          <span className="spinner" aria-hidden="true" />
          {t(phase === "waiting" ? "room.waiting" : "room.connecting")}
        </p>
        {phase === "waiting" && <p>{t("room.waiting_detail")}</p>}
        <Button onPress={() => session.leave()}>{t("app.cancel")}</Button>
      </main>
    );
  }
  return (
    <RoomProvider session={session} meeting={meeting}>
      <Room />
    </RoomProvider>
  );
}

const FINAL: readonly EndCode[] = ["meeting_ended", "removed", "refused", "meeting_not_found"];

function Out({ code, meeting, onAgain }: { code: EndCode | null; meeting: Meeting; onAgain: () => void }) {
  const { t } = useTranslation();
  return (
    <main className="hall">
      <Emblem size={64} />
      <h1>{t("ended.title")}</h1>
      <p className="hall-state" role="status">
        {t(`ended.${code ?? "left"}`)}
      </p>
      <div className="button-row">
        {(code === null || !FINAL.includes(code)) && (
          <Button onPress={onAgain}>{t("room.join_again")}</Button>
        )}
        <Link to={`/meetings/${meeting.id}`} className="button button-primary">
          {t("room.back_to_meeting")}
        </Link>
      </div>
    </main>
  );
}

const REFUSALS: Readonly<Record<string, EndCode>> = {
  MEETING_NOT_FOUND: "meeting_not_found",
  MEETING_NOT_OPEN: "meeting_not_open",
  MEETING_ENDED: "meeting_ended",
  MEETING_CANCELLED: "meeting_ended",
  ADMISSION_REFUSED: "refused",
  PARTICIPANT_LIMIT_REACHED: "participant_limit",
  WAITING_LIMIT_REACHED: "participant_limit",
};

/** A ticket; a refusal that asking again would not change becomes the end of the stay. */
async function ticketFor(meetingId: string): Promise<string> {
  try {
    const { ticket, clockAheadMs } = await connectTicket(meetingId);
    setClock(clockAheadMs);
    return ticket;
  } catch (error) {
    if (!(error instanceof ApiError)) throw error;
    const code = REFUSALS[error.problem.reason];
    throw code ? new TicketRefused(code, error.message) : error;
  }
}

function socketUrl(meetingId: string): string {
  const url = new URL(`/v1/meetings/${meetingId}/connect`, location.href);
  url.protocol = url.protocol === "https:" ? "wss:" : "ws:";
  return url.href;
}
