# SPDX-License-Identifier: Apache-2.0
"""Owns the instruments of notifications."""

from prometheus_client import Counter

MAILS = Counter(
    "giaoban_notifications_mails_total",
    "Attempts to hand a mail over, by outcome: sent, retried, or dead (given up; somebody has to look).",
    ["outcome"],
)


def count_mail(outcome: str) -> None:
    """Counts one attempt."""
    MAILS.labels(outcome).inc()
