// SPDX-License-Identifier: Apache-2.0
// One ticking clock for the whole app, set by the server's.

import { createStore } from "zustand/vanilla";

const TICK_MS = 1_000;
let aheadMs = 0;

/** The server's time now, in milliseconds since 1970. */
export const clock = createStore<number>(() => Date.now());

setInterval(() => clock.setState(Date.now() + aheadMs, true), TICK_MS);

/** Half a second of difference is the rounding of the server's Date header; it is not worth a jump. */
export function setClock(serverAheadMs: number): void {
  aheadMs = Math.abs(serverAheadMs) > 1_500 ? serverAheadMs : 0;
}
