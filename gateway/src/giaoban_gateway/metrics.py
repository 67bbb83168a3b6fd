# SPDX-License-Identifier: Apache-2.0
"""The instruments of the gateway; telemetry/metrics.yaml lists them."""

from __future__ import annotations

from prometheus_client import Counter, Gauge, Histogram

REQUEST_SECONDS = Histogram(
    "giaoban_gateway_request_seconds",
    "Time from a request to the beginning of its answer",
    ["method", "route", "status"],
    buckets=(0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5),
)
SOCKETS = Gauge("giaoban_gateway_sockets", "Meeting WebSockets that are open")
SOCKETS_ENDED = Counter("giaoban_gateway_sockets_ended_total", "Meeting WebSockets that ended", ["code"])
TICKETS_REFUSED = Counter(
    "giaoban_gateway_tickets_refused_total",
    "Tickets not given, or given and not taken",
    ["purpose", "reason"],
)
MESSAGES_SENT = Counter("giaoban_gateway_messages_sent_total", "Messages sent to clients in meetings")
MESSAGES_DROPPED = Counter(
    "giaoban_gateway_messages_dropped_total", "Messages that a client read too slowly to get", ["kind"]
)
