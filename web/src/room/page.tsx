// SPDX-License-Identifier: Apache-2.0
// The way into a meeting and out of it: check the devices, wait to be admitted, the room, the end.

import { useQuery } from "@tanstack/react-query";
import { type ReactNode, useEffect, useEffectEvent, useState } from "react";
import { useTranslation } from "react-i18next";
import { Link, useParams } from "react-router";
import { useStore } from "zustand";

import { ApiError } from "../api/problem";
import { connectTicket, meetingQuery, queryClient } from "../api/queries";
import type { Meeting } from "../api/types";
import { Button, Emblem, Loading, useTitle } from "../ui/basics";
import { setClock } from "../ui/clock";
import { ProblemBox, useProblemWords } from "../ui/problem";
import { browserZone } from "../util/time";
import { RoomProvider } from "./context";
import { Devices } from "./devices";
import { Prejoin } from "./prejoin";
import type { EndCode } from "./protocol";
import { Room } from "./room";
import { NoRoom, RoomSession, TicketRefused } from "./session";
import { maySpeak, type RoomState } from "./state";
import { remember, reopen, takeInterrupted } from "./stay";

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
  // A heading is never empty, whatever the server says.
  if (shown) return <Entrance key={id} meeting={{ ...shown, title: shown.title || t("prejoin.unseen") }} />;
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
  const { t } = useTranslation();
  const [devices] = useState(() => new Devices());
  const [session, setSession] = useState<RoomSession | null>(null);
  const [interrupted, setInterrupted] = useState(() => takeInterrupted(meeting.id));

  useEffect(
    () => () => {
      devices.close();
    },
    [devices],
  );
  useEffect(() => {
    if (!session) return;
    const forget = remember(meeting.id, session);
    // Whoever goes to another page of ours leaves. A page that is reloaded, crashes or is closed says nothing:
    // nobody can tell these apart in time, and a reload must not read as leaving. The server keeps the place for
    // a while, then records that the connection was lost.
    return () => {
      forget();
      session.leave();
    };
  }, [session, meeting.id]);

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
  const joinAgain = useEffectEvent(() => {
    setInterrupted(null);
    join();
  });
  useEffect(() => {
    if (!interrupted) return;
    let gone = false;
    void reopen(devices, interrupted).then(() => {
      if (!gone) joinAgain();
    });
    return () => {
      gone = true;
    };
  }, [devices, interrupted]);

  if (!session && interrupted) return <Hall title={meeting.title} state={t("room.reconnecting")} />;
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
  const full = useStore(session.state, (state) => state.full);
  const ended = useStore(session.state, (state) => state.ended);
  const over = phase === "ended" || phase === "left";

  const joined = phase === "joined";
  const unknown = meeting.etag === "";
  useEffect(() => {
    // Whoever was admitted may see the meeting now, its name first of all.
    if (joined && unknown)
      void queryClient.invalidateQueries({ queryKey: meetingQuery(meeting.id).queryKey });
  }, [joined, unknown, meeting.id]);
  useEffect(() => {
    // The meeting's page shows attendance and recordings as they are now.
    if (over) void queryClient.invalidateQueries();
  }, [over]);

  if (over) return <Out ended={ended} meeting={meeting} onAgain={onAgain} />;
  if (phase === "waiting" || !ready) {
    return (
      <Hall title={meeting.title} state={t(waitingFor(phase, full))}>
        {phase === "waiting" && <p>{t("room.waiting_detail")}</p>}
        {full && <p>{t("reason.MEDIA_CAPACITY.remedy")}</p>}
        <Button onPress={() => session.leave()}>{t("app.cancel")}</Button>
      </Hall>
    );
  }
  return (
    <RoomProvider session={session} meeting={meeting}>
      <Room />
    </RoomProvider>
  );
}

function Hall({ title, state, children }: { title: string; state: string; children?: ReactNode }) {
  return (
    <main className="hall">
      <Emblem size={64} />
      <h1>{title}</h1>
      <p className="hall-state" role="status">
        <span className="spinner" aria-hidden="true" />
        {state}
      </p>
      {children}
    </main>
  );
}

const FINAL: readonly EndCode[] = ["meeting_ended", "removed", "refused", "meeting_not_found"];

function Out({
  ended,
  meeting,
  onAgain,
}: {
  ended: RoomState["ended"];
  meeting: Meeting;
  onAgain: () => void;
}) {
  const { t } = useTranslation();
  const wordsOf = useProblemWords();
  const code = ended?.code ?? null;
  const remedy = ended?.cause ? wordsOf(ended.cause).remedy : null;
  return (
    <main className="hall">
      <Emblem size={64} />
      <h1>{t("ended.title")}</h1>
      <p className="hall-state" role="status">
        {t(`ended.${code ?? "left"}`)}
      </p>
      {remedy && <p>{remedy}</p>}
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

function waitingFor(phase: RoomState["phase"], full: boolean) {
  if (full) return "reason.MEDIA_CAPACITY.title";
  return phase === "waiting" ? "room.waiting" : "room.connecting";
}

/** A ticket; a refusal that asking again would not change becomes the end of the stay. */
async function ticketFor(meetingId: string): Promise<string> {
  try {
    const { ticket, clockAheadMs } = await connectTicket(meetingId);
    setClock(clockAheadMs);
    return ticket;
  } catch (error) {
    if (!(error instanceof ApiError)) throw error;
    const { reason, retry_after_seconds: wait } = error.problem;
    if (reason === "MEDIA_CAPACITY") throw new NoRoom(wait === null ? undefined : wait * 1000);
    const code = REFUSALS[reason];
    throw code ? new TicketRefused(code, error) : error;
  }
}

function socketUrl(meetingId: string): string {
  const url = new URL(`/v1/meetings/${meetingId}/connect`, location.href);
  url.protocol = url.protocol === "https:" ? "wss:" : "ws:";
  return url.href;
}
