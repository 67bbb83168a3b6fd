# SPDX-License-Identifier: Apache-2.0
"""Owns the translation between identity's domain and its protobuf messages, and the checks of fields."""

import re
import unicodedata
from collections.abc import Mapping
from typing import TypeVar
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from giaoban.identity.v1 import identity_pb2 as nouns
from giaoban.identity.v1 import identity_service_pb2 as calls
from giaoban_kit.validate import Violations

from giaoban_identity import domain
from giaoban_identity.directory_import import Directory, SiteEntry, UnitEntry, UserEntry
from giaoban_identity.signin import Tokens

E = TypeVar("E")

# RFC 5321, section 4.1.2, less quoted strings, address literals and non-ASCII mailboxes: few servers take those.
_ATOM = r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+"
_LABEL = r"[A-Za-z0-9](?:[A-Za-z0-9-]*[A-Za-z0-9])?"
EMAIL_PATTERN = re.compile(rf"{_ATOM}(?:\.{_ATOM})*@{_LABEL}(?:\.{_LABEL})*")

LOCALES: Mapping[int, domain.Locale] = {
    nouns.LOCALE_VI: domain.Locale.VI,
    nouns.LOCALE_EN: domain.Locale.EN,
}
SITE_KINDS: Mapping[int, domain.SiteKind] = {
    nouns.SITE_KIND_FIXED: domain.SiteKind.FIXED,
    nouns.SITE_KIND_MOBILE: domain.SiteKind.MOBILE,
}
ROLES: Mapping[int, domain.Role] = {
    nouns.ROLE_ADMINISTRATOR: domain.Role.ADMINISTRATOR,
    nouns.ROLE_CONVENER: domain.Role.CONVENER,
    nouns.ROLE_OPERATOR: domain.Role.OPERATOR,
    nouns.ROLE_MEMBER: domain.Role.MEMBER,
}
PERMISSIONS: Mapping[int, domain.Permission] = {
    nouns.PERMISSION_CONVENE: domain.Permission.CONVENE,
    nouns.PERMISSION_OVERSEE: domain.Permission.OVERSEE,
    nouns.PERMISSION_ADMINISTER: domain.Permission.ADMINISTER,
    nouns.PERMISSION_OPERATE: domain.Permission.OPERATE,
}
PARTY_KINDS: Mapping[int, domain.PartyKind] = {
    nouns.PARTY_KIND_USER: domain.PartyKind.USER,
    nouns.PARTY_KIND_SITE: domain.PartyKind.SITE,
    nouns.PARTY_KIND_UNIT: domain.PartyKind.UNIT,
}


def _number_of(table: Mapping[int, E], value: E) -> int:
    return next(number for number, known in table.items() if known == value)


def organisation_to_proto(organisation: domain.Organisation) -> nouns.Organisation:
    """As clients see it."""
    return nouns.Organisation(
        id=organisation.id,
        code=organisation.code,
        name=organisation.name,
        time_zone=organisation.time_zone,
    )


def unit_to_proto(unit: domain.Unit) -> nouns.Unit:
    """As clients see it."""
    return nouns.Unit(
        id=unit.id,
        organisation_id=unit.organisation_id,
        parent_id=unit.parent_id,
        code=unit.code,
        name=unit.name,
        position=unit.position,
    )


def user_to_proto(user: domain.User, *, with_email: bool) -> nouns.User:
    """As clients see it; only the person itself sees the mail address."""
    return nouns.User(
        id=user.id,
        organisation_id=user.organisation_id,
        unit_id=user.unit_id,
        username=user.username,
        display_name=user.display_name,
        office=user.office,
        email=user.email if with_email else "",
        locale=nouns.Locale.ValueType(_number_of(LOCALES, user.locale)),
        active=user.active,
    )


def site_to_proto(site: domain.Site) -> nouns.Site:
    """As clients see it."""
    return nouns.Site(
        id=site.id,
        organisation_id=site.organisation_id,
        unit_id=site.unit_id,
        code=site.code,
        name=site.name,
        kind=nouns.SiteKind.ValueType(_number_of(SITE_KINDS, site.kind)),
        active=site.active,
    )


def party_to_proto(party: domain.Party) -> nouns.Party:
    """As clients see it."""
    kind = nouns.PartyKind.ValueType(_number_of(PARTY_KINDS, party.ref.kind))
    return nouns.Party(
        ref=nouns.PartyRef(kind=kind, id=party.ref.id),
        name=party.name,
        office=party.office,
        unit_id=party.unit_id,
        unit_name=party.unit_name,
    )


def recipient_to_proto(recipient: domain.Recipient) -> nouns.Recipient:
    """As notifications sees it."""
    return nouns.Recipient(
        user_id=recipient.user_id,
        organisation_id=recipient.organisation_id,
        display_name=recipient.display_name,
        email=recipient.email,
        locale=nouns.Locale.ValueType(_number_of(LOCALES, recipient.locale)),
        time_zone=recipient.time_zone,
    )


def tokens_to_proto(tokens: Tokens) -> nouns.SessionTokens:
    """As the gateway sees it."""
    message = nouns.SessionTokens(access_token=tokens.access_token, refresh_token=tokens.refresh_token)
    message.access_token_expires_at.FromDatetime(tokens.access_token_expires_at)
    if tokens.refresh_token_expires_at is not None:
        message.refresh_token_expires_at.FromDatetime(tokens.refresh_token_expires_at)
    return message


def unit_permissions_to_proto(unit_id: str, granted: frozenset[domain.Permission]) -> calls.UnitPermissions:
    """Permissions in one unit, in the order of their numbers."""
    numbers = [nouns.Permission.ValueType(n) for n, known in PERMISSIONS.items() if known in granted]
    return calls.UnitPermissions(unit_id=unit_id, permissions=numbers)


def check_enum(check: Violations, field: str, number: int, table: Mapping[int, E], default: E) -> E:
    """The domain's value; an unknown or unspecified number is a violation."""
    check.require(number in table, field, "UNKNOWN_VALUE", "Choose one of the values this field knows.")
    return table.get(number, default)


def check_code(check: Violations, field: str, value: str) -> str:
    """A code as organisations, units, sites and accounts have it: lower case, no diacritics."""
    clean = value.strip().lower()
    check.require(
        domain.CODE_PATTERN.fullmatch(clean) is not None,
        field,
        "NOT_A_CODE",
        f"Use 1 to {domain.MAX_CODE} lower case letters a-z, digits, dots, underscores and hyphens.",
    )
    return clean


def check_secret(check: Violations, field: str, value: str, *, shortest: int, longest: int) -> str:
    """A password or key in NFC (RFC 8265, section 4.2), spaces kept; keyboards differ in how they compose."""
    clean = unicodedata.normalize("NFC", value)
    check.require(
        shortest <= len(clean) <= longest,
        field,
        "WRONG_LENGTH",
        f"Use {shortest} to {longest} characters.",
    )
    return clean


def check_refs(check: Violations, refs: list[nouns.PartyRef], *, most: int) -> list[domain.PartyRef]:
    """References to parties, at most `most`."""
    check.require(len(refs) <= most, "refs", "TOO_MANY", f"Send at most {most} references at once.")
    return [
        domain.PartyRef(
            check_enum(check, f"refs[{i}].kind", ref.kind, PARTY_KINDS, domain.PartyKind.USER),
            check.id(f"refs[{i}].id", ref.id),
        )
        for i, ref in enumerate(refs[:most])
    ]


def directory_from_proto(request: calls.ImportDirectoryRequest, check: Violations) -> Directory:
    """What is to be imported, with every violation noted."""
    for kind, entries, key in (
        ("units", request.units, "code"),
        ("sites", request.sites, "code"),
        ("users", request.users, "username"),
    ):
        most = domain.MAX_IMPORT_ENTRIES
        check.require(len(entries) <= most, kind, "TOO_MANY", f"Send at most {most} entries at once.")
        seen: set[str] = set()
        for i, entry in enumerate(entries[:most]):
            code = getattr(entry, key).strip().lower()
            check.require(code not in seen, f"{kind}[{i}].{key}", "DUPLICATE", "Name each entry only once.")
            seen.add(code)
    check.raise_if_any()
    zone = check.text("organisation.time_zone", request.organisation.time_zone, min=1, max=64)
    check.require(
        _is_zone(zone),
        "organisation.time_zone",
        "UNKNOWN_TIME_ZONE",
        'Use an IANA time zone such as "Asia/Ho_Chi_Minh".',
    )
    return Directory(
        code=check_code(check, "organisation.code", request.organisation.code),
        name=check.text("organisation.name", request.organisation.name, min=1, max=domain.MAX_NAME),
        time_zone=zone,
        units=[_unit_entry(check, f"units[{i}]", entry) for i, entry in enumerate(request.units)],
        sites=[_site_entry(check, f"sites[{i}]", entry) for i, entry in enumerate(request.sites)],
        users=[_user_entry(check, f"users[{i}]", entry) for i, entry in enumerate(request.users)],
    )


def _unit_entry(check: Violations, at: str, entry: calls.ImportDirectoryRequest.UnitEntry) -> UnitEntry:
    parent = check_code(check, f"{at}.parent_code", entry.parent_code) if entry.parent_code else ""
    name = check.text(f"{at}.name", entry.name, min=1, max=domain.MAX_NAME)
    return UnitEntry(check_code(check, f"{at}.code", entry.code), parent, name)


def _site_entry(check: Violations, at: str, entry: calls.ImportDirectoryRequest.SiteEntry) -> SiteEntry:
    return SiteEntry(
        code=check_code(check, f"{at}.code", entry.code),
        unit_code=check_code(check, f"{at}.unit_code", entry.unit_code),
        name=check.text(f"{at}.name", entry.name, min=1, max=domain.MAX_NAME),
        kind=check_enum(check, f"{at}.kind", entry.kind, SITE_KINDS, domain.SiteKind.FIXED),
        device_key=check_secret(
            check,
            f"{at}.device_key",
            entry.device_key,
            shortest=domain.MIN_DEVICE_KEY,
            longest=domain.MAX_DEVICE_KEY,
        )
        if entry.HasField("device_key")
        else None,
    )


def _user_entry(check: Violations, at: str, entry: calls.ImportDirectoryRequest.UserEntry) -> UserEntry:
    email = check.text(f"{at}.email", entry.email, max=domain.MAX_EMAIL)
    check.require(
        not email or EMAIL_PATTERN.fullmatch(email) is not None,
        f"{at}.email",
        "NOT_AN_ADDRESS",
        "Give an address such as name@example.gov.vn, or none.",
    )
    most = domain.MAX_ROLES_PER_USER
    check.require(len(entry.roles) <= most, f"{at}.roles", "TOO_MANY", f"Give at most {most} roles.")
    return UserEntry(
        username=check_code(check, f"{at}.username", entry.username),
        unit_code=check_code(check, f"{at}.unit_code", entry.unit_code),
        display_name=check.text(f"{at}.display_name", entry.display_name, min=1, max=domain.MAX_NAME),
        office=check.text(f"{at}.office", entry.office, max=domain.MAX_OFFICE),
        email=email,
        locale=check_enum(check, f"{at}.locale", entry.locale, LOCALES, domain.Locale.VI),
        roles=tuple(
            (
                check_code(check, f"{at}.roles[{i}].unit_code", role.unit_code),
                check_enum(check, f"{at}.roles[{i}].role", role.role, ROLES, domain.Role.MEMBER),
            )
            for i, role in enumerate(entry.roles[:most])
        ),
        password=check_secret(
            check,
            f"{at}.password",
            entry.password,
            shortest=domain.MIN_PASSWORD,
            longest=domain.MAX_PASSWORD,
        )
        if entry.HasField("password")
        else None,
    )


def _is_zone(name: str) -> bool:
    try:
        ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        return False
    return True
