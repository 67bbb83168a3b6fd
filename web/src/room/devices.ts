// SPDX-License-Identifier: Apache-2.0
// Owns the person's own camera, microphone and screen: opening, switching, saying what is wrong.

import { createStore } from "zustand/vanilla";

export type DeviceProblem = "denied" | "missing" | "busy" | "insecure" | "unknown";
export type DeviceKind = "microphone" | "camera";

export interface Device {
  track: MediaStreamTrack | null;
  /** Switched on by the person. A microphone that is off keeps its track, silenced. */
  on: boolean;
  problem: DeviceProblem | null;
  deviceId: string | null;
}

export interface DevicesState {
  microphone: Device;
  camera: Device;
  screen: MediaStreamTrack | null;
  available: readonly MediaDeviceInfo[];
}

const CLOSED: Device = { track: null, on: false, problem: null, deviceId: null };

const CONSTRAINTS: Record<DeviceKind, MediaTrackConstraints> = {
  microphone: { echoCancellation: true, noiseSuppression: true, autoGainControl: true },
  camera: { width: { ideal: 1280 }, height: { ideal: 720 }, frameRate: { ideal: 25, max: 30 } },
};

/** Which of the few things that can be wrong an exception of getUserMedia means (W3C mediacapture-main, 10.2). */
export function problemOf(error: unknown): DeviceProblem {
  const name = error instanceof Error ? error.name : "";
  if (name === "NotAllowedError" || name === "SecurityError") return "denied";
  if (name === "NotFoundError" || name === "OverconstrainedError") return "missing";
  if (name === "NotReadableError" || name === "AbortError") return "busy";
  return "unknown";
}

export class Devices {
  readonly store = createStore<DevicesState>(() => ({
    microphone: CLOSED,
    camera: CLOSED,
    screen: null,
    available: [],
  }));

  /** Asks for a device and keeps it; what went wrong is left in the store. */
  async open(kind: DeviceKind, deviceId: string | null = this.get(kind).deviceId): Promise<void> {
    this.get(kind).track?.stop();
    if (!("mediaDevices" in navigator)) {
      this.set(kind, { ...CLOSED, problem: "insecure" });
      return;
    }
    const wanted = { ...CONSTRAINTS[kind], ...(deviceId ? { deviceId: { exact: deviceId } } : {}) };
    try {
      const stream = await navigator.mediaDevices.getUserMedia(
        kind === "microphone" ? { audio: wanted } : { video: wanted },
      );
      const track = stream.getTracks()[0] ?? null;
      track?.addEventListener("ended", () => {
        if (this.get(kind).track === track) this.set(kind, { ...CLOSED, problem: "missing" });
      });
      this.set(kind, { track, on: true, problem: null, deviceId: track?.getSettings().deviceId ?? deviceId });
    } catch (error) {
      // A remembered device that is gone: any other will do.
      if (deviceId && problemOf(error) === "missing") return this.open(kind, null);
      this.set(kind, { ...CLOSED, problem: problemOf(error) });
    }
    const available = await navigator.mediaDevices.enumerateDevices();
    this.store.setState({ available });
  }

  async switchMicrophone(on: boolean): Promise<void> {
    const { microphone } = this.store.getState();
    if (on && !microphone.track) return this.open("microphone");
    if (microphone.track) microphone.track.enabled = on;
    this.set("microphone", { ...microphone, on });
  }

  /** A camera that is switched off is let go, so that its light goes out. */
  async switchCamera(on: boolean): Promise<void> {
    if (on) return this.open("camera");
    const { camera } = this.store.getState();
    camera.track?.stop();
    this.set("camera", { ...camera, track: null, on: false });
  }

  /** Asks which screen to share. False when the person thought better of it. */
  async openScreen(): Promise<boolean> {
    try {
      const stream = await navigator.mediaDevices.getDisplayMedia({ video: { frameRate: { max: 15 } } });
      const screen = stream.getVideoTracks()[0] ?? null;
      if (!screen) return false;
      screen.contentHint = "detail";
      screen.addEventListener("ended", () => this.closeScreen());
      this.store.setState({ screen });
      return true;
    } catch (error) {
      if (problemOf(error) === "denied") return false;
      throw error;
    }
  }

  closeScreen(): void {
    this.store.getState().screen?.stop();
    this.store.setState({ screen: null });
  }

  close(): void {
    const { microphone, camera } = this.store.getState();
    microphone.track?.stop();
    camera.track?.stop();
    this.closeScreen();
    this.store.setState({ microphone: CLOSED, camera: CLOSED });
  }

  private get(kind: DeviceKind): Device {
    return this.store.getState()[kind];
  }

  private set(kind: DeviceKind, device: Device): void {
    this.store.setState({ [kind]: device });
  }
}
