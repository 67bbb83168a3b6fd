# SPDX-License-Identifier: Apache-2.0
"""Owns the errors that identity raises; each has its own reason, which callers see unchanged."""

from datetime import timedelta

from giaoban_kit.errors import (
    Exhausted,
    FieldViolation,
    Internal,
    Invalid,
    NotFound,
    Unauthenticated,
    Unavailable,
)

BUSY_RETRY_AFTER = timedelta(seconds=2)


class InvalidCredentials(Unauthenticated):
    """The same for an unknown account, a wrong password and an inactive account."""

    reason = "INVALID_CREDENTIALS"

    def __init__(self) -> None:
        super().__init__("The account or the password is not right. Check both and try again.")


class SignInLocked(Exhausted):
    """Too many failed sign-ins for this account or from this address."""

    reason = "SIGN_IN_LOCKED"

    def __init__(self, retry_after: timedelta) -> None:
        super().__init__(
            "Too many failed sign-ins. Wait, then try again, or ask your administrator.",
            retry_after=retry_after,
        )


class SignInBusy(Unavailable):
    """More sign-ins are under way than can be checked at once."""

    reason = "SIGN_IN_BUSY"

    def __init__(self) -> None:
        super().__init__("Very many people sign in right now. Try again.", retry_after=BUSY_RETRY_AFTER)


class RefreshTokenInvalid(Unauthenticated):
    """Unknown, expired, or of a session that has ended."""

    reason = "REFRESH_TOKEN_INVALID"

    def __init__(self) -> None:
        super().__init__("The session has ended. Sign in again.")


class RefreshTokenReused(Unauthenticated):
    """A refresh token came a second time: someone else has a copy, so the session was ended."""

    reason = "REFRESH_TOKEN_REUSED"

    def __init__(self) -> None:
        super().__init__("The session was ended because its token was used twice. Sign in again.")


class UserNotFound(NotFound):
    """No such user in the caller's organisation."""

    reason = "USER_NOT_FOUND"

    def __init__(self) -> None:
        super().__init__("There is no such user in your organisation.")


class UnitNotFound(NotFound):
    """No such unit in the caller's organisation."""

    reason = "UNIT_NOT_FOUND"

    def __init__(self) -> None:
        super().__init__("There is no such unit in your organisation.")


class DirectoryEntryInvalid(Invalid):
    """An entry of an import does not fit the rest of the directory."""

    reason = "DIRECTORY_ENTRY_INVALID"

    def __init__(self, field: str, remedy: str) -> None:
        super().__init__(f"{field}: {remedy}", (FieldViolation(field, "DIRECTORY_ENTRY_INVALID", remedy),))


class KeyFileMismatch(Internal):
    """The key file does not belong to this database, or is no key."""

    reason = "KEY_FILE_MISMATCH"
