# SPDX-License-Identifier: Apache-2.0
"""Owns the errors that scheduling raises; each has its own reason, which callers see unchanged."""

from datetime import datetime

from giaoban_kit.errors import (
    Conflict,
    Exhausted,
    Exists,
    Forbidden,
    Invalid,
    NotFound,
    Precondition,
)


class MeetingInvalid(Invalid):
    """The meeting as asked for breaks a rule; the violations name the fields."""

    reason = "MEETING_INVALID"


class MeetingNotFound(NotFound):
    """No such meeting, or none that the caller may see."""

    reason = "MEETING_NOT_FOUND"

    def __init__(self) -> None:
        super().__init__("There is no such meeting, or you are not invited to it.")


class UnitNotFound(NotFound):
    """No such unit in the caller's organisation."""

    reason = "UNIT_NOT_FOUND"

    def __init__(self) -> None:
        super().__init__("There is no such unit in your organisation.")


class ConveneForbidden(Forbidden):
    """The caller may not call meetings for this unit."""

    reason = "CONVENE_FORBIDDEN"

    def __init__(self) -> None:
        super().__init__("You may not call meetings for this unit. Choose a unit you convene for.")


class EditForbidden(Forbidden):
    """Only chair, secretary and the unit's conveners change or cancel a meeting."""

    reason = "EDIT_FORBIDDEN"

    def __init__(self) -> None:
        super().__init__(
            "Only the chair, a secretary or a convener of the unit may change or cancel this meeting."
        )


class EndForbidden(Forbidden):
    """Only chair and secretary end a meeting."""

    reason = "END_FORBIDDEN"

    def __init__(self) -> None:
        super().__init__("Only the chair or a secretary may end this meeting.")


class AdmitForbidden(Forbidden):
    """Not one of those who look after the waiting."""

    reason = "ADMIT_FORBIDDEN"

    def __init__(self) -> None:
        super().__init__("Chair and secretaries decide who comes in; operators may look. You are neither.")


class AttendanceForbidden(Forbidden):
    """Not one of those who see the attendance."""

    reason = "ATTENDANCE_FORBIDDEN"

    def __init__(self) -> None:
        super().__init__(
            "Only chair, secretary, operator and those who convene or oversee the unit see the attendance."
        )


class MeetingChanged(Conflict):
    """The etag is not the newest."""

    reason = "MEETING_CHANGED"

    def __init__(self) -> None:
        super().__init__("Somebody else changed this meeting. Read it again, then repeat your change.")


class MeetingEnded(Precondition):
    """The meeting is over."""

    reason = "MEETING_ENDED"

    def __init__(self) -> None:
        super().__init__("This meeting has ended.")


class MeetingCancelled(Precondition):
    """The meeting was called off."""

    reason = "MEETING_CANCELLED"

    def __init__(self) -> None:
        super().__init__("This meeting was cancelled.")


class MeetingRunning(Precondition):
    """The meeting is being held."""

    reason = "MEETING_RUNNING"

    def __init__(self) -> None:
        super().__init__("This meeting is running. End it instead of cancelling it.")


class MeetingNotRunning(Precondition):
    """The meeting has not begun, or was called off."""

    reason = "MEETING_NOT_RUNNING"

    def __init__(self) -> None:
        super().__init__("This meeting is not running, so it cannot be ended. Cancel it instead.")


class MeetingNotOpen(Precondition):
    """Too early; metadata `opens_at` (RFC 3339) tells when to come."""

    reason = "MEETING_NOT_OPEN"

    def __init__(self, opens_at: datetime) -> None:
        super().__init__("It is too early to come in. Come back at opens_at.", opens_at=opens_at.isoformat())


class AdmissionRefused(Forbidden):
    """Chair or secretary said no."""

    reason = "ADMISSION_REFUSED"

    def __init__(self) -> None:
        super().__init__("The chair did not admit you to this meeting.")


class AdmissionNotFound(NotFound):
    """No such admission in this meeting."""

    reason = "ADMISSION_NOT_FOUND"

    def __init__(self) -> None:
        super().__init__("Nobody with this admission is waiting for this meeting. Read the list again.")


class AdmissionDecided(Precondition):
    """It was decided the other way; metadata `state` tells how."""

    reason = "ADMISSION_DECIDED"

    def __init__(self, state: str) -> None:
        super().__init__("This admission was already decided differently; that stands.", state=state)


class ParticipantLimitReached(Exhausted):
    """As many as the meeting holds are admitted."""

    reason = "PARTICIPANT_LIMIT_REACHED"

    def __init__(self, limit: int) -> None:
        super().__init__(
            "The meeting is full. Join at a site that takes part, or ask the organisers.", limit=str(limit)
        )


class WaitingLimitReached(Exhausted):
    """As many as may wait are waiting."""

    reason = "WAITING_LIMIT_REACHED"

    def __init__(self, limit: int) -> None:
        super().__init__("Too many people are waiting to come in. Try again later.", limit=str(limit))


class IdempotencyKeyReused(Precondition):
    """The key came before, with other content."""

    reason = "IDEMPOTENCY_KEY_REUSED"

    def __init__(self) -> None:
        super().__init__(
            "This idempotency key was used for another meeting. Use a new key for a new meeting."
        )


class SiteBooked(Exists):
    """A site is in another meeting at that time.

    Metadata: `site_id`, `site_name`, `start_time`, `end_time` (RFC 3339); `meeting_id` and `meeting_title`
    only if the caller may see that meeting.
    """

    reason = "SITE_BOOKED"

    def __init__(
        self, detail: str = "A site is booked at that time. Choose another time.", **metadata: str
    ) -> None:
        super().__init__(detail, **metadata)
