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
    retry_after_seconds: retryAfter > 0 ? retryAfter : null,
  };
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

/** The kind of a problem that needs no words of its own; null when the server's own detail says it best. */
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
