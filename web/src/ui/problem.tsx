// SPDX-License-Identifier: Apache-2.0
// A refusal in the reader's language: what happened, which field, what to do.

import { useTranslation } from "react-i18next";

import { ApiError, type FieldProblem, kindOf } from "../api/problem";
import { CommandRefused } from "../room/ws";
import { browserZone, formatDateTime } from "../util/time";
import { Button } from "./basics";

const MOMENT = /^\d{4}-\d{2}-\d{2}T/;

export interface ProblemWords {
  title: string;
  remedy: string | null;
  fields: string[];
  trace: string | null;
}

/** What went wrong and what to do about it. */
export function ProblemBox({ error, onRetry }: { error: unknown; onRetry?: () => void }) {
  const { t } = useTranslation();
  const words = useProblemWords()(error);
  return (
    <div className="problem" role="alert">
      <strong>{words.title}</strong>
      {words.remedy && <p>{words.remedy}</p>}
      {words.fields.length > 0 && (
        <ul>
          {words.fields.map((each) => (
            <li key={each}>{each}</li>
          ))}
        </ul>
      )}
      {words.trace && <p className="trace">{t("problem.trace", { trace: words.trace })}</p>}
      {onRetry && <Button onPress={onRetry}>{t("app.retry")}</Button>}
    </div>
  );
}

/** Words for anything that can be thrown; a reason without words here is told in the server's own. */
export function useProblemWords(): (error: unknown) => ProblemWords {
  const { t } = useTranslation();
  const wordsFor = useReasonWords();
  const fieldWords = useFieldWords();
  const none = { remedy: null, fields: [], trace: null };
  return (error) => {
    if (error instanceof CommandRefused) {
      return { ...none, ...(wordsFor(error.reason, error.params) ?? { title: error.message }) };
    }
    if (!(error instanceof ApiError)) return { ...none, title: t("problem.title") };
    const { problem } = error;
    const kind = kindOf(problem);
    if (kind === "network")
      return { ...none, title: t("problem.network"), remedy: t("problem.network_remedy") };
    return {
      ...(wordsFor(problem.reason, problem.params) ?? {
        title: t(kind ? `problem.${kind}` : "problem.title"),
        remedy: problem.detail || null,
      }),
      fields: problem.errors.map((each) => `${fieldWords.name(each)}: ${fieldWords.text(each)}`),
      trace: problem.status >= 500 ? problem.trace_id : null,
    };
  };
}

function useReasonWords() {
  const text = useKnownText();
  return (reason: string, params: Record<string, string>): { title: string; remedy: string } | null => {
    const values = Object.fromEntries(
      Object.entries(params).map(([key, value]) => [
        key,
        MOMENT.test(value) ? formatDateTime(value, browserZone()) : value,
      ]),
    );
    for (const words of [`reason.${reason}`, `reason_short.${reason}`]) {
      const title = text(`${words}.title`, values);
      const remedy = text(`${words}.remedy`, values);
      if (title !== null && remedy !== null && !`${title}${remedy}`.includes("{{")) return { title, remedy };
    }
    return null;
  };
}

/** What a field is called and what is wrong with it. */
export function useFieldWords() {
  const { t } = useTranslation();
  const text = useKnownText();
  return {
    name({ field }: FieldProblem): string {
      const [first = "", ...rest] = field
        .replace(/^body\./, "")
        .replace(/\[(\d+)\]/g, ".$1")
        .split(".");
      const name = text(`field_name.${first}`) ?? first;
      const index = rest.find((each) => /^\d+$/.test(each));
      return index === undefined
        ? name
        : `${name}, ${t("field_name.entry", { number: String(Number(index) + 1) })}`;
    },
    text({ reason, remedy }: FieldProblem): string {
      return (
        text(`field_reason.${reason}`) ?? text(`field_shape.${reason}`) ?? (remedy || t("field_shape.other"))
      );
    },
  };
}

/** The text of a key that the server named, if there is one. */
function useKnownText() {
  const { i18n } = useTranslation();
  return (key: string, values: Record<string, string> = {}): string | null =>
    i18n.exists(key) ? String(i18n.t(key as never, values as never)) : null;
}
