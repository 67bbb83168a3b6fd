// SPDX-License-Identifier: Apache-2.0
// Remembers in this tab that its person is in a meeting, so that a reload or a crash goes on with the same stay:
// the server keeps the place of a broken connection for a while, and the attendance record has no gap.

import type { Devices } from "./devices";
import type { RoomSession } from "./session";

/** As long as the server keeps a place (`LOST_GRACE` of media); after that the person decides anew. */
export const GRACE_MS = 30_000;
const HEARTBEAT_MS = 5_000; // a crash tells nobody when it happened
const STORAGE_KEY = "giaoban.stay";

export interface Stay {
  meetingId: string;
  /** Null: there was none. */
  microphone: { on: boolean; deviceId: string | null } | null;
  camera: { deviceId: string | null } | null;
  seenMs: number;
}

/** True for the first room of a page only: whoever comes back to it later wants to be asked. */
let first = true;

/** The stay that a reload interrupted, once; null when there is none or its place is gone. */
export function takeInterrupted(meetingId: string, nowMs = Date.now()): Stay | null {
  const loaded = first;
  first = false;
  // Only a reload goes on by itself: a copied tab has a copy of the storage, and its person is still in the first.
  const [navigation] = performance.getEntriesByType("navigation");
  if (!loaded || (navigation as PerformanceNavigationTiming | undefined)?.type !== "reload") return null;
  return read(sessionStorage.getItem(STORAGE_KEY), meetingId, nowMs);
}

/** What the storage says, if it is about this meeting and not too long ago. */
export function read(stored: string | null, meetingId: string, nowMs: number): Stay | null {
  if (stored === null) return null;
  const stay = JSON.parse(stored) as Stay;
  return stay.meetingId === meetingId && nowMs - stay.seenMs < GRACE_MS ? stay : null;
}

/** Opens the devices as they were. What cannot be opened is told in the room, as ever. */
export async function reopen(devices: Devices, stay: Stay): Promise<void> {
  if (stay.microphone) {
    await devices.open("microphone", stay.microphone.deviceId);
    if (!stay.microphone.on) await devices.switchMicrophone(false);
  }
  if (stay.camera) await devices.open("camera", stay.camera.deviceId);
}

/** Keeps the memory up to date until the stay is over. Gives back how to stop. */
export function remember(meetingId: string, session: RoomSession): () => void {
  const write = () => {
    const { phase } = session.state.getState();
    if (phase === "ended" || phase === "left") return sessionStorage.removeItem(STORAGE_KEY);
    if (phase === "connecting") return;
    const { microphone, camera } = session.devices.store.getState();
    const stay: Stay = {
      meetingId,
      microphone: microphone.track && { on: microphone.on, deviceId: microphone.deviceId },
      camera: camera.track && { deviceId: camera.deviceId },
      seenMs: Date.now(),
    };
    sessionStorage.setItem(STORAGE_KEY, JSON.stringify(stay));
  };
  const stopWatching = session.state.subscribe((now, before) => {
    if (now.phase !== before.phase) write();
  });
  const timer = setInterval(write, HEARTBEAT_MS);
  window.addEventListener("pagehide", write);
  return () => {
    stopWatching();
    clearInterval(timer);
    window.removeEventListener("pagehide", write);
    sessionStorage.removeItem(STORAGE_KEY);
  };
}
