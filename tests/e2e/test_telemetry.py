# SPDX-License-Identifier: Apache-2.0
"""What an operator can follow from one end of the house to the other."""

from datetime import UTC, datetime, timedelta

from .house import House, until

WAY = {"giaoban-gateway", "giaoban-scheduling", "giaoban-notifications"}


async def test_one_trace_goes_from_the_request_to_the_mail(house: House) -> None:
    """Calling a meeting is one trace: the gateway's request, scheduling's call, the consumer of notifications."""
    known = {span.trace_id for span in house.collector.spans}
    await house.call_meeting(
        "Họp để lần theo dấu vết",
        {"chutich": "chair", "daibieu": "delegate"},
        start=datetime.now(UTC) + timedelta(days=10),
    )

    async def arrived() -> dict[str, str] | None:
        fresh = [span for span in house.collector.spans if span.trace_id not in known]
        for trace_id in {span.trace_id for span in fresh}:
            names = {span.service: span.name for span in fresh if span.trace_id == trace_id}
            if set(names) >= WAY:
                return names
        return None

    names = await until(arrived, f"one trace with spans of {', '.join(sorted(WAY))}", 20)
    assert names is not None
