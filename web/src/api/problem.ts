// SPDX-License-Identifier: Apache-2.0
// Errors of the API as problem details (RFC 9457), and what to say about them.

export interface FieldProblem {
  /** Name of the field as sent, such as `start_time` or `appointments.0.role`. */
  field: string;
  reason: string;
  remedy: string;
}

export interface Problem {
  status: number;
  reason: string;
  detail: string;
  trace_id: string | null;
  errors: FieldProblem[];
  /** What else came with the reason, such as `limit` or `site_name`. */
  params: Record<string, string>;
  /** When to try again, where the server says so. */
  retry_after_seconds: number | null;
}

export class ApiError extends Error {
  constructor(readonly problem: Problem) {
    super(problem.detail);
  }

  get status(): number {
    return this.problem.status;
  }

  /** The request got no answer at all. */
  static network(): ApiError {
    return new ApiError({
      status: 0,
      reason: "NETWORK",
      detail: "",
      trace_id: null,
      errors: [],
      params: {},
      retry_after_seconds: null,
    });
  }
}

export async function problemFrom(response: Response, parsed?: unknown): Promise<Problem> {
  const body = (parsed ?? (await response.json().catch(() => null))) as Partial<Problem> | null;
  const retryAfter = Number(response.headers.get("Retry-After"));
  return {
    status: response.status,
    reason: body?.reason ?? "UNKNOWN",
    detail: body?.detail ?? "",
    trace_id: body?.trace_id ?? null,
    errors: Array.isArray(body?.errors) ? body.errors : [],
    params: textsOf(body),
    retry_after_seconds: retryAfter > 0 ? retryAfter : null,
  };
}

/** The values that texts may name: strings and numbers. */
export function textsOf(values: object | null | undefined): Record<string, string> {
  const texts: Record<string, string> = {};
  for (const [key, value] of Object.entries(values ?? {})) {
    if (typeof value === "string" || typeof value === "number") texts[key] = String(value);
  }
  return texts;
}

export type ProblemKind =
  | "network"
  | "unauthenticated"
  | "forbidden"
  | "not_found"
  | "conflict"
  | "rate_limited"
  | "unavailable"
  | "internal";

/** The kind of a problem whose reason is not known here; null when the status says nothing. */
export function kindOf(problem: Problem): ProblemKind | null {
  switch (problem.status) {
    case 0:
      return "network";
    case 401:
      return "unauthenticated";
    case 403:
      return "forbidden";
    case 404:
      return "not_found";
    case 412:
      return "conflict";
    case 429:
      return "rate_limited";
    case 502:
    case 503:
    case 504:
      return "unavailable";
    default:
      return problem.status >= 500 ? "internal" : null;
  }
}
