// SPDX-License-Identifier: Apache-2.0
// The generated API client, with the access token put in and problems thrown as ApiError.

import createClient, { type Middleware } from "openapi-fetch";

import { accessToken, expire } from "./auth";
import { ApiError, problemFrom } from "./problem";
import type { paths } from "./schema";
import type { Known } from "./types";

const authorise: Middleware = {
  async onRequest({ request }) {
    const token = await accessToken();
    if (token) request.headers.set("Authorization", `Bearer ${token}`);
    return request;
  },
  onResponse({ response }) {
    if (response.status === 401) expire();
  },
};

export const api = createClient<paths>({ baseUrl: location.origin });
api.use(authorise);

interface Result<T> {
  data?: T | undefined;
  error?: unknown;
  response: Response;
}

/** The answer's body, or ApiError. */
export async function unwrap<T>(call: Promise<Result<T>>): Promise<Known<T>> {
  const { data, error, response } = await call.catch(() => {
    throw ApiError.network();
  });
  if (!response.ok) throw new ApiError(await problemFrom(response, error));
  return data as Known<T>;
}
