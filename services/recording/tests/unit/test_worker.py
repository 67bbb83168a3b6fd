# SPDX-License-Identifier: Apache-2.0
"""The worker's life with its lease, when composing does not get as far as FFmpeg."""

import asyncio
import fcntl
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from giaoban_kit.errors import GiaobanError, Unavailable
from giaoban_kit.ids import new_id
from giaoban_kit.testing.clock import FixedClock
from giaoban_recording import worker as module
from giaoban_recording.composer import Tools
from giaoban_recording.domain import MAX_ATTEMPTS, Recording, State, Track
from giaoban_recording.errors import ComposeFailed
from giaoban_recording.ports import Unit
from giaoban_recording.testing import MemoryLibrary, MemoryRecordings, MemoryTransactions
from giaoban_recording.worker import AWAY, LEASE, PAUSES, Worker, remove_leftovers

SECOND = timedelta(seconds=1)


class Shelf(MemoryLibrary):
    """Storage that fails as it is told to, or does not answer."""

    def __init__(self) -> None:
        super().__init__()
        self.error: Exception | None = None
        self.asked = asyncio.Event()

    async def tracks(self, recording_id: str) -> Sequence[Track]:
        self.asked.set()
        if self.error is not None:
            raise self.error
        await asyncio.sleep(3600)
        return []

    async def fetch_track(self, track: Track, file: Path) -> None:
        raise NotImplementedError

    async def put_result(self, recording_id: str, sha256: str, file: Path) -> None:
        raise NotImplementedError


class House:
    """A worker with one recording to compose."""

    def __init__(self, work: Path) -> None:
        self.begin, self.shelf, self.work = MemoryTransactions(), Shelf(), work
        self.clock = FixedClock(datetime(2026, 3, 2, 1, 0, tzinfo=UTC))
        self.worker = Worker(self.begin, self.shelf, self.clock, Tools(), work)
        self.id = new_id()
        values: dict[str, Any] = dict.fromkeys(
            ("organisation_id", "unit_id", "meeting_id", "meeting_title", "started_by"), "x"
        )
        made = Recording(id=self.id, state=State.COMPOSING, start_time=self.clock.now(), **values)
        self.begin.stored.recordings[self.id] = made

    @property
    def now(self) -> Recording:
        return self.begin.stored.recordings[self.id]


@pytest.fixture
def house(tmp_path: Path) -> House:
    """Time stands still in it."""
    return House(tmp_path)


@pytest.mark.parametrize("error", [Unavailable("away"), OSError(28, "No space left on device")])
async def test_what_is_away_is_no_attempt(house: House, error: Exception) -> None:
    """Storage or disk failed: the recording waits a little, however often; nothing is left in the folder."""
    house.shelf.error = error
    for _ in range(2 * MAX_ATTEMPTS):
        assert await house.worker.work_once()
        assert not await house.worker.work_once()
        house.clock.advance(AWAY + SECOND)
    assert (house.now.state, house.now.attempts) == (State.COMPOSING, 0)
    assert list(house.work.iterdir()) == []


async def test_a_worker_that_has_to_go_hands_its_job_back(house: House) -> None:
    """Its successor need not wait for the lease to end, and the attempt does not count."""
    working = asyncio.create_task(house.worker.work_once())
    await house.shelf.asked.wait()
    assert house.now.attempts == 1
    working.cancel()
    with pytest.raises(asyncio.CancelledError):
        await working
    assert (house.now.state, house.now.attempts) == (State.COMPOSING, 0)
    assert list(house.work.iterdir()) == []
    async with house.begin() as unit:
        assert await unit.recordings.lease(house.clock.now() + AWAY + SECOND, house.clock.now() + LEASE)


async def test_a_worker_that_lost_its_lease_stops(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    """Somebody else has the job: it is dropped without a trace."""
    monkeypatch.setattr(module, "RENEW_SECONDS", 0.01)
    working = asyncio.create_task(house.worker.work_once())
    await house.shelf.asked.wait()
    house.clock.advance(LEASE + SECOND)
    others = house.clock.now() + LEASE
    async with house.begin() as unit:
        await unit.recordings.lease(house.clock.now(), others)
    house.begin.stored.leases[house.id] = others + SECOND
    async with asyncio.timeout(5):
        assert await working
    assert (house.now.attempts, house.begin.stored.leases[house.id]) == (2, others + SECOND)
    assert list(house.work.iterdir()) == []


async def test_a_lease_is_kept_while_the_work_goes_on(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody takes the job of a worker that lives, however long it takes."""
    monkeypatch.setattr(module, "RENEW_SECONDS", 0.01)
    working = asyncio.create_task(house.worker.work_once())
    await house.shelf.asked.wait()
    for _ in range(4):
        house.clock.advance(LEASE / 2)
        before = house.begin.stored.leases[house.id]
        async with asyncio.timeout(5):
            while house.begin.stored.leases[house.id] == before:
                await asyncio.sleep(0.01)
        async with house.begin() as unit:
            assert await unit.recordings.lease(house.clock.now(), house.clock.now() + LEASE) is None
    working.cancel()
    await asyncio.wait({working})


async def test_a_result_is_not_lost_to_a_renewal_under_way(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The lease is renewed at the very moment when composing ends: the result is handed back with the new proof."""
    renewing = asyncio.Event()
    renew = MemoryRecordings.renew

    async def noted(records: MemoryRecordings, *arguments: Any) -> bool:
        renewing.set()
        return await renew(records, *arguments)

    @asynccontextmanager
    async def slow() -> AsyncIterator[Unit]:
        async with house.begin() as unit:
            yield unit
        # Committed, and the answer is on its way.
        await asyncio.sleep(0.05)

    async def make(recording: Recording, *_: Any) -> Recording:
        await renewing.wait()
        return replace(recording, state=State.READY)

    monkeypatch.setattr(module, "RENEW_SECONDS", 0.01)
    monkeypatch.setattr(MemoryRecordings, "renew", noted)
    worker = Worker(slow, house.shelf, house.clock, Tools(), house.work)
    monkeypatch.setattr(worker, "_make", make)
    working = asyncio.create_task(worker.work_once())
    await asyncio.sleep(0)
    house.clock.advance(SECOND)
    assert await working
    assert house.now.state is State.READY
    assert house.begin.stored.news == [("completed", house.id)]


async def test_five_failures_are_the_end(house: House) -> None:
    """Between them are pauses that grow; the last one is told to everybody, once."""
    house.shelf.error = ComposeFailed("ffmpeg failed: no")
    for pause in (*PAUSES, timedelta(0)):
        assert house.begin.stored.news == []
        assert await house.worker.work_once()
        house.clock.advance(pause)
        assert not await house.worker.work_once()
        house.clock.advance(SECOND)
    assert (house.now.state, house.now.failure) == (State.FAILED, "ffmpeg failed: no")
    assert house.begin.stored.news == [("failed", house.id)]


async def test_nothing_ends_the_worker(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    """An error that nobody thought of costs the recording this attempt, not the process its life."""
    monkeypatch.setattr(module, "IDLE_SECONDS", 0.01)
    errors: list[Exception] = [ZeroDivisionError(), GiaobanError("?"), KeyError()]
    seen: list[Exception] = []

    async def tracks(_recording_id: str) -> Sequence[Track]:
        house.clock.advance(LEASE + SECOND)
        if errors:
            seen.append(errors.pop())
            raise seen[-1]
        raise ComposeFailed("known")

    monkeypatch.setattr(house.shelf, "tracks", tracks)
    running = asyncio.create_task(house.worker.run())
    async with asyncio.timeout(5):
        while house.now.failure != "known":
            await asyncio.sleep(0.01)
    assert not running.done()
    running.cancel()
    await asyncio.wait({running})
    assert len(seen) == 3


def test_only_dead_workers_folders_are_removed(tmp_path: Path) -> None:
    """A folder whose lock somebody holds is in use."""
    for name in ("dead", "alive"):
        (tmp_path / f"{new_id()}-{name}").mkdir()
    (dead,), (alive,) = tmp_path.glob("*-dead"), tmp_path.glob("*-alive")
    for folder in (dead, alive):
        (folder / module.LOCK).touch()
        (folder / "meeting.mp4").write_bytes(b"x")
    with (alive / module.LOCK).open("rb") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        remove_leftovers(tmp_path)
    assert not dead.exists()
    assert (alive / "meeting.mp4").exists()
