// SPDX-License-Identifier: Apache-2.0
// Create or edit a meeting. What is typed stays whatever the server says; its field errors stand at the fields.

import { useQuery } from "@tanstack/react-query";
import { useRef, useState } from "react";
import { Form } from "react-aria-components";
import { useTranslation } from "react-i18next";
import { useNavigate, useParams } from "react-router";

import { ApiError } from "../api/problem";
import { createMeeting, meetingQuery, meQuery, queryClient, unitsQuery, updateMeeting } from "../api/queries";
import { mayIn } from "../api/rights";
import type { Me, Meeting, Unit } from "../api/types";
import { Button, Empty, Loading, useTitle } from "../ui/basics";
import { ProblemBox, useFieldWords } from "../ui/problem";
import {
  draftOf,
  type Errors,
  fieldErrors,
  MAX_DURATION_MINUTES,
  MIN_DURATION_MINUTES,
  type SetField,
  startValues,
  type Values,
} from "./meeting-draft";
import { GeneralFields, TimeFields } from "./meeting-fields";
import { PartyFields } from "./meeting-parties";

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
  const form = useRef<HTMLFormElement>(null);
  // One key for all tries: a retry after a lost answer must not create a second meeting.
  const [idempotencyKey] = useState(() => crypto.randomUUID());

  const set: SetField = (field, value) => {
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

  // On a phone the marked fields are far above the button that was pressed.
  const showFirst = () =>
    requestAnimationFrame(() => {
      const field = form.current?.querySelector<HTMLElement>("[data-invalid] input, [aria-invalid=true]");
      if (field) field.focus();
      else window.scrollTo({ top: 0 });
    });

  const submit = async () => {
    if (busy) return;
    const found: Errors = {};
    const minutes = Number(values.minutes);
    if (!values.title.trim()) found.title = t("form.required");
    if (!(minutes >= MIN_DURATION_MINUTES && minutes <= MAX_DURATION_MINUTES)) {
      found.minutes = t("form.duration_range");
    }
    if (!values.invited.some((each) => each.role === "chair")) found.chair = t("form.chair_required");
    const draft = draftOf(values);
    if (!meeting && Date.parse(draft.start_time) < Date.now()) found.date = t("form.past");
    setErrors(found);
    setFailure(null);
    if (Object.values(found).some(Boolean)) {
      showFirst();
      return;
    }
    setBusy(true);
    try {
      const { unit_id, ...change } = draft;
      const saved = meeting
        ? await updateMeeting(meeting, change)
        : await createMeeting({ ...change, unit_id }, idempotencyKey);
      await queryClient.invalidateQueries();
      void navigate(`/meetings/${saved.id}`);
    } catch (error) {
      if (error instanceof ApiError) setErrors(fieldErrors(error, values.invited, fieldWords.text));
      setFailure(error);
      showFirst();
    } finally {
      setBusy(false);
    }
  };
  const fields = { values, errors, set };
  const marked = Object.values(errors).some(Boolean);

  return (
    <div className="page narrow">
      <div className="page-head">
        <h1>{meeting ? t("form.edit_title") : t("form.create_title")}</h1>
      </div>
      {failure !== null ? (
        <ProblemBox error={failure} />
      ) : (
        marked && (
          <p className="problem" role="alert">
            {t("form.failed")}
          </p>
        )
      )}
      <Form
        ref={form}
        onSubmit={(event) => {
          event.preventDefault();
          void submit();
        }}
      >
        <GeneralFields {...fields} units={convening} unitFixed={meeting !== null} />
        <TimeFields {...fields} />
        <PartyFields invited={values.invited} errors={errors} set={set} />

        <div className="form-acts">
          <Button onPress={() => void navigate(-1)}>{t("app.back")}</Button>
          <Button tone="primary" type="submit">
            {busy ? t("form.submitting") : meeting ? t("form.submit_edit") : t("form.submit_create")}
          </Button>
        </div>
      </Form>
    </div>
  );
}
