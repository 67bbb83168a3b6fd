// SPDX-License-Identifier: Apache-2.0
// Create or edit a meeting. What is typed stays whatever the server says; its field errors stand at the fields.

import type { CalendarDate } from "@internationalized/date";
import { parseDate, parseTime, type Time } from "@internationalized/date";
import { useQuery } from "@tanstack/react-query";
import { Calendar as CalendarIcon, X } from "lucide-react";
import { DateTime } from "luxon";
import { useState } from "react";
import {
  Button as AriaButton,
  Calendar,
  CalendarCell,
  CalendarGrid,
  DateInput,
  DatePicker,
  DateSegment,
  Dialog,
  FieldError,
  Form,
  Group,
  Heading,
  Label,
  Popover,
  TimeField,
} from "react-aria-components";
import { useTranslation } from "react-i18next";
import { useNavigate, useParams } from "react-router";

import { createMeeting, meetingQuery, meQuery, queryClient, unitsQuery, updateMeeting } from "../api/queries";
import { ApiError, type FieldProblem } from "../api/problem";
import { mayIn } from "../api/rights";
import type { Me, Meeting, MeetingCreate, Role, Unit } from "../api/types";
import { Button, Empty, Field, Loading, Select, useTitle } from "../ui/basics";
import { ProblemBox, useFieldWords } from "../ui/problem";
import { browserZone, inZone, zoneLabel } from "../util/time";
import { type PartyChoice, partyKey, PartySearch } from "./party-search";

const DEFAULT_DURATION_MINUTES = 60;
const MIN_DURATION_MINUTES = 5;
const MAX_DURATION_MINUTES = 1440;
const MAX_TITLE = 200;
const INVITED_ROLES: Role[] = ["delegate", "secretary", "operator", "observer", "press"];
const ZONES = ["Asia/Ho_Chi_Minh", "Asia/Bangkok", "Asia/Singapore", "Asia/Tokyo", "Europe/Paris", "UTC"];

interface Invited extends PartyChoice {
  role: Role;
}

interface Values {
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

type Errors = Partial<Record<keyof Values | "chair", string>>;

export function MeetingFormPage() {
  const { id } = useParams();
  const { t } = useTranslation();
  const me = useQuery(meQuery);
  const units = useQuery(unitsQuery);
  const meeting = useQuery({ ...meetingQuery(id ?? ""), enabled: id !== undefined, staleTime: Infinity });
  useTitle(id ? t("form.edit_title") : t("form.create_title"));
  const error = me.error ?? units.error ?? meeting.error;
  if (error) {
    return (
      <div className="page">
        <ProblemBox error={error} />
      </div>
    );
  }
  if (!me.data || !units.data || (id && !meeting.data)) return <Loading />;
  return <MeetingForm me={me.data} units={units.data} meeting={meeting.data ?? null} />;
}

function MeetingForm({ me, units, meeting }: { me: Me; units: Unit[]; meeting: Meeting | null }) {
  const { t } = useTranslation();
  const navigate = useNavigate();
  const fieldWords = useFieldWords();
  const convening = units.filter(
    (each) => each.id === meeting?.unit_id || mayIn(me, "convene", each.id, units),
  );
  const [values, setValues] = useState<Values>(() => startValues(meeting, convening));
  const [errors, setErrors] = useState<Errors>({});
  const [failure, setFailure] = useState<unknown>(null);
  const [busy, setBusy] = useState(false);
  // One key for all tries: a retry after a lost answer must not create a second meeting.
  const [idempotencyKey] = useState(() => crypto.randomUUID());

  const set = <K extends keyof Values>(field: K, value: Values[K]) => {
    setValues((before) => ({ ...before, [field]: value }));
    setErrors((before) => ({
      ...before,
      [field]: undefined,
      ...(field === "invited" ? { chair: undefined } : {}),
    }));
  };

  if (convening.length === 0) {
    return (
      <div className="page narrow">
        <h1>{t("form.create_title")}</h1>
        <Empty>{t("form.no_permission")}</Empty>
      </div>
    );
  }

  const chair = values.invited.find((each) => each.role === "chair");
  const secretary = values.invited.find((each) => each.role === "secretary");
  const taken = new Set(values.invited.map(partyKey));
  const appoint = (role: Role) => (party: PartyChoice) =>
    set("invited", [...values.invited, { ...party, role }]);
  const dismiss = (party: Invited) =>
    set(
      "invited",
      values.invited.filter((each) => each !== party),
    );

  const submit = async () => {
    if (busy) return;
    const found: Errors = {};
    const minutes = Number(values.minutes);
    if (!values.title.trim()) found.title = t("form.required");
    if (!(minutes >= MIN_DURATION_MINUTES && minutes <= MAX_DURATION_MINUTES)) {
      found.minutes = t("form.duration_range");
    }
    if (!chair) found.chair = t("form.chair_required");
    const draft = draftOf(values);
    if (!meeting && Date.parse(draft.start_time) < Date.now()) found.date = t("form.past");
    setErrors(found);
    setFailure(null);
    if (Object.values(found).some(Boolean)) return;
    setBusy(true);
    try {
      const { unit_id, ...change } = draft;
      const saved = meeting
        ? await updateMeeting(meeting, change)
        : await createMeeting({ ...change, unit_id }, idempotencyKey);
      await queryClient.invalidateQueries();
      void navigate(`/meetings/${saved.id}`);
    } catch (error) {
      if (error instanceof ApiError) setErrors(fieldErrors(error, fieldWords.text));
      setFailure(error);
    } finally {
      setBusy(false);
    }
  };
  const marked = Object.values(errors).some(Boolean);

  return (
    <div className="page narrow">
      <div className="page-head">
        <h1>{meeting ? t("form.edit_title") : t("form.create_title")}</h1>
      </div>
      {marked && (
        <p className="problem" role="alert">
          {t("form.failed")}
        </p>
      )}
      {failure !== null && !marked && <ProblemBox error={failure} />}
      <Form
        onSubmit={(event) => {
          event.preventDefault();
          void submit();
        }}
      >
        <section className="panel">
          <h2>{t("form.general")}</h2>
          <Field
            label={t("form.title")}
            help={t("form.title_help")}
            value={values.title}
            maxLength={MAX_TITLE}
            onChange={(value) => set("title", value)}
            error={errors.title}
          />
          <Select
            label={t("form.unit")}
            value={values.unit_id}
            options={convening.map((each) => ({ value: each.id, label: each.name }))}
            disabled={meeting !== null}
            onChange={(value) => set("unit_id", value)}
            error={errors.unit_id}
          />
          <Field
            multiline
            label={t("form.description")}
            value={values.description}
            onChange={(value) => set("description", value)}
            error={errors.description}
          />
          <Select
            label={t("form.policy")}
            value={values.microphone_policy}
            options={(["floor", "open"] as const).map((each) => ({
              value: each,
              label: t(`meeting.policy.${each}`),
            }))}
            onChange={(value) => set("microphone_policy", value as Values["microphone_policy"])}
            error={errors.microphone_policy}
          />
        </section>

        <section className="panel">
          <h2>{t("form.when")}</h2>
          <div className="field-row">
            <DateField
              label={t("form.date")}
              value={values.date}
              error={errors.date}
              onChange={(value) => set("date", value)}
            />
            <TimeField
              className="field"
              hourCycle={24}
              shouldForceLeadingZeros
              value={values.time}
              onChange={(value) => value && set("time", value as Time)}
              isInvalid={Boolean(errors.time)}
            >
              <Label>{t("form.time")}</Label>
              <DateInput className="segments">{(segment) => <DateSegment segment={segment} />}</DateInput>
              <FieldError className="field-error">{errors.time}</FieldError>
            </TimeField>
            <Field
              label={t("form.duration")}
              inputMode="numeric"
              value={values.minutes}
              onChange={(value) => set("minutes", value.replace(/\D/g, ""))}
              error={errors.minutes}
            />
            <Select
              label={t("form.time_zone")}
              value={values.time_zone}
              options={[...new Set([values.time_zone, ...ZONES])].map((zone) => ({
                value: zone,
                label: zoneLabel(zone, `${values.date.toString()}T00:00`),
              }))}
              onChange={(value) => set("time_zone", value)}
              error={errors.time_zone}
            />
          </div>
        </section>

        <section className="panel">
          <h2>{t("form.who")}</h2>
          <Single
            label={t("form.chair")}
            help={t("form.chair_help")}
            chosen={chair}
            taken={taken}
            error={errors.chair}
            onChoose={appoint("chair")}
            onDismiss={dismiss}
          />
          <Single
            label={t("form.secretary")}
            chosen={secretary}
            taken={taken}
            onChoose={appoint("secretary")}
            onDismiss={dismiss}
          />
          <PartySearch
            label={t("form.search")}
            help={t("form.search_help")}
            error={errors.invited}
            kinds={["unit", "site", "user"]}
            taken={taken}
            onChoose={appoint("delegate")}
          />
          <h3>{t("form.invited", { count: values.invited.length })}</h3>
          {values.invited.length === 0 && <Empty>{t("form.invited_none")}</Empty>}
          <ul className="parties" aria-label={t("form.invite")}>
            {values.invited
              .filter((each) => each !== chair && each !== secretary)
              .map((each) => (
                <li key={partyKey(each)}>
                  <PartyName party={each} />
                  <Select
                    hideLabel
                    label={t("form.role_of", { name: each.name })}
                    value={each.role}
                    options={INVITED_ROLES.map((role) => ({ value: role, label: t(`role.${role}`) }))}
                    onChange={(role) =>
                      set(
                        "invited",
                        values.invited.map((other) =>
                          other === each ? { ...each, role: role as Role } : other,
                        ),
                      )
                    }
                  />
                  <RemoveButton party={each} onDismiss={dismiss} />
                </li>
              ))}
          </ul>
        </section>

        <div className="form-acts">
          <Button onPress={() => void navigate(-1)}>{t("app.cancel")}</Button>
          <Button tone="primary" type="submit">
            {busy ? t("form.submitting") : meeting ? t("form.submit_edit") : t("form.submit_create")}
          </Button>
        </div>
      </Form>
    </div>
  );
}

/** One party in one role: a search until somebody is chosen, then the name. */
function Single({
  label,
  chosen,
  onDismiss,
  ...search
}: {
  label: string;
  help?: string;
  chosen: Invited | undefined;
  taken: ReadonlySet<string>;
  error?: string | undefined;
  onChoose: (party: PartyChoice) => void;
  onDismiss: (party: Invited) => void;
}) {
  if (!chosen) return <PartySearch label={label} kinds={["user", "site"]} {...search} />;
  return (
    <div className="field" role="group" aria-label={label}>
      <span className="field-label">{label}</span>
      <div className="chosen">
        <PartyName party={chosen} />
        <RemoveButton party={chosen} onDismiss={onDismiss} />
      </div>
    </div>
  );
}

function PartyName({ party }: { party: Invited }) {
  return (
    <span>
      <strong>{party.name}</strong>
      <small>{party.detail}</small>
    </span>
  );
}

function RemoveButton({ party, onDismiss }: { party: Invited; onDismiss: (party: Invited) => void }) {
  const { t } = useTranslation();
  return (
    <Button tone="plain" aria-label={t("form.remove", { name: party.name })} onPress={() => onDismiss(party)}>
      <X size={18} aria-hidden="true" />
    </Button>
  );
}

function DateField({
  label,
  value,
  error,
  onChange,
}: {
  label: string;
  value: CalendarDate;
  error: string | undefined;
  onChange: (value: CalendarDate) => void;
}) {
  return (
    <DatePicker
      className="field"
      value={value}
      shouldForceLeadingZeros
      isInvalid={Boolean(error)}
      onChange={(date) => date && onChange(date)}
    >
      <Label>{label}</Label>
      <Group className="field-box">
        <DateInput className="segments">{(segment) => <DateSegment segment={segment} />}</DateInput>
        <AriaButton className="field-act">
          <CalendarIcon size={18} aria-hidden="true" />
        </AriaButton>
      </Group>
      <FieldError className="field-error">{error}</FieldError>
      <Popover className="popover">
        <Dialog className="calendar">
          <Calendar>
            <header>
              <AriaButton slot="previous">‹</AriaButton>
              <Heading />
              <AriaButton slot="next">›</AriaButton>
            </header>
            <CalendarGrid>{(date) => <CalendarCell date={date} />}</CalendarGrid>
          </Calendar>
        </Dialog>
      </Popover>
    </DatePicker>
  );
}

function startValues(meeting: Meeting | null, convening: Unit[]): Values {
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

function draftOf(values: Values): MeetingCreate {
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

/** The server's errors by the form's fields; `appointments.3.role` belongs to the list of the invited. */
function fieldErrors(error: ApiError, wordsFor: (each: FieldProblem) => string): Errors {
  const errors: Errors = {};
  for (const each of error.problem.errors) {
    const name = each.field.replace(/^body\./, "").split(/[.[]/)[0] ?? "";
    const field = FIELD_OF[name];
    if (field) errors[field] = wordsFor(each);
  }
  return errors;
}
