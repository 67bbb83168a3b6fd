// SPDX-License-Identifier: Apache-2.0
// The meeting's own fields in its form: what it is, and when.

import type { CalendarDate, Time } from "@internationalized/date";
import { Calendar as CalendarIcon } from "lucide-react";
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
  Group,
  Heading,
  Label,
  Popover,
  TimeField,
} from "react-aria-components";
import { useTranslation } from "react-i18next";

import type { Unit } from "../api/types";
import { Field, Select } from "../ui/basics";
import { zoneLabel } from "../util/time";
import type { Errors, SetField, Values } from "./meeting-draft";

const MAX_TITLE = 200;
const MAX_DESCRIPTION = 5_000;
const ZONES = ["Asia/Ho_Chi_Minh", "Asia/Bangkok", "Asia/Singapore", "Asia/Tokyo", "Europe/Paris", "UTC"];

interface Props {
  values: Values;
  errors: Errors;
  set: SetField;
}

export function GeneralFields({
  values,
  errors,
  set,
  units,
  unitFixed,
}: Props & { units: Unit[]; unitFixed: boolean }) {
  const { t } = useTranslation();
  // Told, not cut off: what is pasted may be shortened by nobody but its author.
  const tooLong = (value: string, max: number) =>
    value.length > max ? t("form.too_long", { length: value.length, max }) : undefined;
  return (
    <section className="panel">
      <h2>{t("form.general")}</h2>
      <Field
        label={t("form.title")}
        help={tooLong(values.title, MAX_TITLE) ?? t("form.title_help")}
        value={values.title}
        onChange={(value) => set("title", value)}
        error={errors.title}
      />
      <Select
        label={t("form.unit")}
        value={values.unit_id}
        options={units.map((each) => ({ value: each.id, label: each.name }))}
        disabled={unitFixed}
        onChange={(value) => set("unit_id", value)}
        error={errors.unit_id}
      />
      <Field
        multiline
        label={t("form.description")}
        help={tooLong(values.description, MAX_DESCRIPTION)}
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
  );
}

export function TimeFields({ values, errors, set }: Props) {
  const { t } = useTranslation();
  return (
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
  const { t } = useTranslation();
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
        <AriaButton className="field-act" aria-label={t("form.calendar")}>
          <CalendarIcon size={18} aria-hidden="true" />
        </AriaButton>
      </Group>
      <FieldError className="field-error">{error}</FieldError>
      <Popover className="popover">
        <Dialog className="calendar">
          <Calendar>
            <header>
              <AriaButton slot="previous" aria-label={t("form.month_before")}>
                ‹
              </AriaButton>
              <Heading />
              <AriaButton slot="next" aria-label={t("form.month_after")}>
                ›
              </AriaButton>
            </header>
            <CalendarGrid>{(date) => <CalendarCell date={date} />}</CalendarGrid>
          </Calendar>
        </Dialog>
      </Popover>
    </DatePicker>
  );
}
