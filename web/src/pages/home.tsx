// SPDX-License-Identifier: Apache-2.0
import { useQuery } from "@tanstack/react-query";
import { ChevronLeft, ChevronRight, Plus, Video } from "lucide-react";
import { DateTime } from "luxon";
import { useState } from "react";
import { useTranslation } from "react-i18next";
import { Link } from "react-router";

import { meetingsQuery, meQuery } from "../api/queries";
import { may } from "../api/rights";
import type { Meeting } from "../api/types";
import { Badge, Button, Empty, Loading, useTitle } from "../ui/basics";
import { ProblemBox } from "../ui/problem";
import { formatDate, formatDay, formatLength, formatSpan, formatTime } from "../util/time";

const STATUS_ORDER: Meeting["status"][] = ["running", "scheduled", "ended", "cancelled"];
export const STATUS_TONE = { running: "ok", scheduled: "busy", ended: "none", cancelled: "bad" } as const;

export function HomePage() {
  const { t, i18n } = useTranslation();
  useTitle(t("app.home"));
  const { data: me } = useQuery(meQuery);
  const [weekOffset, setWeekOffset] = useState(0);
  const today = DateTime.local().startOf("day");
  const monday = today.startOf("week").plus({ weeks: weekOffset });
  const sunday = monday.plus({ days: 6 });
  const todays = useQuery(meetingsQuery(iso(today), iso(today.plus({ days: 1 }))));
  const weeks = useQuery(meetingsQuery(iso(monday), iso(monday.plus({ weeks: 1 }))));

  return (
    <div className="page">
      <div className="page-head">
        <div>
          <h1>{t("meeting.today")}</h1>
          <p className="sub">{formatDay(iso(today), today.zoneName, i18n.language)}</p>
        </div>
        {me && may(me, "convene") && (
          <Link to="/meetings/new" className="button button-primary">
            <Plus size={18} aria-hidden="true" />
            {t("meeting.create")}
          </Link>
        )}
      </div>
      <MeetingList query={todays} none={t("meeting.today_none")} prominent />

      <div className="page-head week-head">
        <h2>
          {weekOffset === 0
            ? t("meeting.week")
            : t("meeting.week_of", { from: monday.toFormat("dd/MM"), to: sunday.toFormat("dd/MM/yyyy") })}
        </h2>
        <div className="button-row">
          <Button aria-label={t("meeting.week_before")} onPress={() => setWeekOffset(weekOffset - 1)}>
            <ChevronLeft size={18} aria-hidden="true" />
          </Button>
          <Button isDisabled={weekOffset === 0} onPress={() => setWeekOffset(0)}>
            {t("meeting.week")}
          </Button>
          <Button aria-label={t("meeting.week_after")} onPress={() => setWeekOffset(weekOffset + 1)}>
            <ChevronRight size={18} aria-hidden="true" />
          </Button>
        </div>
      </div>
      <MeetingList query={weeks} none={t("meeting.week_none")} />
    </div>
  );
}

function iso(time: DateTime): string {
  return time.toUTC().toISO() ?? "";
}

function MeetingList({
  query,
  none,
  prominent = false,
}: {
  query: { data: Meeting[] | undefined; error: unknown; isPending: boolean; refetch: () => unknown };
  none: string;
  prominent?: boolean;
}) {
  if (query.error && !query.data)
    return <ProblemBox error={query.error} onRetry={() => void query.refetch()} />;
  if (!query.data) return <Loading />;
  if (query.data.length === 0) return <Empty>{none}</Empty>;
  const sorted = [...query.data].sort((a, b) => {
    const byTime = a.start_time.localeCompare(b.start_time);
    if (!prominent) return byTime;
    return STATUS_ORDER.indexOf(a.status) - STATUS_ORDER.indexOf(b.status) || byTime;
  });
  return (
    <ul className={prominent ? "cards" : "rows"}>
      {sorted.map((meeting) =>
        prominent ? (
          <MeetingCard key={meeting.id} meeting={meeting} />
        ) : (
          <MeetingRow key={meeting.id} meeting={meeting} />
        ),
      )}
    </ul>
  );
}

function MeetingCard({ meeting }: { meeting: Meeting }) {
  const { t, i18n } = useTranslation();
  const open = meeting.status === "running" || meeting.status === "scheduled";
  return (
    <li className={`card card-${meeting.status}`}>
      <div className="card-time">
        <strong>{formatTime(meeting.start_time, meeting.time_zone)}</strong>
        <span>{formatLength(meeting.duration_seconds, i18n.language)}</span>
      </div>
      <div className="card-body">
        <div className="card-marks">
          <Badge tone={STATUS_TONE[meeting.status]}>{t(`meeting.status.${meeting.status}`)}</Badge>
          {meeting.my_role && <span className="role">{t(`role.${meeting.my_role}`)}</span>}
        </div>
        <h2>
          <Link to={`/meetings/${meeting.id}`}>{meeting.title}</Link>
        </h2>
        <p className="sub">{meeting.unit_name}</p>
      </div>
      <div className="card-acts">
        {open && (
          <Link
            to={`/meetings/${meeting.id}/room`}
            className={`button ${meeting.status === "running" ? "button-primary" : "button-quiet"}`}
            aria-label={t("meeting.join_named", { title: meeting.title })}
          >
            <Video size={18} aria-hidden="true" />
            {t("meeting.join")}
          </Link>
        )}
      </div>
    </li>
  );
}

function MeetingRow({ meeting }: { meeting: Meeting }) {
  const { t, i18n } = useTranslation();
  return (
    <li className="row">
      <span className="row-when">
        <strong>{formatDay(meeting.start_time, meeting.time_zone, i18n.language).split(",")[0]}</strong>
        <span>{formatDate(meeting.start_time, meeting.time_zone)}</span>
      </span>
      <span className="row-time">
        {formatSpan(meeting.start_time, meeting.duration_seconds, meeting.time_zone)}
      </span>
      <span className="row-title">
        <Link to={`/meetings/${meeting.id}`}>{meeting.title}</Link>
        <small>{meeting.unit_name}</small>
      </span>
      <span className="row-role">{meeting.my_role ? t(`role.${meeting.my_role}`) : ""}</span>
      <Badge tone={STATUS_TONE[meeting.status]}>{t(`meeting.status.${meeting.status}`)}</Badge>
    </li>
  );
}
