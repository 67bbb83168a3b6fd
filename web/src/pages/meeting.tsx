// SPDX-License-Identifier: Apache-2.0
import { useMutation, useQuery } from "@tanstack/react-query";
import { Video } from "lucide-react";
import { useState } from "react";
import { useTranslation } from "react-i18next";
import { Link, useParams } from "react-router";

import {
  attendanceQuery,
  cancelMeeting,
  meetingQuery,
  meetingRecordingsQuery,
  meQuery,
  queryClient,
  unitsQuery,
} from "../api/queries";
import { mayEdit } from "../api/rights";
import type { Appointment, AttendanceRecord, Meeting } from "../api/types";
import { Badge, Button, Confirm, Empty, Field, Loading, useTitle } from "../ui/basics";
import { ProblemBox } from "../ui/problem";
import { formatDateTime, formatDay, formatLength, formatSpan, formatTime, zoneLabel } from "../util/time";
import { STATUS_TONE } from "./home";
import { RecordingList } from "./recordings";

const ROLE_ORDER: Appointment["role"][] = ["chair", "secretary", "operator", "delegate", "observer", "press"];

export function MeetingPage() {
  const { id = "" } = useParams();
  const { t } = useTranslation();
  const meeting = useQuery(meetingQuery(id));
  useTitle(meeting.data?.title ?? t("meeting.details"));
  if (meeting.error && !meeting.data) {
    return (
      <div className="page">
        <ProblemBox error={meeting.error} onRetry={() => void meeting.refetch()} />
      </div>
    );
  }
  if (!meeting.data) return <Loading />;
  return <MeetingDetails meeting={meeting.data} />;
}

function MeetingDetails({ meeting }: { meeting: Meeting }) {
  const { t, i18n } = useTranslation();
  const { data: me } = useQuery(meQuery);
  const { data: units } = useQuery(unitsQuery);
  const [reason, setReason] = useState("");
  const cancel = useMutation({
    mutationFn: () => cancelMeeting(meeting, reason),
    onSettled: () => queryClient.invalidateQueries(),
  });
  const editable = me && units && mayEdit(me, meeting, units);
  const open = meeting.status === "running" || meeting.status === "scheduled";

  return (
    <article className="page">
      <header className="page-head">
        <div>
          <div className="card-marks">
            <Badge tone={STATUS_TONE[meeting.status]}>{t(`meeting.status.${meeting.status}`)}</Badge>
          </div>
          <h1>{meeting.title}</h1>
          <p className="sub">
            {formatDay(meeting.start_time, meeting.time_zone, i18n.language)} ·{" "}
            {formatSpan(meeting.start_time, meeting.duration_seconds, meeting.time_zone)}
          </p>
        </div>
        <div className="button-row">
          {editable && (
            <>
              <Link to={`/meetings/${meeting.id}/edit`} className="button button-quiet">
                {t("meeting.edit")}
              </Link>
              <Confirm
                final
                trigger={<Button>{t("meeting.cancel")}</Button>}
                title={t("meeting.cancel_confirm")}
                detail={t("meeting.cancel_detail")}
                confirm={t("meeting.cancel")}
                keep={t("meeting.cancel_keep")}
                onConfirm={() => cancel.mutate()}
              >
                <Field label={t("meeting.cancel_reason")} value={reason} onChange={setReason} />
              </Confirm>
            </>
          )}
          {open && (
            <Link to={`/meetings/${meeting.id}/room`} className="button button-primary">
              <Video size={18} aria-hidden="true" />
              {t("meeting.join")}
            </Link>
          )}
        </div>
      </header>
      {cancel.error && <ProblemBox error={cancel.error} />}
      {meeting.status === "cancelled" && meeting.cancel_reason && (
        <p className="hint">{t("meeting.cancelled_because", { reason: meeting.cancel_reason })}</p>
      )}

      <div className="columns">
        <section className="panel">
          <h2>{t("meeting.details")}</h2>
          <dl className="facts">
            <dt>{t("meeting.unit")}</dt>
            <dd>{meeting.unit_name}</dd>
            <dt>{t("meeting.time")}</dt>
            <dd>
              {formatDateTime(meeting.start_time, meeting.time_zone)}
              <small>{t("meeting.zone", { zone: zoneLabel(meeting.time_zone, meeting.start_time) })}</small>
            </dd>
            <dt>{t("meeting.duration")}</dt>
            <dd>{formatLength(meeting.duration_seconds, i18n.language)}</dd>
            <dt>{t("meeting.my_role")}</dt>
            <dd>{t(`role.${meeting.my_role ?? "none"}`)}</dd>
            <dt>{t("meeting.microphones")}</dt>
            <dd>{t(`meeting.policy.${meeting.microphone_policy}`)}</dd>
            {meeting.actual_start_time && (
              <>
                <dt>{t("meeting.started_at")}</dt>
                <dd>{formatDateTime(meeting.actual_start_time, meeting.time_zone)}</dd>
              </>
            )}
            {meeting.actual_end_time && (
              <>
                <dt>{t("meeting.ended_at")}</dt>
                <dd>{formatDateTime(meeting.actual_end_time, meeting.time_zone)}</dd>
              </>
            )}
          </dl>
          {meeting.description && (
            <>
              <h3>{t("meeting.description")}</h3>
              <p className="prose">{meeting.description}</p>
            </>
          )}
        </section>
        <section className="panel">
          <h2>
            {t("meeting.invited")} <span className="sub">({meeting.appointments.length})</span>
          </h2>
          <Invited appointments={meeting.appointments} />
        </section>
      </div>

      {meeting.status !== "scheduled" && meeting.status !== "cancelled" && (
        <>
          <Attendance meeting={meeting} />
          <Recordings meeting={meeting} />
        </>
      )}
    </article>
  );
}

function Invited({ appointments }: { appointments: Appointment[] }) {
  const { t } = useTranslation();
  return (
    // A list that scrolls must be reachable by key.
    // eslint-disable-next-line jsx-a11y/no-noninteractive-tabindex
    <ul className="parties" tabIndex={0} aria-label={t("meeting.invited")}>
      {ROLE_ORDER.flatMap((role) => appointments.filter((each) => each.role === role)).map((each) => (
        <li key={each.id}>
          <span>
            <strong>{each.party.name}</strong>
            <small>
              {[t(`kind.${each.party.kind}`), each.party.office, each.party.unit_name]
                .filter(Boolean)
                .join(" · ")}
            </small>
          </span>
          <span className={`role role-${each.role}`}>{t(`role.${each.role}`)}</span>
        </li>
      ))}
    </ul>
  );
}

/** Chair first; Quận 2 before Quận 10; the stays of one party in the order of time. */
function byRoleAndName(a: AttendanceRecord, b: AttendanceRecord): number {
  const rank = ({ role }: AttendanceRecord) => (role ? ROLE_ORDER.indexOf(role) : ROLE_ORDER.length);
  return (
    rank(a) - rank(b) ||
    a.party.name.localeCompare(b.party.name, "vi", { numeric: true }) ||
    (a.join_time ?? "").localeCompare(b.join_time ?? "")
  );
}

function Attendance({ meeting }: { meeting: Meeting }) {
  const { t } = useTranslation();
  const attendance = useQuery({
    ...attendanceQuery(meeting.id),
    refetchInterval: meeting.status === "running" ? 15_000 : false,
  });
  const time = (value: string | null | undefined) => (value ? formatTime(value, meeting.time_zone) : "–");
  const state = (record: AttendanceRecord) =>
    record.absent ? (
      <Badge tone="bad">{t("meeting.absent")}</Badge>
    ) : record.leave_time ? (
      <Badge tone="none">{t("meeting.left")}</Badge>
    ) : (
      <Badge tone="ok">{t("meeting.present")}</Badge>
    );
  const records = attendance.data ?? [];
  const parties = (some: AttendanceRecord[]) => new Set(some.map(({ party }) => party.id)).size;
  const came = records.filter((each) => !each.absent && !(meeting.status === "running" && each.leave_time));
  return (
    <section className="panel">
      <h2>{t("meeting.attendance")}</h2>
      {records.length > 0 && (
        <p className="sub">{t("roster.counts", { present: parties(came), invited: parties(records) })}</p>
      )}
      {attendance.error && !attendance.data && <ProblemBox error={attendance.error} />}
      {attendance.data?.length === 0 && <Empty>{t("meeting.attendance_none")}</Empty>}
      {records.length > 0 && (
        // A table wider than a phone scrolls by itself, by key as well.
        // eslint-disable-next-line jsx-a11y/no-noninteractive-tabindex
        <div className="scroll-x" tabIndex={0} role="region" aria-label={t("meeting.attendance")}>
          <table className="roll">
            <thead>
              <tr>
                <th scope="col">{t("meeting.party")}</th>
                <th scope="col">{t("meeting.role")}</th>
                <th scope="col">{t("meeting.from")}</th>
                <th scope="col">{t("meeting.until")}</th>
                <th scope="col">{t("meeting.state")}</th>
              </tr>
            </thead>
            <tbody>
              {[...records].sort(byRoleAndName).map((record, index) => (
                <tr
                  key={`${record.party.id}-${record.join_time ?? index}`}
                  className={record.absent ? "is-absent" : ""}
                >
                  <th scope="row">
                    {record.party.name}
                    {record.party.unit_name && <small>{record.party.unit_name}</small>}
                  </th>
                  <td>{t(`role.${record.role ?? "none"}`)}</td>
                  <td className="number">{time(record.join_time)}</td>
                  <td className="number">{time(record.leave_time)}</td>
                  <td>{state(record)}</td>
                </tr>
              ))}
            </tbody>
          </table>
        </div>
      )}
    </section>
  );
}

function Recordings({ meeting }: { meeting: Meeting }) {
  const { t } = useTranslation();
  const recordings = useQuery(meetingRecordingsQuery(meeting.id));
  return (
    <section className="panel">
      <h2>{t("meeting.recordings")}</h2>
      {recordings.error && !recordings.data && <ProblemBox error={recordings.error} />}
      {recordings.data &&
        (recordings.data.length ? (
          <RecordingList recordings={recordings.data} />
        ) : (
          <Empty>{t("meeting.recordings_none")}</Empty>
        ))}
    </section>
  );
}
