// SPDX-License-Identifier: Apache-2.0
import { Eye, EyeOff } from "lucide-react";
import { useState } from "react";
import { Form, ToggleButton } from "react-aria-components";
import { useTranslation } from "react-i18next";
import { Navigate, useLocation } from "react-router";
import { useStore } from "zustand";

import { auth, type Credentials, signIn } from "../api/auth";
import { ApiError } from "../api/problem";
import { Button, Emblem, Field, useNow, useTitle } from "../ui/basics";
import { LanguageSwitch } from "../ui/language";
import { ProblemBox } from "../ui/problem";
import { browserZone, formatClock, formatTime } from "../util/time";

const ORGANISATION_KEY = "giaoban.organisation";
const FIELDS = ["organisation_code", "username", "password"] as const;

export function SignInPage() {
  const { t } = useTranslation();
  const { phase } = useStore(auth);
  const location = useLocation();
  const [values, setValues] = useState<Credentials>({
    organisation_code: localStorage.getItem(ORGANISATION_KEY) ?? "",
    username: "",
    password: "",
  });
  const [shown, setShown] = useState(false);
  const [tried, setTried] = useState(false);
  const [busy, setBusy] = useState(false);
  const [failure, setFailure] = useState<{ error: unknown; lockedUntil: number | null } | null>(null);
  useTitle(t("sign_in.title"));

  if (phase === "signed_in") {
    const from = (location.state as { from?: string } | null)?.from;
    return <Navigate to={from ?? "/"} replace />;
  }

  const missing = (field: keyof Credentials) =>
    tried && !values[field].trim() ? t("sign_in.required") : null;
  const set = (field: keyof Credentials) => (value: string) => setValues({ ...values, [field]: value });

  const submit = async () => {
    if (busy) return;
    setTried(true);
    setFailure(null);
    if (FIELDS.some((field) => !values[field].trim())) return;
    setBusy(true);
    try {
      await signIn({
        organisation_code: values.organisation_code.trim(),
        username: values.username.trim(),
        password: values.password,
      });
      localStorage.setItem(ORGANISATION_KEY, values.organisation_code.trim());
    } catch (error) {
      const wait = error instanceof ApiError ? error.problem.retry_after_seconds : null;
      setFailure({ error, lockedUntil: wait ? Date.now() + wait * 1000 : null });
    } finally {
      setBusy(false);
    }
  };

  return (
    <div className="sign-in">
      <main className="sign-in-card">
        <header>
          <Emblem size={56} />
          <div>
            <p className="sign-in-name">{t("app.name")}</p>
            <p className="sign-in-tagline">{t("app.tagline")}</p>
          </div>
        </header>
        <h1>{t("sign_in.title")}</h1>
        {phase === "expired" && !failure && <p className="hint">{t("sign_in.expired")}</p>}
        {failure && <SignInFailure {...failure} />}
        <Form
          onSubmit={(event) => {
            event.preventDefault();
            void submit();
          }}
        >
          <Field
            label={t("sign_in.organisation")}
            help={t("sign_in.organisation_help")}
            name="organisation_code"
            autoComplete="organization"
            value={values.organisation_code}
            onChange={set("organisation_code")}
            error={missing("organisation_code")}
          />
          <Field
            label={t("sign_in.username")}
            name="username"
            autoComplete="username"
            value={values.username}
            onChange={set("username")}
            error={missing("username")}
          />
          <Field
            label={t("sign_in.password")}
            name="password"
            type={shown ? "text" : "password"}
            autoComplete="current-password"
            value={values.password}
            onChange={set("password")}
            error={missing("password")}
            trailing={
              <ToggleButton
                className="field-act"
                isSelected={shown}
                onChange={setShown}
                aria-label={t("sign_in.show_password")}
              >
                {shown ? <EyeOff size={18} aria-hidden="true" /> : <Eye size={18} aria-hidden="true" />}
              </ToggleButton>
            }
          />
          <Button tone="primary" type="submit" className="wide">
            {busy ? t("sign_in.submitting") : t("sign_in.submit")}
          </Button>
        </Form>
        <LanguageSwitch />
      </main>
    </div>
  );
}

function SignInFailure({ error, lockedUntil }: { error: unknown; lockedUntil: number | null }) {
  const { t } = useTranslation();
  const now = useNow();
  if (error instanceof ApiError && lockedUntil !== null && lockedUntil > now) {
    return (
      <div className="problem" role="alert">
        <strong>
          {t(error.problem.reason === "RATE_LIMITED" ? "problem.rate_limited" : "sign_in.locked")}
        </strong>
        <p>
          {t("sign_in.locked_until", {
            time: formatTime(new Date(lockedUntil).toISOString(), browserZone()),
            left: formatClock((lockedUntil - now) / 1000),
          })}
        </p>
      </div>
    );
  }
  return <ProblemBox error={error} />;
}
