// SPDX-License-Identifier: Apache-2.0
// Which acts take an act of those who run the meeting back. Pure; asked before the act is sent.

import type { Command, FloorHolder } from "./protocol";
import type { RoomState } from "./state";

/** The acts that put things back as they were; none where there is nothing to take back, or no way to. */
export function undoOf(command: Command, before: RoomState): Command[] {
  const { floor, stage, participants } = before;
  switch (command.act) {
    case "mute_all":
      return [...participants.values()]
        .filter((each) => each.audible && !each.muted && each.role !== "chair")
        .map((each) => ({ act: "mute_participant", participant_id: each.id, muted: false }));
    case "mute_participant": {
      const muted = participants.get(command.participant_id)?.muted;
      if (muted === undefined || muted === command.muted) return [];
      return [{ ...command, muted }];
    }
    case "grant_floor":
      if (floor.holders.some((each) => each.participant_id === command.participant_id)) return [];
      return [{ act: "take_floor", participant_id: command.participant_id }];
    case "take_floor":
      return floor.holders
        .filter((each) => !command.participant_id || each.participant_id === command.participant_id)
        .map(giveBack);
    case "end_call":
      return floor.holders.filter((each) => each.called).map(giveBack);
    case "call_site":
      return [{ act: "end_call" }, ...floor.holders.map(giveBack)];
    case "set_stage":
      return [
        stage.mode === "pinned" && stage.participant_id
          ? { act: "set_stage", participant_id: stage.participant_id }
          : { act: "set_stage" },
      ];
    default:
      return [];
  }
}

/** The floor as it was, but for the time that had passed. */
function giveBack({ participant_id, limit_seconds, called }: FloorHolder): Command {
  const limit = limit_seconds === null ? {} : { limit_seconds };
  return { act: called ? "call_site" : "grant_floor", participant_id, ...limit };
}
