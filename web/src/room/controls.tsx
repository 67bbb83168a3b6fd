// SPDX-License-Identifier: Apache-2.0
// The few acts a person has, at the bottom, and those of the people who run the meeting.

import {
  Circle,
  Gavel,
  Hand,
  LogOut,
  Mic,
  MicOff,
  MonitorUp,
  MonitorX,
  Square,
  Video as VideoIcon,
  VideoOff,
  VolumeX,
} from "lucide-react";
import { type ReactNode, useState } from "react";
import { Menu, MenuItem, MenuTrigger, Popover } from "react-aria-components";
import { useTranslation } from "react-i18next";

import { endMeeting, startRecording, stopRecording } from "../api/queries";
import { Button, ConfirmDialog } from "../ui/basics";
import { useCommand, useDevices, useMe, useRoom, useRoomContext } from "./context";
import { mayAdmit, mayModerate, maySpeak } from "./state";

export type MicState = "none" | "off" | "on" | "waiting" | "muted";

/** What to say about one's own microphone. The server decides whether it is heard. */
export function useMicState(): MicState {
  const device = useDevices((state) => state.microphone);
  const me = useMe();
  if (!device.track) return "none";
  if (me?.muted) return "muted";
  if (!device.on) return "off";
  return me && !me.audible ? "waiting" : "on";
}

/** The acts of the bottom bar, for the buttons and for the keys. */
export function useActs() {
  const { session, attempt, meeting } = useRoomContext();
  const command = useCommand();
  const me = useRoom((state) => state.me);
  const floor = useRoom((state) => state.floor);
  const recording = useRoom((state) => state.room?.recording ?? null);
  const devices = session.devices;
  const holds = floor.holders.some((each) => each.participant_id === me);
  const place = floor.queue.findIndex((each) => each.participant_id === me) + 1;
  return {
    holds,
    place,
    recording,
    microphone: () => attempt(() => devices.switchMicrophone(!devices.store.getState().microphone.on)),
    camera: () => attempt(() => devices.switchCamera(!devices.store.getState().camera.on)),
    hand: () => command({ act: holds ? "return_floor" : place > 0 ? "lower_hand" : "raise_hand" }),
    share: () => {
      if (devices.store.getState().screen) devices.closeScreen();
      else attempt(() => devices.openScreen());
    },
    muteAll: () => command({ act: "mute_all" }),
    record: () =>
      attempt(() => (recording ? stopRecording(recording.recording_id) : startRecording(meeting.id))),
    next: () => {
      const first = floor.queue[0];
      if (first) command({ act: "grant_floor", participant_id: first.participant_id });
    },
    end: () => attempt(() => endMeeting(meeting.id)),
  };
}

export function Controls() {
  const { t } = useTranslation();
  const { session } = useRoomContext();
  const role = useRoom((state) => state.role);
  const mic = useMicState();
  const camera = useDevices((state) => state.camera);
  const screen = useDevices((state) => state.screen);
  const acts = useActs();
  const [asking, setAsking] = useState<"leave" | "end" | null>(null);
  const speaker = maySpeak(role);
  const cameraWord = t(camera.track ? "camera.on" : camera.problem ? "camera.none" : "camera.off");

  return (
    <footer className="controls">
      {speaker && (
        <>
          <Control
            tone={mic === "on" ? "on" : mic === "waiting" ? "waiting" : "off"}
            icon={
              mic === "on" || mic === "waiting" ? <Mic aria-hidden="true" /> : <MicOff aria-hidden="true" />
            }
            word={t(`mic.${mic}`)}
            label={`${t(`mic.${mic}`)} – ${t(mic === "on" || mic === "waiting" ? "mic.turn_off" : "mic.turn_on")}`}
            onPress={acts.microphone}
            testId="mic"
          />
          <Control
            tone={camera.on && camera.track ? "on" : "off"}
            icon={camera.track ? <VideoIcon aria-hidden="true" /> : <VideoOff aria-hidden="true" />}
            word={cameraWord}
            label={`${cameraWord} – ${t(camera.track ? "camera.turn_off" : "camera.turn_on")}`}
            onPress={acts.camera}
            testId="camera"
          />
          {role !== "chair" && (
            <Control
              tone={acts.holds ? "waiting" : acts.place > 0 ? "waiting" : "plain"}
              icon={<Hand aria-hidden="true" />}
              word={
                acts.holds
                  ? t("floor.return")
                  : acts.place > 0
                    ? t("floor.in_queue", { position: acts.place })
                    : t("floor.raise")
              }
              label={
                acts.holds
                  ? t("floor.return")
                  : acts.place > 0
                    ? `${t("floor.in_queue", { position: acts.place })} – ${t("floor.lower")}`
                    : t("floor.raise")
              }
              onPress={acts.hand}
              testId="hand"
            />
          )}
          {"mediaDevices" in navigator && "getDisplayMedia" in navigator.mediaDevices && (
            <Control
              tone={screen ? "waiting" : "plain"}
              icon={screen ? <MonitorX aria-hidden="true" /> : <MonitorUp aria-hidden="true" />}
              word={t(screen ? "screen.stop" : "screen.share_short")}
              label={t(screen ? "screen.stop" : "screen.share")}
              onPress={acts.share}
              testId="share"
            />
          )}
        </>
      )}
      {mayModerate(role) && (
        <>
          <Control
            className="wide-only"
            tone="plain"
            icon={<VolumeX aria-hidden="true" />}
            word={t("room.mute_all")}
            label={t("room.mute_all")}
            onPress={acts.muteAll}
          />
          <Control
            className="wide-only"
            tone={acts.recording ? "rec" : "plain"}
            icon={acts.recording ? <Square aria-hidden="true" /> : <Circle aria-hidden="true" />}
            word={t(acts.recording ? "room.record_stop" : "room.record_start")}
            label={t(acts.recording ? "room.record_stop" : "room.record_start")}
            onPress={acts.record}
          />
          <ChairMenu acts={acts} onEnd={() => setAsking("end")} />
        </>
      )}
      <Control
        tone="leave"
        icon={<LogOut aria-hidden="true" />}
        word={t("room.leave_short")}
        label={t("room.leave_short")}
        onPress={() => setAsking("leave")}
        testId="leave"
      />
      <ConfirmDialog
        isOpen={asking === "leave"}
        onOpenChange={() => setAsking(null)}
        title={t("room.leave_confirm")}
        detail={mayAdmit(role) ? t("room.leave_chair") : t("room.leave_detail")}
        confirm={t("room.leave_short")}
        keep={t("room.stay")}
        onConfirm={() => session.leave()}
      />
      <ConfirmDialog
        final
        isOpen={asking === "end"}
        onOpenChange={() => setAsking(null)}
        title={t("room.end_confirm")}
        detail={t("room.end_detail")}
        confirm={t("room.end")}
        keep={t("room.stay")}
        onConfirm={acts.end}
      />
    </footer>
  );
}

function ChairMenu({ acts, onEnd }: { acts: ReturnType<typeof useActs>; onEnd: () => void }) {
  const { t } = useTranslation();
  const command = useCommand();
  const role = useRoom((state) => state.role);
  const stageMode = useRoom((state) => state.stage.mode);
  const called = useRoom((state) => state.floor.holders.some((each) => each.called));
  const act = (key: string) => {
    if (key === "mute_all") acts.muteAll();
    if (key === "record") acts.record();
    if (key === "end_call") command({ act: "end_call" });
    if (key === "stage_auto") command({ act: "set_stage" });
    if (key === "end") onEnd();
  };
  return (
    <MenuTrigger>
      <Button className="control control-plain" aria-label={t("room.chair_acts")}>
        <span className="control-icon">
          <Gavel aria-hidden="true" />
        </span>
        <span className="control-word">{t("room.chair_acts")}</span>
      </Button>
      <Popover className="popover" placement="top">
        <Menu className="menu-list" onAction={(key) => act(String(key))}>
          <MenuItem id="mute_all">{t("room.mute_all")}</MenuItem>
          <MenuItem id="record">{t(acts.recording ? "room.record_stop" : "room.record_start")}</MenuItem>
          {called && <MenuItem id="end_call">{t("room.end_call")}</MenuItem>}
          {stageMode === "pinned" && <MenuItem id="stage_auto">{t("room.stage_auto")}</MenuItem>}
          {mayAdmit(role) && (
            <MenuItem id="end" className="is-danger">
              {t("room.end")}
            </MenuItem>
          )}
        </Menu>
      </Popover>
    </MenuTrigger>
  );
}

function Control({
  icon,
  word,
  label,
  tone,
  onPress,
  testId,
  className = "",
}: {
  icon: ReactNode;
  word: string;
  label: string;
  tone: "on" | "off" | "waiting" | "plain" | "rec" | "leave";
  onPress: () => void;
  testId?: string;
  className?: string;
}) {
  return (
    <Button
      className={`control control-${tone} ${className}`}
      aria-label={label}
      onPress={onPress}
      {...(testId ? { "data-testid": testId } : {})}
    >
      <span className="control-icon">{icon}</span>
      <span className="control-word">{word}</span>
    </Button>
  );
}
