// SPDX-License-Identifier: Apache-2.0
// The meeting room's screen: top line, floor, main screen, seats, one panel, the acts.

import { EarOff, Keyboard, LayoutGrid, PanelRightClose, PanelRightOpen, Presentation } from "lucide-react";
import { useEffect, useState } from "react";
import { Tab, TabList, TabPanel, Tabs, ToggleButton } from "react-aria-components";
import { useTranslation } from "react-i18next";

import { Button, Emblem, useNow } from "../ui/basics";
import { formatClock } from "../util/time";
import { Announcer } from "./announcer";
import { ChatPanel } from "./chat-panel";
import { useMe, useRoom, useRoomContext } from "./context";
import { Controls, useActs, useMicState } from "./controls";
import { FloorPanel } from "./floor-panel";
import { Sound } from "./media";
import { RosterPanel } from "./roster-panel";
import { Seats } from "./seats";
import { type Panel, Shortcuts } from "./shortcuts";
import { FloorStrip, Stage } from "./stage";

const GOOD_LINE = 70;
const FAIR_LINE = 40;

export function Room() {
  const { t } = useTranslation();
  const { session } = useRoomContext();
  const phase = useRoom((state) => state.phase);
  const queued = useRoom((state) => state.floor.queue.length);
  const waiting = useRoom((state) => state.waiting.length);
  const messages = useRoom((state) => state.chat.length);
  const role = useRoom((state) => state.role);
  const [panel, setPanel] = useState<Panel>("roster");
  const [panelOpen, setPanelOpen] = useState(true);
  const [grid, setGrid] = useState(false);
  const [audioOnly, setAudioOnly] = useState(false);
  const [help, setHelp] = useState(false);
  const [seenMessages, setSeenMessages] = useState(messages);
  if (panel === "chat" && panelOpen && seenMessages !== messages) setSeenMessages(messages);
  const unread = messages - seenMessages;

  useEffect(() => session.setView({ audio_only: audioOnly }), [session, audioOnly]);
  const show = (next: Panel) => {
    setPanel(next);
    setPanelOpen(true);
  };

  return (
    <div className={`room ${panelOpen ? "" : "is-wide"}`}>
      <TopLine>
        <ToggleButton className="button button-plain" isSelected={grid} onChange={setGrid}>
          {grid ? <Presentation size={18} aria-hidden="true" /> : <LayoutGrid size={18} aria-hidden="true" />}
          <span className="wide-only">{t(grid ? "room.speaker" : "room.grid")}</span>
          <span className="visually-hidden narrow-only">{t(grid ? "room.speaker" : "room.grid")}</span>
        </ToggleButton>
        <ToggleButton className="button button-plain" isSelected={audioOnly} onChange={setAudioOnly}>
          <EarOff size={18} aria-hidden="true" />
          <span className="wide-only">{t(audioOnly ? "room.audio_only_on" : "room.audio_only")}</span>
          <span className="visually-hidden narrow-only">{t("room.audio_only")}</span>
        </ToggleButton>
        <Button
          tone="plain"
          className="wide-only"
          aria-label={t("room.shortcuts")}
          onPress={() => setHelp(true)}
        >
          <Keyboard size={18} aria-hidden="true" />
        </Button>
        <Button
          tone="plain"
          className="wide-only"
          aria-label={t(panelOpen ? "room.panel_close" : "room.panel_open")}
          onPress={() => setPanelOpen(!panelOpen)}
        >
          {panelOpen ? (
            <PanelRightClose size={18} aria-hidden="true" />
          ) : (
            <PanelRightOpen size={18} aria-hidden="true" />
          )}
        </Button>
      </TopLine>
      <main className="room-main">
        {phase === "reconnecting" && (
          <div className="notice" role="alert">
            <strong>{t("room.reconnecting")}</strong>
            <span>{t("room.reconnecting_detail")}</span>
          </div>
        )}
        <Sound />
        <FloorPrompt />
        <FloorStrip />
        {!grid && <Stage />}
        <Seats grid={grid} />
      </main>
      {panelOpen && (
        <aside className="room-panel">
          <Tabs selectedKey={panel} onSelectionChange={(key) => setPanel(key as Panel)}>
            <TabList aria-label={t("room.panels")} className="tabs">
              <Tab id="roster" className="tab">
                {t("roster.title")}
                {waiting > 0 && <Count label={t("waiting.title", { count: waiting })}>{waiting}</Count>}
              </Tab>
              <Tab id="floor" className="tab">
                {t("floor.title")}
                {queued > 0 && <Count label={t("floor.queue", { count: queued })}>{queued}</Count>}
              </Tab>
              {role !== "press" && (
                <Tab id="chat" className="tab">
                  {t("chat.title")}
                  {unread > 0 && <Count label={t("chat.unread", { count: unread })}>{unread}</Count>}
                </Tab>
              )}
            </TabList>
            <TabPanel id="roster" className="tab-panel">
              <RosterPanel />
            </TabPanel>
            <TabPanel id="floor" className="tab-panel">
              <FloorPanel />
            </TabPanel>
            <TabPanel id="chat" className="tab-panel">
              <ChatPanel />
            </TabPanel>
          </Tabs>
        </aside>
      )}
      <Controls />
      <Announcer />
      <Shortcuts open={help} onOpenChange={setHelp} onPanel={show} />
    </div>
  );
}

function Count({ label, children }: { label: string; children: number }) {
  return (
    <span className="count">
      <span aria-hidden="true">{children}</span>
      <span className="visually-hidden">{label}</span>
    </span>
  );
}

function TopLine({ children }: { children: React.ReactNode }) {
  const { t } = useTranslation();
  const { meeting } = useRoomContext();
  const room = useRoom((state) => state.room);
  const me = useMe();
  const now = useNow();
  const quality = me?.link_quality ?? null;
  const line =
    quality === null ? "unknown" : quality >= GOOD_LINE ? "good" : quality >= FAIR_LINE ? "fair" : "poor";
  return (
    <header className="top-line">
      <Emblem size={32} />
      <div className="top-title">
        <h1>{meeting.title}</h1>
        <small>{meeting.unit_name}</small>
      </div>
      <div className="top-facts">
        {room?.recording && (
          <span className="rec" data-testid="recording">
            <span className="rec-dot" aria-hidden="true" />
            REC · {t("room.recording")}
          </span>
        )}
        {room?.open_time && (
          <span className="number">
            {t("room.elapsed", { time: formatClock((now - Date.parse(room.open_time)) / 1000) })}
          </span>
        )}
        <span className={`line line-${line}`}>
          <span className="line-bars" aria-hidden="true" />
          <span className="line-word">{t(`room.line.${line}`)}</span>
        </span>
      </div>
      <div className="top-acts">{children}</div>
    </header>
  );
}

/** Tells a person who has the floor that it is their turn, above all when their microphone is off. */
function FloorPrompt() {
  const { t } = useTranslation();
  const acts = useActs();
  const mic = useMicState();
  const role = useRoom((state) => state.role);
  if (!acts.holds || role === "chair") return null;
  const silent = mic === "off" || mic === "none";
  return (
    <div className="notice is-floor" data-testid="floor-prompt">
      <strong>{t("floor.yours")}</strong>
      {silent && <span>{t("floor.yours_mic_off")}</span>}
      {silent && (
        <Button tone="primary" onPress={acts.microphone}>
          {t("mic.turn_on")}
        </Button>
      )}
      <Button onPress={acts.hand}>{t("floor.return")}</Button>
    </div>
  );
}
