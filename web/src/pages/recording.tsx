// SPDX-License-Identifier: Apache-2.0
import { useMutation, useQuery } from "@tanstack/react-query";
import { useState } from "react";
import { ProgressBar } from "react-aria-components";
import { useTranslation } from "react-i18next";
import { Link, useParams } from "react-router";

import { contentUrl, queryClient, recordingQuery, retryRecording, stopRecording } from "../api/queries";
import type { Recording } from "../api/types";
import { Badge, Button, Loading, useTitle } from "../ui/basics";
import { ProblemBox } from "../ui/problem";
import { browserZone, formatBytes, formatClock, formatDateTime } from "../util/time";
import { RECORDING_TONE } from "./recordings";

export function RecordingPage() {
  const { id = "" } = useParams();
  const { t } = useTranslation();
  const recording = useQuery(recordingQuery(id));
  useTitle(recording.data?.meeting_title ?? t("recording.title"));
  if (recording.error && !recording.data) {
    return (
      <div className="page">
        <ProblemBox error={recording.error} onRetry={() => void recording.refetch()} />
      </div>
    );
  }
  if (!recording.data) return <Loading />;
  return <RecordingDetails recording={recording.data} />;
}

function RecordingDetails({ recording }: { recording: Recording }) {
  const { t, i18n } = useTranslation();
  const refresh = {
    onSettled: () => queryClient.invalidateQueries({ queryKey: ["recording", recording.id] }),
  };
  const retry = useMutation({ mutationFn: () => retryRecording(recording.id), ...refresh });
  const stop = useMutation({ mutationFn: () => stopRecording(recording.id), ...refresh });
  const bytes = (value: number | null | undefined) => formatBytes(value ?? 0, i18n.language);

  return (
    <article className="page">
      <header className="page-head">
        <div>
          <Badge tone={RECORDING_TONE[recording.state]}>{t(`recording.state.${recording.state}`)}</Badge>
          <h1>{recording.meeting_title}</h1>
          <p className="sub">
            {t("recording.recorded_at")} {formatDateTime(recording.start_time, browserZone())}
          </p>
        </div>
        <Link to={`/meetings/${recording.meeting_id}`} className="button button-quiet">
          {t("recording.meeting")}
        </Link>
      </header>

      {recording.state === "ready" && <Player recording={recording} />}
      {recording.state === "capturing" && (
        <section className="panel">
          <p>{t("recording.capturing_detail")}</p>
          <Button onPress={() => stop.mutate()} isDisabled={stop.isPending}>
            {t("recording.stop")}
          </Button>
          {stop.error && <ProblemBox error={stop.error} />}
        </section>
      )}
      {recording.state === "shipping" && (
        <section className="panel">
          <p>{t("recording.shipping_detail", { size: bytes(recording.shipped_bytes) })}</p>
        </section>
      )}
      {recording.state === "composing" && (
        <section className="panel">
          <p>{t("recording.composing_detail")}</p>
          <Progress percent={recording.progress_percent ?? 0} />
        </section>
      )}
      {recording.state === "failed" && (
        <section className="panel">
          <p>{t("recording.failed_detail")}</p>
          {recording.failure && (
            <details>
              <summary>{t("recording.failure")}</summary>
              <p className="hash" lang="en">
                {recording.failure}
              </p>
            </details>
          )}
          <Button tone="primary" onPress={() => retry.mutate()} isDisabled={retry.isPending}>
            {t("recording.retry")}
          </Button>
          {retry.error && <ProblemBox error={retry.error} />}
        </section>
      )}

      <section className="panel">
        <dl className="facts">
          {recording.duration_seconds !== null && recording.duration_seconds !== undefined && (
            <>
              <dt>{t("recording.length")}</dt>
              <dd className="number">{formatClock(recording.duration_seconds)}</dd>
            </>
          )}
          {recording.size_bytes !== null && recording.size_bytes !== undefined && (
            <>
              <dt>{t("recording.size")}</dt>
              <dd className="number">{bytes(recording.size_bytes)}</dd>
            </>
          )}
          {recording.sha256 && (
            <>
              <dt>{t("recording.checksum")}</dt>
              <dd className="hash">{recording.sha256}</dd>
            </>
          )}
        </dl>
      </section>
    </article>
  );
}

function Progress({ percent }: { percent: number }) {
  const { t } = useTranslation();
  return (
    <ProgressBar value={percent} aria-label={t("recording.state.composing")} className="progress">
      <progress value={percent} max={100} aria-hidden="true" />
      <span>{t("recording.progress", { percent: Math.round(percent) })}</span>
    </ProgressBar>
  );
}

function Player({ recording }: { recording: Recording }) {
  const { t } = useTranslation();
  const [renewed, setRenewed] = useState(0);
  // The address runs out; when playing stops for that reason, one new address is fetched.
  const url = useQuery({
    queryKey: ["content", recording.id, Math.min(renewed, 1)],
    queryFn: () => contentUrl(recording.id),
    staleTime: Infinity,
    gcTime: 0,
  });
  if (url.error) return <ProblemBox error={url.error} onRetry={() => void url.refetch()} />;
  if (!url.data) return <Loading />;
  return (
    <div className="player">
      {/* eslint-disable-next-line jsx-a11y/media-has-caption -- meetings are not captioned yet */}
      <video
        key={url.data}
        src={url.data}
        controls
        playsInline
        preload="metadata"
        aria-label={t("recording.player")}
        onError={() => setRenewed(renewed + 1)}
      />
      {renewed > 1 && <p role="alert">{t("recording.player_failed")}</p>}
      <a href={url.data} download className="button button-quiet">
        {t("recording.download")}
      </a>
    </div>
  );
}
