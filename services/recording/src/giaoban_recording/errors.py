# SPDX-License-Identifier: Apache-2.0
"""What can go wrong in recording, in its own words."""

from __future__ import annotations

from giaoban_kit.errors import Exists, Forbidden, Internal, Invalid, NotFound, Precondition


class RecordingNotFound(NotFound):
    """No such recording, or not one for the caller."""

    reason = "RECORDING_NOT_FOUND"


class RecordForbidden(Forbidden):
    """Only chair, secretary and operator record."""

    reason = "RECORD_FORBIDDEN"


class MeetingNotRunning(Precondition):
    """Only a running meeting can be recorded."""

    reason = "MEETING_NOT_RUNNING"


class RecordingNotReady(Precondition):
    """There is no composed file yet."""

    reason = "RECORDING_NOT_READY"


class RecordingNotFailed(Precondition):
    """Only a recording that failed can be composed again."""

    reason = "RECORDING_NOT_FAILED"


class RangeInvalid(Invalid):
    """The range lies outside the file."""

    reason = "RANGE_INVALID"


class RecordingRunning(Exists):
    """The meeting is being recorded already."""

    reason = "RECORDING_RUNNING"


class TrackDamaged(Internal):
    """A track in storage does not match its checksum."""

    reason = "TRACK_DAMAGED"


class ComposeFailed(Internal):
    """The tracks could not be made into one file."""

    reason = "COMPOSE_FAILED"
