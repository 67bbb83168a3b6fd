// SPDX-License-Identifier: Apache-2.0
// Tracks on the screen and in the loudspeaker.

import { Volume2 } from "lucide-react";
import { useEffect, useRef, useState } from "react";
import { useTranslation } from "react-i18next";
import { useStore } from "zustand";

import { Button } from "../ui/basics";
import { useRoomContext } from "./context";

export function Video({ track, mirrored = false }: { track: MediaStreamTrack; mirrored?: boolean }) {
  const element = useRef<HTMLVideoElement>(null);
  useEffect(() => {
    const video = element.current;
    if (!video) return;
    video.srcObject = new MediaStream([track]);
    // Rejected when the element goes before the first picture; muted video is never blocked otherwise.
    video.play().catch(() => undefined);
    return () => {
      video.srcObject = null;
    };
  }, [track]);
  return <video ref={element} muted playsInline autoPlay className={mirrored ? "mirrored" : ""} />;
}

/** Everyone's sound, and a button when the browser wants a click first. */
export function Sound() {
  const { t } = useTranslation();
  const { session } = useRoomContext();
  const tracks = useStore(session.tracks, (state) => state.tracks);
  const [blocked, setBlocked] = useState(false);
  const [tries, setTries] = useState(0);
  return (
    <>
      {[...tracks]
        .filter(([key]) => key.endsWith("/microphone"))
        .map(([key, track]) => (
          <Voice key={key} track={track} tries={tries} onBlocked={() => setBlocked(true)} />
        ))}
      {blocked && (
        <div className="notice" role="alert">
          <span>{t("room.unblock_detail")}</span>
          <Button
            tone="primary"
            onPress={() => {
              setBlocked(false);
              setTries(tries + 1);
            }}
          >
            <Volume2 size={18} aria-hidden="true" />
            {t("room.unblock")}
          </Button>
        </div>
      )}
    </>
  );
}

function Voice({
  track,
  tries,
  onBlocked,
}: {
  track: MediaStreamTrack;
  tries: number;
  onBlocked: () => void;
}) {
  const element = useRef<HTMLAudioElement>(null);
  useEffect(() => {
    const audio = element.current;
    if (!audio) return;
    audio.srcObject = new MediaStream([track]);
    return () => {
      audio.srcObject = null;
    };
  }, [track]);
  useEffect(() => {
    element.current?.play().catch((error: unknown) => {
      if (error instanceof Error && error.name === "NotAllowedError") onBlocked();
    });
    // A new callback is no reason to play again.
    // eslint-disable-next-line react-hooks/exhaustive-deps
  }, [track, tries]);
  // eslint-disable-next-line jsx-a11y/media-has-caption -- live speech is not captioned yet
  return <audio ref={element} autoPlay />;
}
