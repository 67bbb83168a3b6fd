# SPDX-License-Identifier: Apache-2.0
"""Tickets on a real bucket: each opens one thing once, whichever gateway gave it and whichever is shown it."""

import asyncio
from datetime import timedelta

import pytest
from giaoban_gateway.tickets import TicketInvalid, Tickets
from giaoban_kit.kv import ensure_bucket
from giaoban_kit.testing.keys import UserTokens
from giaoban_kit.tokens import Principal
from nats.aio.client import Client

WHO = Principal("01J00000000000000000000000", "user", "01J00000000000000000000001", "s", "An")
TWO = timedelta(seconds=2)


@pytest.fixture
async def gateways(nats: Client) -> list[Tickets]:
    """Two gateways over one bucket."""
    bucket = await ensure_bucket(nats.jetstream(), "test-tickets", ttl=timedelta(minutes=1))
    return [Tickets(bucket, nats) for _ in range(2)]


@pytest.mark.parametrize(("first", "second"), [(0, 0), (0, 1), (1, 0), (1, 1)])
async def test_a_ticket_works_once_at_any_gateway(gateways: list[Tickets], first: int, second: int) -> None:
    """The one that gave it remembers it; the other reads it; neither takes it again."""
    token = UserTokens().token()
    ticket, _ = await gateways[0].issue("connect", "m", WHO, token, TWO)
    held = await gateways[first].use_once(ticket, "connect", "m")
    assert (held.token, held.principal) == (token, WHO)
    with pytest.raises(TicketInvalid):
        await gateways[second].use_once(ticket, "connect", "m")


async def test_of_two_who_show_a_ticket_at_once_one_comes_in(gateways: list[Tickets]) -> None:
    """At the gateway that gave it and at another."""
    ticket, _ = await gateways[0].issue("connect", "m", WHO, UserTokens().token(), TWO)
    found = await asyncio.gather(
        *(each.use_once(ticket, "connect", "m") for each in gateways), return_exceptions=True
    )
    assert sum(isinstance(each, TicketInvalid) for each in found) == 1


async def test_a_ticket_expires_where_it_was_given(gateways: list[Tickets]) -> None:
    """What the gateway remembers does not outlive what the bucket has."""
    ticket, _ = await gateways[0].issue("connect", "m", WHO, UserTokens().token(), timedelta(seconds=1))
    await asyncio.sleep(2.5)
    with pytest.raises(TicketInvalid):
        await gateways[0].use_once(ticket, "connect", "m")


async def test_a_ticket_for_something_else_is_used_up(gateways: list[Tickets]) -> None:
    """Whoever shows it at the wrong door has had it."""
    ticket, _ = await gateways[0].issue("connect", "m", WHO, UserTokens().token(), TWO)
    for subject in ("other", "m"):
        with pytest.raises(TicketInvalid):
            await gateways[0].use_once(ticket, "connect", subject)
