// SPDX-License-Identifier: Apache-2.0
import { useInfiniteQuery } from "@tanstack/react-query";
import { useTranslation } from "react-i18next";
import { Link } from "react-router";

import { recordingsQuery } from "../api/queries";
import type { Recording } from "../api/types";
import { Badge, Button, Empty, Loading, useTitle } from "../ui/basics";
import { ProblemBox } from "../ui/problem";
import { browserZone, formatBytes, formatClock, formatDateTime } from "../util/time";

export const RECORDING_TONE = {
  capturing: "bad",
  shipping: "busy",
  composing: "busy",
  ready: "ok",
  failed: "bad",
} as const;

export function RecordingsPage() {
  const { t } = useTranslation();
  useTitle(t("recording.title"));
  const recordings = useInfiniteQuery(recordingsQuery);
  const items = recordings.data?.pages.flatMap((page) => page.items);
  return (
    <div className="page">
      <div className="page-head">
        <h1>{t("recording.title")}</h1>
      </div>
      {recordings.error && !items && (
        <ProblemBox error={recordings.error} onRetry={() => void recordings.refetch()} />
      )}
      {recordings.isPending && <Loading />}
      {items?.length === 0 && <Empty>{t("recording.none")}</Empty>}
      {items && items.length > 0 && <RecordingList recordings={items} />}
      {recordings.hasNextPage && (
        <Button onPress={() => void recordings.fetchNextPage()}>{t("app.more")}</Button>
      )}
    </div>
  );
}

export function RecordingList({ recordings }: { recordings: Recording[] }) {
  const { t, i18n } = useTranslation();
  return (
    <ul className="rows">
      {recordings.map((each) => (
        <li className="row row-recording" key={each.id}>
          <span className="row-title">
            <Link to={`/recordings/${each.id}`}>{each.meeting_title}</Link>
            <small>
              {t("recording.recorded_at")} {formatDateTime(each.start_time, browserZone())}
            </small>
          </span>
          <span className="number">{each.duration_seconds ? formatClock(each.duration_seconds) : ""}</span>
          <span className="number">{each.size_bytes ? formatBytes(each.size_bytes, i18n.language) : ""}</span>
          <Badge tone={RECORDING_TONE[each.state]}>
            {t(`recording.state.${each.state}`)}
            {each.state === "composing" && ` ${each.progress_percent ?? 0}%`}
          </Badge>
        </li>
      ))}
    </ul>
  );
}
