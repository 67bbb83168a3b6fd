# SPDX-License-Identifier: Apache-2.0
"""What the recordings promise; those in memory and those in PostgreSQL keep the same promises."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from giaoban_kit.config import ServiceConfig
from giaoban_kit.db import database, migrate_database, schema_drift
from giaoban_kit.ids import new_id
from giaoban_recording.domain import MAX_ATTEMPTS, Recording, State
from giaoban_recording.errors import RecordingRunning
from giaoban_recording.ports import Begin
from giaoban_recording.store import SqlTransactions, metadata
from giaoban_recording.testing import MemoryTransactions

NOW = datetime(2026, 3, 2, 1, 0, 0, 123456, tzinfo=UTC)
LEASE = timedelta(seconds=30)
ORG, MEETING = new_id(), new_id()


@pytest.fixture(params=["memory", "sql"])
async def begin(request: pytest.FixtureRequest) -> AsyncIterator[Begin]:
    """Transactions in memory and in PostgreSQL."""
    if request.param == "memory":
        yield MemoryTransactions()
        return
    config: ServiceConfig = request.getfixturevalue("database_config")
    await migrate_database(config, "giaoban_recording")
    async with database(config) as db:
        yield SqlTransactions(db)


def recording(state: State = State.COMPOSING, **changes: Any) -> Recording:
    values: dict[str, Any] = {
        "id": new_id(),
        "organisation_id": ORG,
        "unit_id": new_id(),
        "meeting_id": MEETING,
        "meeting_title": "Giao ban",
        "state": state,
        "started_by": new_id(),
        "start_time": NOW,
    }
    return Recording(**(values | changes))


async def stored(begin: Begin, *recordings: Recording) -> None:
    for each in recordings:
        async with begin() as unit:
            await unit.recordings.add(each)


async def found(begin: Begin, recording_id: str) -> Recording | None:
    async with begin() as unit:
        return await unit.recordings.get(recording_id)


async def test_a_recording_comes_back_as_it_was(begin: Begin) -> None:
    """Every field survives adding and saving, the largest sizes too; another id finds nothing."""
    made = recording(State.CAPTURING)
    await stored(begin, made)
    assert await found(begin, made.id) == made
    full = replace(
        made,
        state=State.READY,
        stop_time=NOW + timedelta(hours=1),
        duration=timedelta(hours=12, milliseconds=1),
        size_bytes=2**40,
        media_type="video/mp4",
        sha256="ab" * 32,
        progress_percent=100,
        shipped_bytes=2**41,
        failure="Quận 1",
        attempts=2,
    )
    async with begin() as unit:
        await unit.recordings.save(full)
    assert await found(begin, made.id) == full
    assert await found(begin, new_id()) is None


async def test_a_meeting_is_captured_once(begin: Begin) -> None:
    """A second one is refused while the first is captured; afterwards there may be another."""
    first = recording(State.CAPTURING)
    await stored(begin, first, recording(State.CAPTURING, meeting_id=new_id()), recording(State.READY))
    with pytest.raises(RecordingRunning):
        await stored(begin, recording(State.CAPTURING))
    async with begin() as unit:
        assert await unit.recordings.running(MEETING) == first
        await unit.recordings.save(replace(first, state=State.SHIPPING))
    async with begin() as unit:
        assert await unit.recordings.running(MEETING) is None
    await stored(begin, recording(State.CAPTURING))


async def test_a_failed_block_leaves_nothing(begin: Begin) -> None:
    """What a transaction did is undone when it raises."""
    made = recording()
    with pytest.raises(ZeroDivisionError):
        async with begin() as unit:
            await unit.recordings.add(made)
            raise ZeroDivisionError
    assert await found(begin, made.id) is None


async def test_pages_are_newest_first(begin: Begin) -> None:
    """By organisation and meeting, strictly below the mark, no more than asked for."""
    other = recording(State.READY, meeting_id=new_id())
    made = [recording(State.READY) for _ in range(4)]
    await stored(begin, recording(State.READY, organisation_id=new_id()), other, *made)
    async with begin() as unit:
        newest = unit.recordings.newest
        assert list(await newest(ORG, MEETING, None, 2)) == [made[3], made[2]]
        assert list(await newest(ORG, MEETING, made[2].id, 2)) == [made[1], made[0]]
        assert list(await newest(ORG, None, made[0].id, 9)) == [other]
        assert list(await newest(new_id(), None, None, 9)) == []


async def test_unfinished_ones_are_found(begin: Begin) -> None:
    """Captured, shipped or composed, the eldest first."""
    made = [recording(each) for each in State]
    await stored(begin, *made)
    wanted = {State.CAPTURING, State.SHIPPING, State.COMPOSING}
    async with begin() as unit:
        unfinished = await unit.recordings.unfinished()
    assert list(unfinished) == [each for each in made if each.state in wanted]


async def test_a_lease_is_one_workers(begin: Begin) -> None:
    """The eldest comes first; nobody else gets it until it ends; every lease is an attempt."""
    first, second = recording(), recording()
    await stored(begin, first, second, *(recording(each) for each in State if each is not State.COMPOSING))
    for expected in (first, second, None):
        async with begin() as unit:
            leased = await unit.recordings.lease(NOW, NOW + LEASE)
        assert leased == (expected and replace(expected, attempts=1))
    async with begin() as unit:
        assert await unit.recordings.lease(NOW + LEASE, NOW + 2 * LEASE) is None
    later = NOW + LEASE + timedelta(microseconds=1)
    async with begin() as unit:
        assert await unit.recordings.lease(later, later + LEASE) == replace(first, attempts=2)


async def test_only_the_holder_renews_and_returns_a_lease(begin: Begin) -> None:
    """A worker that was thought dead can no longer change what another has taken over."""
    made = recording()
    await stored(begin, made)
    dead, alive = NOW + LEASE, NOW + 3 * LEASE
    async with begin() as unit:
        await unit.recordings.lease(NOW, dead)
    async with begin() as unit:
        await unit.recordings.lease(NOW + 2 * LEASE, alive)
    async with begin() as unit:
        assert not await unit.recordings.renew(made.id, dead, NOW + 9 * LEASE, 90)
        assert not await unit.recordings.hand_back(replace(made, state=State.READY), dead)
        assert await unit.recordings.renew(made.id, alive, alive + LEASE, 40)
    held = await found(begin, made.id)
    assert held is not None
    assert (held.state, held.progress_percent, held.attempts) == (State.COMPOSING, 40, 2)
    done = replace(held, state=State.READY, sha256="ab")
    async with begin() as unit:
        assert not await unit.recordings.hand_back(done, alive)
        assert await unit.recordings.hand_back(done, alive + LEASE)
    assert await found(begin, made.id) == done
    async with begin() as unit:
        assert not await unit.recordings.renew(made.id, alive + LEASE, alive + 2 * LEASE, 50)


async def test_a_pause_comes_before_the_next_attempt(begin: Begin) -> None:
    """What was handed back unfinished is nobody's before the time given."""
    made = recording()
    await stored(begin, made)
    async with begin() as unit:
        leased = await unit.recordings.lease(NOW, NOW + LEASE)
        assert leased is not None
        assert await unit.recordings.hand_back(leased, NOW + LEASE, NOW + 4 * LEASE)
    async with begin() as unit:
        assert await unit.recordings.lease(NOW + 3 * LEASE, NOW + 9 * LEASE) is None
        assert await unit.recordings.lease(NOW + 5 * LEASE, NOW + 9 * LEASE) == replace(made, attempts=2)


async def test_attempts_are_limited(begin: Begin) -> None:
    """After the last one it is no longer leased, and found as given up once its lease has ended."""
    made = recording(attempts=MAX_ATTEMPTS - 1)
    await stored(begin, made)
    async with begin() as unit:
        assert await unit.recordings.lease(NOW, NOW + LEASE)
    after = NOW + 2 * LEASE
    async with begin() as unit:
        assert await unit.recordings.lease(after, after + LEASE) is None
        assert list(await unit.recordings.given_up(NOW)) == []
        assert list(await unit.recordings.given_up(after)) == [replace(made, attempts=MAX_ATTEMPTS)]


async def test_names_are_kept_by_meeting(begin: Begin) -> None:
    """The newest name of a participant counts."""
    who = new_id()
    async with begin() as unit:
        await unit.recordings.name_participant(MEETING, who, "Quận 1")
        await unit.recordings.name_participant(MEETING, who, "Quận Một")
        await unit.recordings.name_participant(new_id(), who, "khác")
    async with begin() as unit:
        assert await unit.recordings.names(MEETING) == {who: "Quận Một"}
        assert await unit.recordings.names(new_id()) == {}


class TestSql:
    """What only PostgreSQL can show."""

    @pytest.fixture
    async def sql(self, database_config: ServiceConfig) -> AsyncIterator[SqlTransactions]:
        """Transactions of a migrated database."""
        await migrate_database(database_config, "giaoban_recording")
        async with database(database_config) as db:
            assert await schema_drift(db, metadata) == []
            yield SqlTransactions(db)

    async def test_migrations_and_tables_agree(self, database_config: ServiceConfig) -> None:
        """The migrated database has exactly the tables of the code; migrating twice changes nothing."""
        for _ in range(2):
            await migrate_database(database_config, "giaoban_recording")
        async with database(database_config) as db:
            assert await schema_drift(db, metadata) == []

    async def test_workers_share_the_queue(self, sql: SqlTransactions) -> None:
        """Eight workers at once: every recording is leased exactly once, nobody waits for another."""
        made = [recording() for _ in range(5)]
        await stored(sql, *made)

        answered: list[str | None] = []
        everybody = asyncio.Event()

        async def one() -> None:
            async with sql() as unit:
                leased = await unit.recordings.lease(NOW, NOW + LEASE)
                answered.append(leased.id if leased else None)
                if len(answered) == 8:
                    everybody.set()
                # Nobody commits before all have their answer.
                await everybody.wait()

        async with asyncio.timeout(10):
            await asyncio.gather(*(one() for _ in range(8)))
        leased = answered
        assert sorted(each for each in leased if each) == sorted(each.id for each in made)

    async def test_one_of_many_starts(self, sql: SqlTransactions) -> None:
        """Ten start at once: one row, the others are told that it runs."""

        async def one() -> bool:
            try:
                await stored(sql, recording(State.CAPTURING))
            except RecordingRunning:
                return False
            return True

        assert (await asyncio.gather(*(one() for _ in range(10)))).count(True) == 1
