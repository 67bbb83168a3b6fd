// SPDX-License-Identifier: Apache-2.0
import { useProblemWords } from "../ui/problem";
// What every part of the room's screen needs: the session, the meeting, a way to act.

import { createContext, type ReactNode, useCallback, useContext, useEffect, useMemo, useState } from "react";
import { useTranslation } from "react-i18next";
import { useStore } from "zustand";

import type { Meeting } from "../api/types";
import type { DevicesState } from "./devices";
import { trackKey } from "./peers";
import type { Command, Participant, Source } from "./protocol";
import type { RoomSession } from "./session";
import type { RoomState } from "./state";
import { undoOf } from "./undo";
import { ConnectionLost } from "./ws";

interface RoomContextValue {
  session: RoomSession;
  meeting: Meeting;
  /** The last thing that went wrong with an act, for the toast. */
  failure: string | null;
  attempt: (act: () => Promise<unknown>) => void;
  /** The last act that can be taken back, with what takes it back. */
  done: Done | null;
  setDone: (done: Done | null) => void;
}

export interface Done {
  command: Command;
  undo: Command[];
}

const RoomContext = createContext<RoomContextValue | null>(null);

export function RoomProvider({
  session,
  meeting,
  children,
}: {
  session: RoomSession;
  meeting: Meeting;
  children: ReactNode;
}) {
  const { t } = useTranslation();
  const wordsOf = useProblemWords();
  const [failure, setFailure] = useState<string | null>(null);
  const [done, setDone] = useState<Done | null>(null);
  const attempt = useCallback(
    (act: () => Promise<unknown>) => {
      setFailure(null);
      act().catch((error: unknown) => {
        const { title, remedy } = wordsOf(error);
        setFailure(
          error instanceof ConnectionLost
            ? t("room.act_failed", { detail: t("room.reconnecting") })
            : [title, remedy].filter(Boolean).join(" "),
        );
      });
    },
    [t, wordsOf],
  );
  useEffect(
    () => session.refused.subscribe(({ error }) => error && attempt(() => Promise.reject(error))),
    [session, attempt],
  );
  const value = useMemo(
    () => ({ session, meeting, failure, attempt, done, setDone }),
    [session, meeting, failure, attempt, done],
  );
  return <RoomContext value={value}>{children}</RoomContext>;
}

export function useRoomContext(): RoomContextValue {
  const value = useContext(RoomContext);
  if (!value) throw new Error("outside a room");
  return value;
}

export function useRoom<T>(select: (state: RoomState) => T): T {
  return useStore(useRoomContext().session.state, select);
}

export function useDevices<T>(select: (state: DevicesState) => T): T {
  return useStore(useRoomContext().session.devices.store, select);
}

/** Sends an act; a refusal is shown in words, and what can be taken back is offered for a while. */
export function useCommand(): (command: Command) => void {
  const { session, attempt, setDone } = useRoomContext();
  return useCallback(
    (command) => {
      const undo = undoOf(command, session.state.getState());
      attempt(async () => {
        await session.command(command);
        if (undo.length > 0) setDone({ command, undo });
      });
    },
    [session, attempt, setDone],
  );
}

/** Takes the last act back, if that is still offered. */
export function useUndo(): () => void {
  const { session, attempt, done, setDone } = useRoomContext();
  return useCallback(() => {
    if (!done) return;
    setDone(null);
    attempt(async () => {
      // One after the other: a call must have ended before the floor is given back.
      for (const command of done.undo) await session.command(command);
    });
  }, [session, attempt, done, setDone]);
}

export function useMe(): Participant | undefined {
  return useRoom((state) => (state.me ? state.participants.get(state.me) : undefined));
}

/** A participant's track: what is received, or for oneself what is sent. */
export function useTrack(participantId: string | null, source: Source): MediaStreamTrack | null {
  const { session } = useRoomContext();
  const own = useRoom((state) => state.me === participantId);
  const received = useStore(session.tracks, ({ tracks }) =>
    participantId ? (tracks.get(trackKey(participantId, source)) ?? null) : null,
  );
  const sent = useDevices((state) => (source === "screen" ? state.screen : state[source].track));
  return own ? sent : received;
}
