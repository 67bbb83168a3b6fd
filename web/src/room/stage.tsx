// SPDX-License-Identifier: Apache-2.0
// The main screen, and the line that says who has the floor, for how long, and who is next.

import { Mic, MonitorUp, VideoOff } from "lucide-react";
import { useEffect, useRef } from "react";
import { useTranslation } from "react-i18next";

import { Badge, useNow } from "../ui/basics";
import { formatClock } from "../util/time";
import { useRoom, useRoomContext, useTrack } from "./context";
import { Video } from "./media";
import type { FloorHolder, View } from "./protocol";

export function Stage() {
  const { t } = useTranslation();
  const { session } = useRoomContext();
  const stage = useRoom((state) => state.stage);
  const me = useRoom((state) => state.me);
  const participants = useRoom((state) => state.participants);
  const floor = useRoom((state) => state.floor);
  const box = useRef<HTMLDivElement>(null);
  const screenOf = stage.screen_participant_id;
  const screen = useTrack(screenOf, "screen");
  const camera = useTrack(stage.showing, "camera");
  const shown = stage.showing ? participants.get(stage.showing) : undefined;
  const sharer = screenOf ? participants.get(screenOf) : undefined;
  const holder = floor.holders.find((each) => each.participant_id === stage.showing);

  useEffect(() => {
    const element = box.current;
    if (!element) return;
    const observer = new ResizeObserver(([entry]) => {
      const lines = (entry?.contentRect.height ?? 0) * devicePixelRatio;
      session.setView({ stage_height: layerFor(lines) });
    });
    observer.observe(element);
    return () => observer.disconnect();
  }, [session]);

  const cameraVisible = camera !== null && shown && !shown.camera_off;
  return (
    <section className="stage" aria-label={t("room.stage")}>
      <div className={`stage-box ${sharer ? "has-screen" : ""}`} ref={box} data-testid="stage">
        {screenOf && screen ? (
          <>
            <Video track={screen} />
            {cameraVisible && (
              <div className="stage-inset">
                <Video track={camera} mirrored={stage.showing === me} />
              </div>
            )}
          </>
        ) : cameraVisible ? (
          <Video track={camera} mirrored={stage.showing === me} />
        ) : (
          <p className="stage-empty">
            {shown ? (
              <>
                <VideoOff size={40} aria-hidden="true" />
                {t("room.stage_no_camera")}
              </>
            ) : (
              t("room.stage_empty")
            )}
          </p>
        )}
        {shown && (
          <div className="plate" data-testid="stage-plate">
            {holder?.called && <Badge tone="warn">{t("floor.called")}</Badge>}
            <strong>{shown.party.name}</strong>
            <span>{[shown.party.office, shown.party.unit_name].filter(Boolean).join(" · ")}</span>
          </div>
        )}
        {sharer && (
          <p className="stage-share">
            <MonitorUp size={16} aria-hidden="true" />
            <span>{t("room.stage_screen", { name: sharer.party.name })}</span>
          </p>
        )}
      </div>
    </section>
  );
}

function layerFor(lines: number): View["stage_height"] {
  if (lines <= 200) return 180;
  return lines <= 420 ? 360 : 720;
}

export function FloorStrip() {
  const { t } = useTranslation();
  const floor = useRoom((state) => state.floor);
  const participants = useRoom((state) => state.participants);
  const nameOf = (id: string) => participants.get(id)?.party.name ?? "…";
  const first = floor.queue[0];
  return (
    <div className="floor-strip" data-testid="floor-strip">
      <div className="floor-now">
        <Mic size={18} aria-hidden="true" />
        {floor.holders.length === 0 ? (
          <span className="muted">{t("floor.nobody")}</span>
        ) : (
          floor.holders.map((holder) => (
            <span key={holder.participant_id} className="floor-holder">
              <span className="floor-label">{holder.called ? t("floor.called") : t("floor.holder")}</span>
              <strong>{nameOf(holder.participant_id)}</strong>
              <FloorTime holder={holder} />
            </span>
          ))
        )}
      </div>
      {first && (
        <div className="floor-next">
          <span className="floor-label">{t("floor.next")}</span>
          <strong>{nameOf(first.participant_id)}</strong>
          {floor.queue.length > 1 && <span className="muted">+{floor.queue.length - 1}</span>}
        </div>
      )}
    </div>
  );
}

/** How long somebody has had the floor; against the limit, where there is one. */
export function FloorTime({ holder }: { holder: FloorHolder }) {
  const { t } = useTranslation();
  const seconds = (useNow() - Date.parse(holder.grant_time)) / 1000;
  if (holder.limit_seconds === null) return <span className="number">{formatClock(seconds)}</span>;
  const over = seconds - holder.limit_seconds;
  if (over > 0) {
    return (
      <span className="number is-over">
        {formatClock(seconds)} ({t("floor.over", { time: formatClock(over) })})
      </span>
    );
  }
  return (
    <span className="number">
      {t("floor.of_limit", { time: formatClock(seconds), limit: formatClock(holder.limit_seconds) })}
    </span>
  );
}
