// SPDX-License-Identifier: Apache-2.0
// Single-letter keys of the room. They can be switched off (WCAG 2.2, 2.1.4) and are silent while one types.

import { useEffect, useState } from "react";
import { Dialog, Heading, Modal, ModalOverlay, Switch } from "react-aria-components";
import { useTranslation } from "react-i18next";

import { Button } from "../ui/basics";
import { useActs } from "./controls";
import { useRoom, useUndo } from "./context";
import { mayModerate, maySpeak } from "./state";

const STORAGE_KEY = "giaoban.shortcuts";
export type Panel = "roster" | "floor" | "chat";

const KEYS = {
  m: "microphone",
  v: "camera",
  h: "hand",
  s: "share",
  "1": "roster",
  "2": "floor",
  "3": "chat",
  x: "mute_all",
  n: "next",
  z: "undo",
  "?": "help",
} as const;

type KeyAct = (typeof KEYS)[keyof typeof KEYS];
const KEY_LIST = Object.entries(KEYS) as [string, KeyAct][];

export function Shortcuts({
  open,
  onOpenChange,
  onPanel,
}: {
  open: boolean;
  onOpenChange: (open: boolean) => void;
  onPanel: (panel: Panel) => void;
}) {
  const { t } = useTranslation();
  const acts = useActs();
  const undo = useUndo();
  const role = useRoom((state) => state.role);
  const [enabled, setEnabled] = useState(() => localStorage.getItem(STORAGE_KEY) !== "off");

  useEffect(() => {
    const onKey = (event: KeyboardEvent) => {
      if (event.ctrlKey || event.metaKey || event.altKey || event.repeat || isTyping(event.target)) return;
      const act = (KEYS as Record<string, KeyAct>)[event.key.toLowerCase()];
      if (!act || (!enabled && act !== "help")) return;
      if (document.querySelector("[role=dialog],[role=alertdialog],[role=menu]")) return;
      event.preventDefault();
      if (act === "help") onOpenChange(true);
      else if (act === "roster" || act === "floor" || act === "chat") onPanel(act);
      else if (act === "undo") undo();
      else if (act === "mute_all" || act === "next") {
        if (mayModerate(role)) (act === "next" ? acts.next : acts.muteAll)();
      } else if (maySpeak(role)) acts[act]();
    };
    window.addEventListener("keydown", onKey);
    return () => window.removeEventListener("keydown", onKey);
  }, [acts, undo, enabled, role, onOpenChange, onPanel]);

  return (
    <ModalOverlay className="overlay" isDismissable isOpen={open} onOpenChange={onOpenChange}>
      <Modal className="modal">
        <Dialog className="dialog">
          <Heading slot="title">{t("keys.title")}</Heading>
          <dl className="keys">
            {KEY_LIST.map(([key, act]) => (
              <div key={key}>
                <dt>
                  <kbd>{key.toUpperCase()}</kbd>
                </dt>
                <dd>{t(`keys.${act}`)}</dd>
              </div>
            ))}
          </dl>
          <Switch
            className="switch"
            isSelected={enabled}
            onChange={(on) => {
              setEnabled(on);
              localStorage.setItem(STORAGE_KEY, on ? "on" : "off");
            }}
          >
            <span className="switch-track" aria-hidden="true" />
            {t("keys.enabled")}
          </Switch>
          <div className="dialog-acts">
            <Button onPress={() => onOpenChange(false)}>{t("app.close")}</Button>
          </div>
        </Dialog>
      </Modal>
    </ModalOverlay>
  );
}

function isTyping(target: EventTarget | null): boolean {
  return (
    target instanceof HTMLElement && target.closest("input,textarea,select,[contenteditable=true]") !== null
  );
}
