// SPDX-License-Identifier: Apache-2.0
// Who is signed in. The access token lives in this module's memory and nowhere else; the refresh token is a
// cookie that scripts cannot read.

import { createStore } from "zustand/vanilla";

import { ApiError, problemFrom } from "./problem";

const REFRESH_BEFORE_EXPIRY_MS = 60_000;
const FRESH_ENOUGH_MS = 10_000;
const REFRESH_LOCK = "giaoban-refresh";
const RETRY_REFRESH_MS = 5_000;

interface Token {
  access_token: string;
  expires_at: string;
}

export type AuthPhase = "unknown" | "signed_in" | "signed_out" | "expired";

export const auth = createStore<{ phase: AuthPhase }>(() => ({ phase: "unknown" }));

let token: Token | null = null;
let timer: ReturnType<typeof setTimeout> | undefined;
let refreshing: Promise<boolean> | null = null;

export interface Credentials {
  organisation_code: string;
  username: string;
  password: string;
}

/** Throws ApiError: wrong credentials, lock-out, rate limit. */
export async function signIn(credentials: Credentials): Promise<void> {
  keep(await post("/v1/auth/sign-in", credentials));
}

export async function signOut(): Promise<void> {
  try {
    await post("/v1/auth/sign-out", {});
  } finally {
    drop("signed_out");
  }
}

/** The access token to send now, renewed when it is about to expire; null when nobody is signed in. */
export async function accessToken(): Promise<string | null> {
  if (token && Date.parse(token.expires_at) - Date.now() < FRESH_ENOUGH_MS) await refresh();
  return token?.access_token ?? null;
}

/** Renews the session from the cookie. False when there is none or it is no longer valid. */
export function refresh(): Promise<boolean> {
  refreshing ??= locked(renew).finally(() => {
    refreshing = null;
  });
  return refreshing;
}

/** The server no longer accepts the token. */
export function expire(): void {
  if (token) drop("expired");
}

async function renew(): Promise<boolean> {
  try {
    keep(await post("/v1/auth/refresh", {}));
    return true;
  } catch (error) {
    const rejected = error instanceof ApiError && (error.status === 401 || error.status === 403);
    if (rejected || !token) drop(token ? "expired" : "signed_out");
    else schedule(RETRY_REFRESH_MS);
    return false;
  }
}

/** Each refresh spends the cookie; two tabs doing it at once would look like theft. */
async function locked(job: () => Promise<boolean>): Promise<boolean> {
  return "locks" in navigator ? await navigator.locks.request(REFRESH_LOCK, job) : job();
}

function keep(next: Token): void {
  token = next;
  schedule(Date.parse(next.expires_at) - Date.now() - REFRESH_BEFORE_EXPIRY_MS);
  auth.setState({ phase: "signed_in" });
}

function schedule(delay: number): void {
  clearTimeout(timer);
  timer = setTimeout(() => void refresh(), Math.max(delay, 1_000));
}

function drop(phase: AuthPhase): void {
  token = null;
  clearTimeout(timer);
  auth.setState({ phase });
}

async function post(path: string, body: unknown): Promise<Token> {
  let response: Response;
  try {
    response = await fetch(path, {
      method: "POST",
      credentials: "same-origin",
      headers: { "Content-Type": "application/json", "X-Requested-With": "giaoban" },
      body: JSON.stringify(body),
    });
  } catch {
    throw ApiError.network();
  }
  if (!response.ok) throw new ApiError(await problemFrom(response));
  return (response.status === 204 ? null : await response.json()) as Token;
}
