// SPDX-License-Identifier: Apache-2.0
import { SendHorizontal } from "lucide-react";
import { useEffect, useRef, useState } from "react";
import { Input, Label, TextField } from "react-aria-components";
import { useTranslation } from "react-i18next";

import { Button, Empty } from "../ui/basics";
import { formatTime } from "../util/time";
import { useRoom, useRoomContext } from "./context";
import { MAX_CHAT_CHARACTERS } from "./protocol";

export function ChatPanel() {
  const { t } = useTranslation();
  const { session, meeting, attempt } = useRoomContext();
  const chat = useRoom((state) => state.chat);
  const me = useRoom((state) => state.me);
  const [text, setText] = useState("");
  const end = useRef<HTMLDivElement>(null);
  const tooLong = text.length > MAX_CHAT_CHARACTERS;

  useEffect(() => {
    end.current?.scrollIntoView({ block: "end" });
  }, [chat.length]);

  const send = () => {
    const message = text.trim();
    if (!message || tooLong) return;
    attempt(async () => {
      await session.command({ act: "send_chat", text: message });
      // What could not be sent stays to be sent again.
      setText("");
    });
  };

  return (
    <div className="panel-body chat">
      {/* A log that scrolls must be reachable by key. */}
      {/* eslint-disable-next-line jsx-a11y/no-noninteractive-tabindex */}
      <div className="chat-log" role="log" aria-label={t("chat.title")} tabIndex={0}>
        {chat.length === 0 && <Empty>{t("chat.none")}</Empty>}
        {chat.map((each) => (
          <article key={each.id} className={each.participant_id === me ? "is-own" : ""}>
            <header>
              <strong>{each.sender_name}</strong>
              <time dateTime={each.send_time}>{formatTime(each.send_time, meeting.time_zone)}</time>
            </header>
            <p>{each.text}</p>
          </article>
        ))}
        <div ref={end} />
      </div>
      <form
        className="chat-form"
        onSubmit={(event) => {
          event.preventDefault();
          send();
        }}
      >
        <TextField value={text} onChange={setText} isInvalid={tooLong}>
          <Label className="visually-hidden">{t("chat.placeholder")}</Label>
          <Input placeholder={t("chat.placeholder")} autoComplete="off" />
        </TextField>
        <Button tone="primary" type="submit" aria-label={t("chat.send")} isDisabled={!text.trim() || tooLong}>
          <SendHorizontal size={18} aria-hidden="true" />
        </Button>
        {tooLong && (
          <p className="field-error" role="alert">
            {t("chat.too_long", { max: MAX_CHAT_CHARACTERS })}
          </p>
        )}
      </form>
    </div>
  );
}
