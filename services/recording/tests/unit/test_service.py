# SPDX-License-Identifier: Apache-2.0
"""The use cases: who may record and see, what is desired stays desired, states follow from storage."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from giaoban_kit.errors import NotFound, Precondition, Unavailable
from giaoban_kit.ids import new_id
from giaoban_kit.testing.clock import FixedClock
from giaoban_kit.tokens import Principal
from giaoban_recording.domain import MAX_ATTEMPTS, Chunk, Look, Recording, State, Track, TrackName
from giaoban_recording.errors import (
    MeetingNotRunning,
    RangeInvalid,
    RecordForbidden,
    RecordingNotFailed,
    RecordingNotFound,
    RecordingNotReady,
)
from giaoban_recording.ports import Appointment
from giaoban_recording.service import MAX_SCANNED, ROOM_GONE_AFTER, Recorder
from giaoban_recording.testing import MemoryLibrary, MemoryMeetings, MemoryRooms, MemoryTransactions

ORG, UNIT, MEETING = new_id(), new_id(), new_id()
CALLER = Principal(new_id(), "user", ORG, new_id(), "Võ Ngọc Lan")
SECOND = timedelta(seconds=1)


class House:
    """The recorder among doubles."""

    def __init__(self) -> None:
        self.begin, self.meetings, self.rooms = MemoryTransactions(), MemoryMeetings(), MemoryRooms()
        self.library, self.clock = MemoryLibrary(), FixedClock(datetime(2026, 3, 2, 1, 0, tzinfo=UTC))
        self.recorder = Recorder(
            self.begin,
            self.meetings,
            self.rooms,
            self.library,
            self.clock,
            new_id,
        )
        self.role("chair")

    def role(self, role: str, *, running: bool = True, meeting: str = MEETING) -> None:
        self.meetings.appointments[meeting] = Appointment(role, ORG, UNIT, "Giao ban", running)

    async def add(self, state: State, **changes: Any) -> Recording:
        values: dict[str, Any] = {"id": new_id(), "meeting_id": MEETING, "start_time": self.clock.now()}
        made = Recording(
            organisation_id=ORG,
            unit_id=UNIT,
            meeting_title="Giao ban",
            state=state,
            started_by=CALLER.subject,
            **(values | changes),
        )
        async with self.begin() as unit:
            await unit.recordings.add(made)
        return made

    async def pass_time(self, time: timedelta) -> None:
        """Time goes by, and the reconciler looks."""
        self.clock.advance(time)
        await self.recorder.reconcile()

    def now(self, recording: Recording) -> Recording:
        return self.begin.stored.recordings[recording.id]

    def verbs(self) -> list[str]:
        return [verb for verb, _ in self.begin.stored.news]

    def ship(self, recording: Recording, *, complete: bool = True) -> None:
        name = TrackName(recording.id, new_id(), 1, "audio", 0, is_open=False)
        track = Track("a", name, (Chunk(0, 1000, "x"),), complete, self.clock.now())
        self.library.found.append(track)

    def look(self) -> None:
        self.library.seen = [Look("a", self.clock.now())]


@pytest.fixture(name="house")
def _house() -> House:
    return House()


class TestStart:
    """StartRecording."""

    @pytest.mark.parametrize("role", ["chair", "secretary", "operator"])
    async def test_it_is_captured(self, house: House, role: str) -> None:
        """Media is told, the others hear of it, who started it and where is kept."""
        house.role(role)
        made = await house.recorder.start(CALLER, MEETING)
        assert house.rooms.recorded == {MEETING: made.id}
        assert house.now(made) == made
        assert (made.state, made.unit_id, made.started_by) == (State.CAPTURING, UNIT, CALLER.subject)
        assert house.begin.stored.news == [("started", made.id)]

    @pytest.mark.parametrize("role", ["", "delegate", "observer", "press"])
    async def test_others_may_not(self, house: House, role: str) -> None:
        """Nothing is stored or captured."""
        house.role(role)
        with pytest.raises(RecordForbidden):
            await house.recorder.start(CALLER, MEETING)
        assert (house.begin.stored.recordings, house.rooms.recorded) == ({}, {})

    async def test_only_a_running_meeting(self, house: House) -> None:
        """A meeting that has not begun, or has ended, cannot be recorded."""
        house.role("chair", running=False)
        with pytest.raises(MeetingNotRunning):
            await house.recorder.start(CALLER, MEETING)

    async def test_strangers_find_no_meeting(self, house: House) -> None:
        """What scheduling does not show, recording does not either."""
        with pytest.raises(NotFound):
            await house.recorder.start(CALLER, new_id())

    async def test_a_running_one_is_returned(self, house: House) -> None:
        """Twice is once."""
        first = await house.recorder.start(CALLER, MEETING)
        assert await house.recorder.start(CALLER, MEETING) == first
        assert house.verbs() == ["started"]

    async def test_media_that_is_away_is_asked_again(self, house: House) -> None:
        """The recording is desired state: it begins when media answers."""
        house.rooms.error = Unavailable("away")
        made = await house.recorder.start(CALLER, MEETING)
        await house.pass_time(2 * SECOND)
        assert house.rooms.recorded == {}
        house.rooms.error = None
        await house.pass_time(2 * SECOND)
        assert house.rooms.recorded == {MEETING: made.id}

    async def test_lost_live_state_is_told_again(self, house: House) -> None:
        """A room that media has forgotten is recorded again when people are back in it."""
        made = await house.recorder.start(CALLER, MEETING)
        house.rooms.recorded.clear()
        house.rooms.error = NotFound("no room")
        await house.pass_time(ROOM_GONE_AFTER - SECOND)
        await house.pass_time(SECOND / 2)
        assert house.now(made).state is State.CAPTURING
        house.rooms.error = None
        await house.pass_time(SECOND)
        assert house.rooms.recorded == {MEETING: made.id}

    async def test_a_room_that_stays_away_ends_it(self, house: House) -> None:
        """An end of the meeting that was never heard of leaves nothing capturing for ever."""
        made = await house.recorder.start(CALLER, MEETING)
        house.rooms.error = NotFound("no room")
        await house.pass_time(SECOND)
        await house.pass_time(ROOM_GONE_AFTER)
        assert house.now(made).state is State.SHIPPING
        assert house.verbs() == ["started", "stopped"]


class TestStop:
    """StopRecording, and the end of the meeting."""

    async def test_capture_ends(self, house: House) -> None:
        """Media is told, the time is kept, the others hear of it once however often it is asked for."""
        made = await house.recorder.start(CALLER, MEETING)
        house.clock.advance(60 * SECOND)
        stopped = await house.recorder.stop(made.id)
        assert house.rooms.recorded == {}
        assert (stopped.state, stopped.stop_time) == (State.SHIPPING, house.clock.now())
        house.clock.advance(60 * SECOND)
        assert await house.recorder.stop(made.id) == stopped
        assert house.verbs() == ["started", "stopped"]

    async def test_only_recorders_stop(self, house: House) -> None:
        """A delegate is refused; a stranger finds no recording; nor is there one with any other id."""
        made = await house.add(State.CAPTURING)
        house.role("delegate")
        with pytest.raises(RecordForbidden):
            await house.recorder.stop(made.id)
        house.meetings.appointments.clear()
        for each in (made.id, new_id()):
            with pytest.raises(RecordingNotFound):
                await house.recorder.stop(each)
        assert house.now(made).state is State.CAPTURING

    async def test_the_end_of_the_meeting_stops_it(self, house: House) -> None:
        """Told twice is harmless; other meetings go on."""
        made, other = await house.add(State.CAPTURING), await house.add(State.CAPTURING, meeting_id=new_id())
        for _ in range(2):
            await house.recorder.meeting_ended(MEETING)
        assert house.now(made).state is State.SHIPPING
        assert house.now(other).state is State.CAPTURING
        assert house.verbs() == ["stopped"]

    async def test_nothing_is_composed_before_media_has_stopped(self, house: House) -> None:
        """Media is asked until it answers; what is captured meanwhile is not lost."""
        made = await house.recorder.start(CALLER, MEETING)
        house.rooms.error = Unavailable("away")
        await house.recorder.stop(made.id)
        house.ship(made)
        house.clock.advance(60 * SECOND)
        house.look()
        await house.recorder.reconcile()
        assert house.now(made).state is State.SHIPPING
        house.rooms.error = None
        await house.recorder.reconcile()
        assert (house.now(made).state, house.rooms.recorded) == (State.COMPOSING, {})


class TestReconcile:
    """States that follow from storage."""

    async def test_bytes_are_counted_while_it_runs(self, house: House) -> None:
        """People see that something arrives."""
        made = await house.recorder.start(CALLER, MEETING)
        house.ship(made, complete=False)
        house.ship(made)
        await house.pass_time(10 * SECOND)
        assert house.now(made).shipped_bytes == 2000

    async def test_composing_waits_for_every_track(self, house: House) -> None:
        """An open track holds it back; once all are closed and looked for, a worker gets it."""
        made = await house.add(State.SHIPPING, stop_time=house.clock.now())
        house.ship(made, complete=False)
        house.clock.advance(5 * SECOND)
        house.look()
        await house.recorder.reconcile()
        assert house.now(made).state is State.SHIPPING
        house.library.found.clear()
        house.ship(made)
        await house.recorder.reconcile()
        assert (house.now(made).state, house.now(made).shipped_bytes) == (State.COMPOSING, 1000)

    async def test_silence_is_told_as_a_failure(self, house: House) -> None:
        """Nobody sent anything: it fails, says so, and can be retried."""
        made = await house.add(State.SHIPPING, stop_time=house.clock.now())
        house.clock.advance(5 * SECOND)
        house.look()
        await house.recorder.reconcile()
        assert house.now(made).state is State.FAILED
        assert "Nobody sent" in house.now(made).failure
        assert house.verbs() == ["failed"]

    async def test_killed_workers_do_not_leave_it_composing(self, house: House) -> None:
        """After the last permitted attempt ended without a word, the recording fails."""
        made = await house.add(State.COMPOSING)
        for _ in range(MAX_ATTEMPTS):
            async with house.begin() as unit:
                assert await unit.recordings.lease(house.clock.now(), house.clock.now() + SECOND)
            await house.recorder.reconcile()
            assert house.now(made).state is State.COMPOSING
            house.clock.advance(2 * SECOND)
        await house.recorder.reconcile()
        assert (house.now(made).state, house.verbs()) == (State.FAILED, ["failed"])

    async def test_one_recording_in_trouble_holds_up_no_other(self, house: House) -> None:
        """Every recording is looked at, whatever happened with the one before."""
        first = await house.add(State.CAPTURING, meeting_id=new_id())
        second = await house.add(State.SHIPPING, stop_time=house.clock.now(), meeting_id=new_id())
        house.rooms.error = Precondition("another recording")
        await house.recorder.reconcile()
        house.rooms.error = None
        house.ship(second)
        house.clock.advance(5 * SECOND)
        house.look()
        await house.recorder.reconcile()
        assert house.now(first).state is State.CAPTURING
        assert house.now(second).state is State.COMPOSING


class TestLibrary:
    """GetRecording, ListRecordings, ReadContent, RetryRecording."""

    @pytest.mark.parametrize(
        ("role", "oversees", "seen"),
        [
            ("chair", False, True),
            ("delegate", False, True),
            ("observer", False, True),
            ("press", False, False),
            ("press", True, True),
            ("", True, True),
            ("", False, False),
        ],
    )
    async def test_who_sees_it(self, house: House, role: str, oversees: bool, seen: bool) -> None:
        """The appointed but the press, and who oversees the unit; for all others there is none."""
        made = await house.add(State.READY)
        house.role(role)
        house.meetings.overseen = {UNIT} if oversees else set()
        page, more = await house.recorder.list(CALLER, None, None, 10)
        assert (list(page), more) == ([made] if seen else [], None)
        if seen:
            assert await house.recorder.get(made.id) == made
        else:
            for act in (house.recorder.get, lambda each: house.recorder.content(each, 0, 0)):
                with pytest.raises(RecordingNotFound):
                    await act(made.id)

    async def test_pages_follow_on(self, house: House) -> None:
        """Newest first, each once, only the visible; a meeting is asked about once per page."""
        hidden = new_id()
        made = [await house.add(State.READY, meeting_id=hidden if n % 3 == 0 else MEETING) for n in range(10)]
        seen: list[Recording] = []
        before: str | None = None
        while True:
            house.meetings.asked.clear()
            page, before = await house.recorder.list(CALLER, None, before, 2)
            assert len(house.meetings.asked) == len(set(house.meetings.asked))
            seen += page
            if before is None:
                break
        assert seen == [each for each in reversed(made) if each.meeting_id == MEETING]

    async def test_a_page_ends_after_so_many_that_are_hidden(self, house: House) -> None:
        """The search is bounded, and goes on where it stopped."""
        made = await house.add(State.READY)
        hidden = (replace(made, id=new_id(), meeting_id=new_id()) for _ in range(MAX_SCANNED))
        house.begin.stored.recordings |= {each.id: each for each in hidden}
        page, before = await house.recorder.list(CALLER, None, None, 50)
        assert page == []
        assert before is not None
        assert await house.recorder.list(CALLER, None, before, 50) == ([made], None)

    async def test_other_organisations_are_not_listed(self, house: House) -> None:
        """The caller's organisation is what its token says."""
        await house.add(State.READY)
        stranger = replace(CALLER, organisation_id=new_id())
        assert await house.recorder.list(stranger, None, None, 10) == ([], None)

    @pytest.mark.parametrize(
        ("offset", "length", "read"),
        [(0, 0, b"0123456789"), (3, 4, b"3456"), (8, 5, b"89"), (9, 0, b"9"), (10, 0, b"")],
    )
    async def test_ranges(self, house: House, offset: int, length: int, read: bytes) -> None:
        """A range is cut at the end of the file; length 0 means up to there."""
        made = await house.add(State.READY, size_bytes=10, sha256="abc")
        house.library.results[made.id, "abc"] = b"0123456789"
        stream = await house.recorder.content(made.id, offset, length)
        assert b"".join([each async for each in stream]) == read

    @pytest.mark.parametrize(("offset", "length"), [(-1, 0), (0, -1), (11, 0)])
    async def test_wrong_ranges(self, house: House, offset: int, length: int) -> None:
        """A range outside the file is refused, with the file's size."""
        made = await house.add(State.READY, size_bytes=10)
        with pytest.raises(RangeInvalid, match="10 bytes"):
            await house.recorder.content(made.id, offset, length)

    @pytest.mark.parametrize("state", [each for each in State if each is not State.READY])
    async def test_what_is_not_ready_is_not_read(self, house: House, state: State) -> None:
        """Only a composed file has bytes."""
        made = await house.add(state)
        with pytest.raises(RecordingNotReady):
            await house.recorder.content(made.id, 0, 0)

    async def test_a_failed_one_is_composed_again(self, house: House) -> None:
        """It starts over with all attempts; what has not failed is refused; a delegate may not."""
        made = await house.add(State.FAILED, attempts=MAX_ATTEMPTS, failure="disk")
        house.role("delegate")
        with pytest.raises(RecordForbidden):
            await house.recorder.retry(made.id)
        house.role("secretary")
        again = await house.recorder.retry(made.id)
        assert (again.state, again.attempts, again.failure) == (State.COMPOSING, 0, "")
        async with house.begin() as unit:
            assert await unit.recordings.lease(house.clock.now(), house.clock.now() + SECOND)
        with pytest.raises(RecordingNotFailed):
            await house.recorder.retry(made.id)
