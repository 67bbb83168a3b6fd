# SPDX-License-Identifier: Apache-2.0
"""Owns the nouns and rules of identity: who belongs where, who may do what, when guessing is stopped.

Pure: standard library only, no clock, no input or output.
"""

import enum
import re
import unicodedata
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

# Limits of every field that enters identity, in characters unless named otherwise.
MAX_CODE = 64
MAX_NAME = 200
MAX_OFFICE = 200
MAX_ASKED_PERMISSIONS = 10
MAX_EMAIL = 254  # RFC 5321, section 4.5.3.1.3 less the brackets
MAX_PASSWORD = 256
MIN_PASSWORD = 8
MAX_DEVICE_KEY = 256
MIN_DEVICE_KEY = 32  # device keys are stored as a fast digest, so they must be long and random
MAX_CLIENT_ADDRESS = 64
MAX_REFRESH_TOKEN = 128
MAX_QUERY = 100
MAX_WORD = 64  # of a search text: what is beyond does not count; PostgreSQL's lexemes end at 2 KiB
MAX_PAGE_TOKEN = 1024
MAX_PAGE_SIZE = 200
DEFAULT_PAGE_SIZE = 50
MAX_BATCH_REFS = 500
MAX_RESOLVE_REFS = 2000
MAX_IMPORT_ENTRIES = 5000  # of each kind
MAX_ROLES_PER_USER = 50
MAX_TREE_DEPTH = 12

CODE_PATTERN = re.compile(r"[a-z0-9][a-z0-9._-]{0,63}")
_DIGITS = re.compile(r"\d+")
_SPACES = re.compile(r"\s+")
_WORDS = re.compile(r"[^\W_]+")
_LAST_CHARACTER = "\U0010ffff"


class Locale(enum.Enum):
    """The language a user reads."""

    VI = "vi"
    EN = "en"


class SiteKind(enum.Enum):
    """Whether a site stays where it is."""

    FIXED = "fixed"
    MOBILE = "mobile"


class Role(enum.Enum):
    """Held in a unit and inherited by every unit below it."""

    ADMINISTRATOR = "administrator"
    CONVENER = "convener"
    OPERATOR = "operator"
    MEMBER = "member"


class Permission(enum.Enum):
    """What a role allows; services ask for permissions, never for roles."""

    CONVENE = "convene"
    OVERSEE = "oversee"
    ADMINISTER = "administer"
    OPERATE = "operate"


class PartyKind(enum.Enum):
    """What can be invited."""

    USER = "user"
    SITE = "site"
    UNIT = "unit"


# What each role allows. A member sees only what they are invited to, hence nothing here.
ROLE_PERMISSIONS: Mapping[Role, frozenset[Permission]] = {
    Role.ADMINISTRATOR: frozenset(
        {Permission.CONVENE, Permission.OVERSEE, Permission.ADMINISTER, Permission.OPERATE}
    ),
    Role.CONVENER: frozenset({Permission.CONVENE}),
    Role.OPERATOR: frozenset({Permission.OVERSEE, Permission.OPERATE}),
    Role.MEMBER: frozenset(),
}

# Who is told when a unit or a site is invited: holders of these roles in that very unit.
ROLES_BEHIND_UNIT = frozenset({Role.CONVENER, Role.OPERATOR})
ROLES_BEHIND_SITE = frozenset({Role.OPERATOR, Role.MEMBER})


@dataclass(frozen=True, slots=True)
class Organisation:
    """A tenant. `time_zone` is an IANA name."""

    id: str
    code: str
    name: str
    time_zone: str


@dataclass(frozen=True, slots=True)
class Unit:
    """A node of an organisation's tree. `path` lists the ids from the root to itself: "/root/…/id/"."""

    id: str
    organisation_id: str
    parent_id: str | None
    code: str
    name: str
    position: int
    path: str

    @property
    def depth(self) -> int:
        """1 for the root."""
        return self.path.count("/") - 1


@dataclass(frozen=True, slots=True)
class User:
    """A person with an account."""

    id: str
    organisation_id: str
    unit_id: str
    username: str
    display_name: str
    office: str
    email: str = field(repr=False)  # never in a log by accident
    locale: Locale
    active: bool


@dataclass(frozen=True, slots=True)
class Site:
    """A place that takes part as one party."""

    id: str
    organisation_id: str
    unit_id: str
    code: str
    name: str
    kind: SiteKind
    active: bool


@dataclass(frozen=True, slots=True)
class RoleAssignment:
    """A role that a user holds in a unit; `unit_path` is that unit's path."""

    user_id: str
    unit_id: str
    unit_path: str
    role: Role


@dataclass(frozen=True, slots=True)
class PartyRef:
    """A reference to someone or something that can be invited."""

    kind: PartyKind
    id: str


@dataclass(frozen=True, slots=True)
class Account:
    """A user, active or not, with its organisation and the roles it holds."""

    organisation: Organisation
    user: User
    roles: tuple[RoleAssignment, ...]


@dataclass(frozen=True, slots=True)
class Party:
    """A party with the names that people read."""

    ref: PartyRef
    name: str
    office: str
    unit_id: str
    unit_name: str


@dataclass(frozen=True, slots=True)
class Recipient:
    """Where a message to a user goes; only notifications may see it."""

    user_id: str
    organisation_id: str
    display_name: str
    email: str = field(repr=False)
    locale: Locale
    time_zone: str


@dataclass(frozen=True, slots=True)
class PageMark:
    """Where a page of a list ended: the sort key and id of its last entry."""

    sort_key: str
    id: str


@dataclass(frozen=True, slots=True)
class Session:
    """Everything that one sign-in of a user leads to: the family of its refresh tokens."""

    id: str
    organisation_id: str
    user_id: str
    created_at: datetime
    expires_at: datetime
    ended_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class RefreshToken:
    """One link of a session's chain; only the SHA-256 digest of the token is ever stored."""

    digest: bytes
    session_id: str
    issued_at: datetime
    expires_at: datetime
    used_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class SigningKey:
    """An Ed25519 key pair; the private part is sealed. `retired_at`: when the JWKS stops showing it."""

    id: str
    public_key: bytes
    sealed_private_key: bytes
    created_at: datetime
    retired_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class Guesses:
    """Failed sign-ins for one key (an account or a client address)."""

    key: bytes
    failures: int
    last_failure_at: datetime
    locked_until: datetime | None = None


@dataclass(frozen=True, slots=True)
class LockoutPolicy:
    """How guessing is slowed down: `free` failures cost nothing, each further one doubles the wait."""

    free: int
    first_delay: timedelta
    max_delay: timedelta
    # Failures are forgotten when none happened for this long.
    forget_after: timedelta

    def delay(self, failures: int) -> timedelta:
        """The wait after this many failures."""
        excess = failures - self.free
        if excess < 0:
            return timedelta()
        # Capped exponent: 2**excess must not overflow timedelta for a patient attacker.
        doublings: int = 2 ** min(excess, 30)
        return min(self.first_delay * doublings, self.max_delay)

    def after_failure(self, guesses: Guesses | None, key: bytes, now: datetime) -> Guesses:
        """The record after one more failure at `now`."""
        known = guesses is not None and now - guesses.last_failure_at < self.forget_after
        failures = (guesses.failures if guesses is not None and known else 0) + 1
        delay = self.delay(failures)
        return Guesses(key, failures, now, now + delay if delay else None)

    def without_last(self, guesses: Guesses) -> Guesses:
        """The record as if its last failure had not been counted."""
        failures = max(guesses.failures - 1, 0)
        delay = self.delay(failures)
        return replace(
            guesses, failures=failures, locked_until=guesses.last_failure_at + delay if delay else None
        )


def locked_for(guesses: Guesses | None, now: datetime) -> timedelta | None:
    """How long the key stays locked, or None when it is not."""
    if guesses is None or guesses.locked_until is None or guesses.locked_until <= now:
        return None
    return guesses.locked_until - now


def fold(text: str) -> str:
    """The text as search sees it: lower case, without diacritics, đ as d, single spaces."""
    # Compatibility forms may decompose into capitals (℠), and capitals may fold into composed letters.
    cased = unicodedata.normalize("NFKD", _SPACES.sub(" ", text)).casefold()
    decomposed = unicodedata.normalize("NFKD", cased).replace("đ", "d")
    bare = "".join(c for c in decomposed if not unicodedata.combining(c) and c.isprintable())
    return _SPACES.sub(" ", bare).strip()


def sort_key(name: str) -> str:
    """Orders names as people expect: without diacritics, numbers by value ("Quận 2" before "Quận 10")."""
    return _DIGITS.sub(lambda match: match.group().lstrip("0").rjust(8, "0"), fold(name))


@dataclass(frozen=True, slots=True)
class Search:
    """What somebody has typed, the last word perhaps half of one.

    It finds the names that begin with it, and after them the entries in which each of its words begins a word. Names
    begin with it from the sort key `beginning` up to, not including, `end`.
    """

    beginning: str
    words: tuple[str, ...]

    @property
    def end(self) -> str:
        """Greater than every sort key that begins with `beginning`."""
        return self.beginning + _LAST_CHARACTER

    def is_begun_by(self, key: str) -> bool:
        """Whether the name with this sort key begins with what was typed."""
        return key.startswith(self.beginning)

    def has_words_in(self, text: str) -> bool:
        """Whether each word, and there must be one, begins a word of this search text."""
        return bool(self.words) and all(f" {word}" in f" {text}" for word in self.words)


def search(query: str) -> Search:
    """What a query stands for; an empty one finds everything."""
    return Search(sort_key(query), tuple(dict.fromkeys(_words(query))))


def _words(text: str) -> Sequence[str]:
    """The folded words; whatever is neither letter nor digit stands between two."""
    return [word[:MAX_WORD] for word in _WORDS.findall(fold(text))]


def site_search_text(site: Site) -> str:
    """What a query for sites is compared with."""
    return " ".join(_words(f"{site.name} {site.code}"))


def user_search_text(user: User) -> str:
    """What a query for users is compared with; the mail address is not searchable."""
    return " ".join(_words(f"{user.display_name} {user.username} {user.office}"))


def permissions_by_unit(assignments: Iterable[RoleAssignment]) -> dict[str, frozenset[Permission]]:
    """Permissions in each unit where a role was given, not expanded downwards."""
    result: dict[str, frozenset[Permission]] = {}
    for assignment in assignments:
        granted = ROLE_PERMISSIONS[assignment.role]
        result[assignment.unit_id] = result.get(assignment.unit_id, frozenset()) | granted
    return result


def is_permitted(assignments: Iterable[RoleAssignment], unit: Unit, permission: Permission) -> bool:
    """Whether a role held in the unit or in one above it allows the act."""
    return any(
        permission in ROLE_PERMISSIONS[assignment.role] and unit.path.startswith(assignment.unit_path)
        for assignment in assignments
    )


def roles_with(permissions: Collection[Permission]) -> frozenset[Role]:
    """The roles that allow at least one of the acts."""
    return frozenset(role for role, granted in ROLE_PERMISSIONS.items() if granted.intersection(permissions))
