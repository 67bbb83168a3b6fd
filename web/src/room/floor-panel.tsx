// SPDX-License-Identifier: Apache-2.0
// The floor: who speaks, for how long, who is next; for those who run the meeting, the acts.

import { ArrowDown, ArrowUp, X } from "lucide-react";
import { useState } from "react";
import { useTranslation } from "react-i18next";

import { Badge, Button, Empty, Select, useNow } from "../ui/basics";
import { formatClock } from "../util/time";
import { useCommand, useRoom } from "./context";
import { FloorTime } from "./stage";
import { mayModerate } from "./state";

const LIMIT_MINUTES = [3, 5, 10, 15];

export function FloorPanel() {
  const { t } = useTranslation();
  const floor = useRoom((state) => state.floor);
  const participants = useRoom((state) => state.participants);
  const role = useRoom((state) => state.role);
  const command = useCommand();
  const now = useNow();
  const [limit, setLimit] = useState("");
  const moderator = mayModerate(role);
  const nameOf = (id: string) => participants.get(id)?.party.name ?? "…";
  const order = floor.queue.map((each) => each.participant_id);

  const move = (index: number, by: -1 | 1) => {
    const moved = [...order];
    const [id] = moved.splice(index, 1);
    if (id === undefined) return;
    moved.splice(index + by, 0, id);
    command({ act: "reorder_queue", participant_ids: moved });
  };
  const grant = (id: string) =>
    command({
      act: "grant_floor",
      participant_id: id,
      ...(limit ? { limit_seconds: Number(limit) * 60 } : {}),
    });

  return (
    <div className="panel-body">
      <section>
        <h2>{t("floor.holder")}</h2>
        {floor.holders.length === 0 && <Empty>{t("floor.nobody")}</Empty>}
        <ul className="queue" aria-label={t("floor.holder")}>
          {floor.holders.map((holder) => (
            <li key={holder.participant_id} className="is-holder">
              <span className="roster-who">
                <strong>{nameOf(holder.participant_id)}</strong>
                <small>
                  {holder.called && <Badge tone="warn">{t("floor.called")}</Badge>}{" "}
                  <FloorTime holder={holder} />
                </small>
              </span>
              {moderator && (
                <Button
                  aria-label={t("floor.take_named", { name: nameOf(holder.participant_id) })}
                  onPress={() => command({ act: "take_floor", participant_id: holder.participant_id })}
                >
                  {t("floor.take")}
                </Button>
              )}
            </li>
          ))}
        </ul>
      </section>
      <section>
        <h2>{t("floor.queue", { count: floor.queue.length })}</h2>
        {moderator && (
          <Select
            label={t("floor.limit")}
            value={limit}
            onChange={setLimit}
            options={[
              { value: "", label: t("floor.no_limit") },
              ...LIMIT_MINUTES.map((minutes) => ({
                value: String(minutes),
                label: t("floor.limit_minutes", { count: minutes }),
              })),
            ]}
          />
        )}
        {floor.queue.length === 0 && <Empty>{t("floor.queue_none")}</Empty>}
        <ol className="queue" aria-label={t("floor.queue", { count: floor.queue.length })}>
          {floor.queue.map(({ participant_id: id, request_time }, index) => (
            <li key={id}>
              <span className="queue-place" aria-hidden="true">
                {index + 1}
              </span>
              <span className="roster-who">
                <strong>{nameOf(id)}</strong>
                <small className="number">
                  {t("floor.waiting_for", { time: formatClock((now - Date.parse(request_time)) / 1000) })}
                </small>
              </span>
              {moderator && (
                <span className="queue-acts">
                  <Button
                    tone="primary"
                    aria-label={t("floor.grant_named", { name: nameOf(id) })}
                    onPress={() => grant(id)}
                  >
                    {t("floor.grant")}
                  </Button>
                  <Button
                    tone="plain"
                    aria-label={t("floor.up", { name: nameOf(id) })}
                    isDisabled={index === 0}
                    onPress={() => move(index, -1)}
                  >
                    <ArrowUp size={16} aria-hidden="true" />
                  </Button>
                  <Button
                    tone="plain"
                    aria-label={t("floor.down", { name: nameOf(id) })}
                    isDisabled={index === order.length - 1}
                    onPress={() => move(index, 1)}
                  >
                    <ArrowDown size={16} aria-hidden="true" />
                  </Button>
                  <Button
                    tone="plain"
                    aria-label={t("floor.dismiss", { name: nameOf(id) })}
                    onPress={() => command({ act: "lower_hand", participant_id: id })}
                  >
                    <X size={16} aria-hidden="true" />
                  </Button>
                </span>
              )}
            </li>
          ))}
        </ol>
      </section>
    </div>
  );
}
