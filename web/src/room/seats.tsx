// SPDX-License-Identifier: Apache-2.0
// The seats: tiles that keep their place, a page at a time. Only the visible ones are asked for.

import { ChevronLeft, ChevronRight, Hand, MicOff, UserRound } from "lucide-react";
import { useEffect, useLayoutEffect, useRef, useState } from "react";
import { useTranslation } from "react-i18next";

import { Button } from "../ui/basics";
import { useRoom, useRoomContext, useTrack } from "./context";
import { Video } from "./media";

const MIN_TILE = { strip: 128, grid: 220 };
/** On a phone smaller tiles leave room for the panel below. */
const PHONE_WIDTH = 480;
const PHONE_MIN_TILE = { strip: 88, grid: 150 };
const GAP = 8;
/** The server gives at most this many pictures (live protocol, `view.tiles`). */
const MAX_TILES = 49;

export function Seats({ grid }: { grid: boolean }) {
  const { t } = useTranslation();
  const { session } = useRoomContext();
  const seats = useRoom((state) => state.seats);
  const participants = useRoom((state) => state.participants);
  const me = useRoom((state) => state.me);
  const [wanted, setWanted] = useState(0);
  const box = useRef<HTMLDivElement>(null);
  const [size, setSize] = useState({ width: 0, height: 0 });

  useLayoutEffect(() => {
    const element = box.current;
    if (!element) return;
    const observer = new ResizeObserver(([entry]) => {
      if (entry) setSize({ width: entry.contentRect.width, height: entry.contentRect.height });
    });
    observer.observe(element);
    return () => observer.disconnect();
  }, []);

  const minimum = (size.width < PHONE_WIDTH ? PHONE_MIN_TILE : MIN_TILE)[grid ? "grid" : "strip"];
  const columns = Math.max(2, Math.floor((size.width + GAP) / (minimum + GAP)));
  const tileHeight = ((size.width - GAP * (columns - 1)) / columns) * (9 / 16);
  const rows = grid ? Math.max(1, Math.floor((size.height + GAP) / (tileHeight + GAP))) : 1;
  const perPage = Math.min(columns * rows, MAX_TILES);
  const pages = Math.max(1, Math.ceil(seats.length / perPage));
  const page = Math.min(wanted, pages - 1);
  const visible = seats.slice(page * perPage, (page + 1) * perPage);

  const tiles = visible.filter((id) => {
    const participant = id === null ? undefined : participants.get(id);
    return participant && id !== me && !participant.camera_off && sends(participant.streams);
  }) as string[];
  useEffect(() => {
    session.setView({ tiles });
    // The list is new with each render; what it says is not.
    // eslint-disable-next-line react-hooks/exhaustive-deps
  }, [session, tiles.join()]);

  return (
    <section className={grid ? "seats is-grid" : "seats"} aria-label={t("room.seats")}>
      {pages > 1 && (
        <Button
          tone="plain"
          className="seats-turn"
          aria-label={t("room.page_before")}
          isDisabled={page === 0}
          onPress={() => setWanted(page - 1)}
        >
          <ChevronLeft size={20} aria-hidden="true" />
        </Button>
      )}
      <div className="seats-box" ref={box}>
        <ul className="tiles" style={{ gridTemplateColumns: `repeat(${columns}, 1fr)` }}>
          {visible.map((id, index) =>
            id === null ? (
              <li key={`empty-${index}`} className="tile is-empty">
                <span className="visually-hidden">{t("room.seat_empty")}</span>
              </li>
            ) : (
              <Tile key={id} id={id} />
            ),
          )}
        </ul>
      </div>
      {pages > 1 && (
        <div className="seats-end">
          <Button
            tone="plain"
            className="seats-turn"
            aria-label={t("room.page_after")}
            isDisabled={page === pages - 1}
            onPress={() => setWanted(page + 1)}
          >
            <ChevronRight size={20} aria-hidden="true" />
          </Button>
          <p className="seats-page" role="status">
            <span className="visually-hidden">{t("room.seats_page", { page: page + 1, pages })}</span>
            <span aria-hidden="true">
              {page + 1}/{pages}
            </span>
          </p>
        </div>
      )}
    </section>
  );
}

function sends(streams: { source: string }[]): boolean {
  return streams.some((each) => each.source === "camera");
}

function Tile({ id }: { id: string }) {
  const { t } = useTranslation();
  const participant = useRoom((state) => state.participants.get(id));
  const own = useRoom((state) => state.me === id);
  const talking = useRoom((state) => state.talking.has(id));
  const place = useRoom((state) => state.floor.queue.findIndex((each) => each.participant_id === id) + 1);
  const holds = useRoom((state) => state.floor.holders.some((each) => each.participant_id === id));
  const track = useTrack(id, "camera");
  if (!participant) return null;
  const { party, connection } = participant;
  const silent = participant.microphone_off || participant.muted;
  return (
    <li
      className={`tile ${holds ? "has-floor" : ""} ${talking ? "is-talking" : ""} is-${connection}`}
      data-testid={`tile-${id}`}
    >
      {track && !participant.camera_off ? (
        <Video track={track} mirrored={own} />
      ) : (
        <UserRound className="tile-none" size={32} aria-hidden="true" />
      )}
      {connection !== "connected" && <span className="tile-state">{t(`roster.state.${connection}`)}</span>}
      {place > 0 && (
        <span className="tile-hand">
          <Hand size={14} aria-hidden="true" />
          <span className="visually-hidden">{t("floor.raise")}</span> {place}
        </span>
      )}
      <span className="tile-name">
        {silent && (
          <>
            <MicOff size={13} aria-hidden="true" />
            <span className="visually-hidden">
              {t(participant.muted ? "roster.muted" : "roster.microphone_off")}
            </span>
          </>
        )}
        <span className="tile-text">{own ? `${party.name} (${t("room.you")})` : party.name}</span>
        {talking && <span className="tile-talking">{t("roster.speaking")}</span>}
      </span>
    </li>
  );
}
