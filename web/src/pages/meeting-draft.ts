// SPDX-License-Identifier: Apache-2.0
// What is typed into the meeting's form: how it begins, what is wrong with it, what is sent of it.

import { type CalendarDate, parseDate, parseTime, type Time } from "@internationalized/date";
import { DateTime } from "luxon";

import type { ApiError, FieldProblem } from "../api/problem";
import type { Meeting, MeetingCreate, Role, Unit } from "../api/types";
import { browserZone, inZone } from "../util/time";
import type { PartyChoice } from "./party-search";

const DEFAULT_DURATION_MINUTES = 60;
export const MIN_DURATION_MINUTES = 5;
export const MAX_DURATION_MINUTES = 1440;

export interface Invited extends PartyChoice {
  role: Role;
}

export interface Values {
  title: string;
  description: string;
  unit_id: string;
  date: CalendarDate;
  time: Time;
  time_zone: string;
  minutes: string;
  microphone_policy: Meeting["microphone_policy"];
  invited: Invited[];
}

export type Errors = Partial<Record<keyof Values | "chair", string>>;

/** Sets one field; what was wrong with it counts no more. */
export type SetField = <K extends keyof Values>(field: K, value: Values[K]) => void;

export function startValues(meeting: Meeting | null, convening: Unit[]): Values {
  const zone = meeting?.time_zone ?? browserZone();
  const soon = DateTime.local({ zone }).plus({ hours: 1 }).startOf("hour");
  const start = meeting ? inZone(meeting.start_time, zone) : soon;
  return {
    title: meeting?.title ?? "",
    description: meeting?.description ?? "",
    unit_id: meeting?.unit_id ?? convening[0]?.id ?? "",
    date: parseDate(start.toFormat("yyyy-MM-dd")),
    time: parseTime(start.toFormat("HH:mm")),
    time_zone: zone,
    minutes: String(meeting ? Math.round(meeting.duration_seconds / 60) : DEFAULT_DURATION_MINUTES),
    microphone_policy: meeting?.microphone_policy ?? "floor",
    invited: (meeting?.appointments ?? []).map(({ party, role }) => ({
      kind: party.kind,
      id: party.id,
      name: party.name,
      detail: [party.office, party.unit_name].filter(Boolean).join(" · "),
      role,
    })),
  };
}

export function draftOf(values: Values): MeetingCreate {
  const start = DateTime.fromISO(`${values.date.toString()}T${values.time.toString()}`, {
    zone: values.time_zone,
  });
  return {
    unit_id: values.unit_id,
    title: values.title.trim(),
    description: values.description.trim(),
    start_time: start.toUTC().toISO({ suppressMilliseconds: true }) ?? "",
    duration_seconds: Number(values.minutes) * 60,
    time_zone: values.time_zone,
    microphone_policy: values.microphone_policy,
    appointments: values.invited.map(({ kind, id, role }) => ({ party: { kind, id }, role })),
  };
}

const FIELD_OF: Record<string, keyof Errors> = {
  title: "title",
  description: "description",
  unit_id: "unit_id",
  start_time: "date",
  time_zone: "time_zone",
  duration_seconds: "minutes",
  duration: "minutes",
  microphone_policy: "microphone_policy",
  appointments: "invited",
};

/** The server's errors by the form's fields; `appointments[3].role` belongs to the list of the invited, by name. */
export function fieldErrors(
  error: ApiError,
  invited: Invited[],
  wordsFor: (each: FieldProblem) => string,
): Errors {
  const errors: Errors = {};
  for (const each of error.problem.errors) {
    const [name = "", index = ""] = each.field.replace(/^body\./, "").split(/[.[\]]+/);
    const field = FIELD_OF[name];
    if (!field) continue;
    const party = field === "invited" ? invited[Number(index || NaN)] : undefined;
    const words = party ? `${party.name}: ${wordsFor(each)}` : wordsFor(each);
    errors[field] = [errors[field], words].filter(Boolean).join(" ");
  }
  return errors;
}
