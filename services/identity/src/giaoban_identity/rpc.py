# SPDX-License-Identifier: Apache-2.0
# ruff: noqa: ARG002, N802  (gRPC chooses the names of methods and hands every one a context)
"""Owns identity's gRPC surface: message in, one use case, message out."""

from typing import Any

from giaoban.identity.v1 import identity_service_pb2 as calls
from giaoban.identity.v1.identity_service_pb2_grpc import IdentityServiceServicer
from giaoban_kit.db import decode_page_token, encode_page_token, page_size
from giaoban_kit.tokens import current_principal
from giaoban_kit.validate import Violations

from giaoban_identity import convert, domain
from giaoban_identity.directory_import import DirectoryImport
from giaoban_identity.metrics import SIGN_INS, counted
from giaoban_identity.service import Identity
from giaoban_identity.signin import SignIns

Context = Any  # grpc.aio.ServicerContext; generic in the stubs, not at run time


class IdentityServicer(IdentityServiceServicer):
    """Who may call what is decided before, by the kit's interceptors and `callers.toml`."""

    def __init__(self, identity: Identity, sign_ins: SignIns, directory_import: DirectoryImport) -> None:
        self._identity = identity
        self._sign_ins = sign_ins
        self._import = directory_import

    async def SignIn(self, request: calls.SignInRequest, context: Context) -> calls.SignInResponse:
        check = Violations()
        code = check.text("organisation_code", request.organisation_code, min=1, max=domain.MAX_CODE)
        username = check.text("username", request.username, min=1, max=domain.MAX_CODE)
        password = convert.check_secret(
            check, "password", request.password, shortest=1, longest=domain.MAX_PASSWORD
        )
        address = check.text("client_address", request.client_address, min=1, max=domain.MAX_CLIENT_ADDRESS)
        check.raise_if_any()
        with counted(SIGN_INS, kind="user"):
            tokens = await self._sign_ins.sign_in(code.lower(), username.lower(), password, address)
        return calls.SignInResponse(tokens=convert.tokens_to_proto(tokens))

    async def SignInTerminal(
        self, request: calls.SignInTerminalRequest, context: Context
    ) -> calls.SignInTerminalResponse:
        check = Violations()
        site_id = check.id("site_id", request.site_id)
        device_key = convert.check_secret(
            check, "device_key", request.device_key, shortest=1, longest=domain.MAX_DEVICE_KEY
        )
        address = check.text("client_address", request.client_address, min=1, max=domain.MAX_CLIENT_ADDRESS)
        check.raise_if_any()
        with counted(SIGN_INS, kind="terminal"):
            tokens = await self._sign_ins.sign_in_terminal(site_id, device_key, address)
        return calls.SignInTerminalResponse(tokens=convert.tokens_to_proto(tokens))

    async def RefreshSession(
        self, request: calls.RefreshSessionRequest, context: Context
    ) -> calls.RefreshSessionResponse:
        with counted(SIGN_INS, kind="refresh"):
            tokens = await self._sign_ins.refresh(_refresh_token(request.refresh_token))
        return calls.RefreshSessionResponse(tokens=convert.tokens_to_proto(tokens))

    async def SignOut(self, request: calls.SignOutRequest, context: Context) -> calls.SignOutResponse:
        await self._sign_ins.sign_out(_refresh_token(request.refresh_token))
        return calls.SignOutResponse()

    async def GetJwks(self, request: calls.GetJwksRequest, context: Context) -> calls.GetJwksResponse:
        return calls.GetJwksResponse(jwks_json=await self._sign_ins.jwks())

    async def RotateSigningKey(
        self, request: calls.RotateSigningKeyRequest, context: Context
    ) -> calls.RotateSigningKeyResponse:
        return calls.RotateSigningKeyResponse(key_id=await self._sign_ins.rotate_signing_key())

    async def GetMe(self, request: calls.GetMeRequest, context: Context) -> calls.GetMeResponse:
        caller = current_principal()
        me = await self._identity.me(caller.organisation_id, caller.subject, is_site=caller.kind == "site")
        return calls.GetMeResponse(
            user=convert.user_to_proto(me.user, with_email=True) if me.user else None,
            site=convert.site_to_proto(me.site) if me.site else None,
            organisation=convert.organisation_to_proto(me.organisation),
            permissions=[
                convert.unit_permissions_to_proto(unit_id, granted)
                for unit_id, granted in me.permissions.items()
            ],
        )

    async def UpdateMe(self, request: calls.UpdateMeRequest, context: Context) -> calls.UpdateMeResponse:
        check = Violations()
        locale = convert.check_enum(check, "locale", request.locale, convert.LOCALES, domain.Locale.VI)
        check.raise_if_any()
        caller = current_principal()
        user = await self._identity.set_locale(caller.organisation_id, caller.subject, locale)
        return calls.UpdateMeResponse(user=convert.user_to_proto(user, with_email=True))

    async def ListUnits(self, request: calls.ListUnitsRequest, context: Context) -> calls.ListUnitsResponse:
        units = await self._identity.units(current_principal().organisation_id)
        return calls.ListUnitsResponse(units=[convert.unit_to_proto(unit) for unit in units])

    async def ListSites(self, request: calls.ListSitesRequest, context: Context) -> calls.ListSitesResponse:
        query, unit_id, after, limit = _page(request)
        sites, end = await self._identity.sites(
            current_principal().organisation_id, query, unit_id, after, limit
        )
        return calls.ListSitesResponse(
            sites=[convert.site_to_proto(site) for site in sites], next_page_token=_token(end)
        )

    async def ListUsers(self, request: calls.ListUsersRequest, context: Context) -> calls.ListUsersResponse:
        query, unit_id, after, limit = _page(request)
        users, end = await self._identity.users(
            current_principal().organisation_id, query, unit_id, after, limit
        )
        return calls.ListUsersResponse(
            users=[convert.user_to_proto(user, with_email=False) for user in users],
            next_page_token=_token(end),
        )

    async def BatchGetParties(
        self, request: calls.BatchGetPartiesRequest, context: Context
    ) -> calls.BatchGetPartiesResponse:
        check = Violations()
        refs = convert.check_refs(check, list(request.refs), most=domain.MAX_BATCH_REFS)
        check.raise_if_any()
        parties = await self._identity.parties(current_principal().organisation_id, refs)
        return calls.BatchGetPartiesResponse(parties=[convert.party_to_proto(party) for party in parties])

    async def CheckPermission(
        self, request: calls.CheckPermissionRequest, context: Context
    ) -> calls.CheckPermissionResponse:
        check = Violations()
        unit_id = check.id("unit_id", request.unit_id)
        permission = convert.check_enum(
            check, "permission", request.permission, convert.PERMISSIONS, domain.Permission.CONVENE
        )
        check.raise_if_any()
        caller = current_principal()
        allowed = await self._identity.is_permitted(
            caller.organisation_id,
            caller.subject if caller.kind == "user" else None,
            unit_id,
            permission,
        )
        return calls.CheckPermissionResponse(allowed=allowed)

    async def ListPermittedUnits(
        self, request: calls.ListPermittedUnitsRequest, context: Context
    ) -> calls.ListPermittedUnitsResponse:
        check, most = Violations(), domain.MAX_ASKED_PERMISSIONS
        asked = list(request.permissions)
        check.require(len(asked) <= most, "permissions", "TOO_MANY", f"Ask for at most {most} at once.")
        permissions = [
            convert.check_enum(
                check, f"permissions[{i}]", number, convert.PERMISSIONS, domain.Permission.CONVENE
            )
            for i, number in enumerate(asked[:most])
        ]
        check.raise_if_any()
        caller = current_principal()
        own, units = await self._identity.permitted_units(caller.organisation_id, caller.subject, permissions)
        return calls.ListPermittedUnitsResponse(own_unit_id=own, unit_ids=units)

    async def ResolveRecipients(
        self, request: calls.ResolveRecipientsRequest, context: Context
    ) -> calls.ResolveRecipientsResponse:
        check = Violations()
        organisation_id = check.id("organisation_id", request.organisation_id)
        refs = convert.check_refs(check, list(request.refs), most=domain.MAX_RESOLVE_REFS)
        check.raise_if_any()
        recipients = await self._identity.recipients(organisation_id, refs)
        return calls.ResolveRecipientsResponse(
            recipients=[convert.recipient_to_proto(recipient) for recipient in recipients]
        )

    async def ImportDirectory(
        self, request: calls.ImportDirectoryRequest, context: Context
    ) -> calls.ImportDirectoryResponse:
        check = Violations()
        directory = convert.directory_from_proto(request, check)
        check.raise_if_any()
        imported = await self._import.apply(directory)
        response = calls.ImportDirectoryResponse(
            organisation=convert.organisation_to_proto(imported.organisation),
            unit_ids=imported.unit_ids,
            site_ids=imported.site_ids,
            user_ids=imported.user_ids,
        )
        response.applied_at.FromDatetime(imported.applied_at)
        return response


def _refresh_token(value: str) -> str:
    check = Violations()
    token = check.text("refresh_token", value, min=1, max=domain.MAX_REFRESH_TOKEN)
    check.raise_if_any()
    return token


def _page(
    request: calls.ListSitesRequest | calls.ListUsersRequest,
) -> tuple[str, str | None, domain.PageMark | None, int]:
    check = Violations()
    query = check.text("query", request.query, max=domain.MAX_QUERY)
    unit_id = check.id("unit_id", request.unit_id) if request.HasField("unit_id") else None
    check.text("page_token", request.page_token, max=domain.MAX_PAGE_TOKEN)
    check.raise_if_any()
    size = page_size(request.page_size, default=domain.DEFAULT_PAGE_SIZE, max=domain.MAX_PAGE_SIZE)
    cursor = decode_page_token(request.page_token, "sort_key", "id")
    if cursor is None:
        return query, unit_id, None, size
    # A token is only encoded, not signed: what is inside reaches the database and is checked like a field.
    sort_key = check.text("page_token", cursor["sort_key"], max=domain.MAX_PAGE_TOKEN)
    after = domain.PageMark(sort_key, check.id("page_token", cursor["id"]))
    check.raise_if_any()
    return query, unit_id, after, size


def _token(end: domain.PageMark | None) -> str:
    return encode_page_token(sort_key=end.sort_key, id=end.id) if end else ""
