# SPDX-License-Identifier: Apache-2.0
"""Owns scheduling's instruments."""

from prometheus_client import Counter

ADMISSIONS = Counter(
    "giaoban_scheduling_admissions_total",
    "Answers to those who want to come in, by outcome (admitted, waiting, or why not).",
    ["outcome"],
)
ENDED_OVERDUE = Counter(
    "giaoban_scheduling_meetings_ended_overdue_total",
    "Meetings that were ended because everyone had left.",
)
