# SPDX-License-Identifier: Apache-2.0
"""The instruments of media; telemetry/metrics.yaml lists them."""

from prometheus_client import Counter, Gauge, Histogram

SEATS = Gauge("giaoban_media_seats", "Participants held by this replica")
JOIN_SECONDS = Histogram(
    "giaoban_media_join_seconds",
    "Time from the join message to the answer",
    ["kind"],
    buckets=(0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5),
)
ACTS = Counter("giaoban_media_acts_total", "Acts in meetings", ["act", "outcome"])
ROOMS_MOVED = Counter("giaoban_media_rooms_moved_total", "Rooms placed on a node", ["node"])
NODE_UP = Gauge("giaoban_media_node_up", "1 while the replicas agree that the media node lives", ["node"])
NODE_PACKETS = Gauge(
    "giaoban_media_node_packets_per_second", "RTP packets that a media node handles", ["node", "direction"]
)
NODE_BUDGET = Gauge(
    "giaoban_media_node_budget_packets_per_second",
    "RTP packets that a media node may send before it takes no newcomers",
    ["node"],
)
CAPACITY_REFUSED = Counter(
    "giaoban_media_capacity_refused_total", "Newcomers for whom no media node had room", ["at"]
)
