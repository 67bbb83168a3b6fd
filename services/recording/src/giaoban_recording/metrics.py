# SPDX-License-Identifier: Apache-2.0
"""The instruments of recording; telemetry/metrics.yaml lists them."""

from prometheus_client import Counter, Histogram

SHIPPED = Counter("giaoban_recording_shipped_bytes_total", "Bytes of tracks that are safe in storage")
SHIP_FAILURES = Counter(
    "giaoban_recording_ship_failures_total", "Tracks that could not be shipped in a round"
)
COMPOSED = Counter("giaoban_recording_composed_total", "Recordings composed", ["outcome"])
COMPOSE_SECONDS = Histogram(
    "giaoban_recording_compose_seconds",
    "Time a worker needed for one recording",
    buckets=(5, 15, 30, 60, 120, 300, 600, 1800, 3600),
)
