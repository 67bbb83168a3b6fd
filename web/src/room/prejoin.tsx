// SPDX-License-Identifier: Apache-2.0
// Before the room: see and hear that camera and microphone work, choose them, or go in without.

import { useEffect, useRef, useState } from "react";
import { Meter, Switch } from "react-aria-components";
import { useTranslation } from "react-i18next";
import { Link } from "react-router";
import { useStore } from "zustand";

import type { Meeting } from "../api/types";
import { Badge, Button, Emblem, Select, useTitle } from "../ui/basics";
import { formatSpan } from "../util/time";
import type { Device, DeviceKind, Devices } from "./devices";
import { Video } from "./media";
import { maySpeak } from "./state";

const METER_INTERVAL_MS = 80;
/** Root mean square of loud speech close to a microphone; the meter is full there. */
const FULL_LEVEL = 0.25;

export function Prejoin({
  meeting,
  devices,
  onJoin,
}: {
  meeting: Meeting;
  devices: Devices;
  onJoin: () => void;
}) {
  const { t } = useTranslation();
  useTitle(meeting.title);
  const { camera, microphone, available } = useStore(devices.store);
  const [checked, setChecked] = useState(false);
  const over = meeting.status === "ended" || meeting.status === "cancelled";
  // Whoever has no appointment comes in as an observer, once admitted.
  const speaks = !over && meeting.my_role !== null && maySpeak(meeting.my_role);

  useEffect(() => {
    if (!speaks) return;
    let gone = false;
    void (async () => {
      await devices.open("microphone");
      if (!gone) await devices.open("camera");
      if (!gone) setChecked(true);
    })();
    return () => {
      gone = true;
    };
  }, [devices, speaks]);

  const working = camera.track !== null || microphone.track !== null;
  return (
    <div className="prejoin">
      <header className="prejoin-head">
        <Emblem size={40} />
        <div>
          <p className="sub">{t("prejoin.title")}</p>
          <h1>{meeting.title}</h1>
          <p className="sub">
            {meeting.unit_name &&
              `${formatSpan(meeting.start_time, meeting.duration_seconds, meeting.time_zone)} · ${meeting.unit_name} · `}
            {t(`role.${meeting.my_role ?? "none"}`)}
          </p>
        </div>
        <Link to={`/meetings/${meeting.id}`} className="button button-quiet">
          {t("app.back")}
        </Link>
      </header>
      <main className="prejoin-main">
        {over && <p className="problem">{t("prejoin.not_running")}</p>}
        {!over && meeting.my_role === null && <p className="hint">{t("prejoin.no_appointment")}</p>}
        {!over && !speaks && meeting.my_role && (
          <p className="hint">{t("prejoin.watch_only", { role: t(`role.${meeting.my_role}`) })}</p>
        )}
        {speaks && (
          <div className="prejoin-check">
            <div className="preview" role="img" aria-label={t("prejoin.preview")}>
              {camera.track ? (
                <Video track={camera.track} mirrored />
              ) : (
                <p>{checked ? t("prejoin.camera_off") : t("prejoin.checking")}</p>
              )}
            </div>
            <div className="prejoin-devices">
              <DeviceCheck kind="microphone" device={microphone} {...{ devices, available }} />
              {microphone.track && microphone.on && <Level track={microphone.track} />}
              <DeviceCheck kind="camera" device={camera} {...{ devices, available }} />
            </div>
          </div>
        )}
        {!over && (
          <div className="prejoin-acts">
            <Button tone="primary" className="big" onPress={onJoin} isDisabled={speaks && !checked}>
              {t(!speaks || working || !checked ? "prejoin.join" : "prejoin.join_without")}
            </Button>
          </div>
        )}
      </main>
    </div>
  );
}

function DeviceCheck({
  kind,
  device,
  devices,
  available,
}: {
  kind: DeviceKind;
  device: Device;
  devices: Devices;
  available: readonly MediaDeviceInfo[];
}) {
  const { t } = useTranslation();
  const inputs = available.filter(
    (each) => each.kind === (kind === "microphone" ? "audioinput" : "videoinput") && each.deviceId,
  );
  const turn = (on: boolean) =>
    void (kind === "microphone" ? devices.switchMicrophone(on) : devices.switchCamera(on));
  return (
    <section className="device" aria-label={t(`prejoin.${kind}`)}>
      <div className="device-head">
        <h2>{t(`prejoin.${kind}`)}</h2>
        <Badge tone={device.on && device.track ? "ok" : device.problem ? "bad" : "none"}>
          {t(device.on && device.track ? "prejoin.on" : "prejoin.off")}
        </Badge>
        <Switch
          className="switch"
          aria-label={t(`prejoin.${kind}`)}
          isSelected={device.on && device.track !== null}
          onChange={turn}
        >
          <span className="switch-track" aria-hidden="true" />
        </Switch>
      </div>
      {device.problem && (
        <div className="problem" role="alert">
          <p>{t(`prejoin.problem.${kind}.${device.problem}`)}</p>
          <Button onPress={() => void devices.open(kind)}>{t("app.retry")}</Button>
        </div>
      )}
      {inputs.length > 0 && (
        <Select
          hideLabel
          label={t(`prejoin.${kind}`)}
          value={device.deviceId ?? ""}
          options={inputs.map((each) => ({
            value: each.deviceId,
            label: each.label || t("prejoin.device_default"),
          }))}
          onChange={(id) => void devices.open(kind, id)}
        />
      )}
    </section>
  );
}

function Level({ track }: { track: MediaStreamTrack }) {
  const { t } = useTranslation();
  const [level, setLevel] = useState(0);
  const timer = useRef<ReturnType<typeof setInterval>>(undefined);
  useEffect(() => {
    const audio = new AudioContext();
    const analyser = audio.createAnalyser();
    audio.createMediaStreamSource(new MediaStream([track])).connect(analyser);
    const samples = new Float32Array(analyser.fftSize);
    timer.current = setInterval(() => {
      analyser.getFloatTimeDomainData(samples);
      const power = samples.reduce((sum, value) => sum + value * value, 0) / samples.length;
      setLevel(Math.min(100, Math.round((Math.sqrt(power) / FULL_LEVEL) * 100)));
    }, METER_INTERVAL_MS);
    return () => {
      clearInterval(timer.current);
      void audio.close();
    };
  }, [track]);
  return (
    <Meter value={level} aria-label={t("prejoin.level")} className="level">
      <div className="level-bar" aria-hidden="true">
        <div style={{ width: `${level}%` }} />
      </div>
      <p className="field-help">{t("prejoin.level_help")}</p>
    </Meter>
  );
}
