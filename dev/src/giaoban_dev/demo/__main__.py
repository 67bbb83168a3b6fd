# SPDX-License-Identifier: Apache-2.0
"""`python -m giaoban_dev.demo`: loads what is missing of the demo data, and says which sites should join.

Reads the environment of the local stack (GIAOBAN_*), SITES (how many sites join, default 12), and works in the
state directory: keys of the sites' terminals in secrets/, the list for the simulated sites in demo/sites.json.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import os
import sys
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
from giaoban.identity.v1.identity_service_pb2 import ImportDirectoryRequest
from giaoban.identity.v1.identity_service_pb2_grpc import IdentityServiceStub
from giaoban_kit.config import ServiceConfig, load_config
from giaoban_kit.grpc_client import channel
from giaoban_kit.service_auth import ServiceIdentity

from giaoban_dev.demo.directory import Directory, city, ministry, province
from giaoban_dev.demo.meetings import Call, Office, city_calls, ministry_calls, province_calls
from giaoban_dev.infra.credentials import Credentials
from giaoban_dev.infra.errors import InfraError

DEFAULT_SITES = 12
MAX_SITES = 55
SITES_FILE = Path("demo") / "sites.json"
IMPORTED_FILE = Path("demo") / "imported.json"

Ids = Mapping[str, Mapping[str, str]]


class Config(ServiceConfig):
    """The demo data's loader."""

    service_name: str = "dev"
    public_url: str = "http://localhost:8080"


async def load(config: Config, state: Path, joining: int) -> None:
    """Loads everything that is missing."""
    credentials = Credentials(state / "secrets")
    now = datetime.now(UTC)
    the_city = city()
    invited = [code for code, _, _, _ in the_city.sites if "dc-" in code and not _is_ward(the_city, code)]
    file = state / SITES_FILE
    file.parent.mkdir(parents=True, exist_ok=True)
    ids = await _directories(config, state, credentials, (the_city, ministry(), province()))
    city_ids, ministry_ids, province_ids = ids["tphcm"], ids["bkhcn"], ids["lamdong"]
    running, *_ = await asyncio.gather(
        _call_all(config.public_url, "tphcm", "thuky", city_calls(city_ids, now, invited)),
        _call_all(config.public_url, "bkhcn", "thuky", ministry_calls(ministry_ids, now)),
        _call_all(config.public_url, "lamdong", "thuky", province_calls(province_ids, now)),
    )
    names = {code: name for code, _, name, _ in the_city.sites}
    sites = [
        {
            "id": city_ids["sites"][code],
            "name": names[code],
            "device_key": _device_key(credentials, the_city, code),
        }
        for code in invited[:joining]
    ]
    file.touch(mode=0o600)
    file.write_text(
        json.dumps(
            {"base_url": config.public_url, "meeting_id": running, "sites": sites},
            ensure_ascii=False,
            indent=1,
        ),
        encoding="utf-8",
    )


async def _directories(
    config: Config, state: Path, credentials: Credentials, directories: Sequence[Directory]
) -> Mapping[str, Ids]:
    """The ids of everything in the directories; imported only when they are not what was imported last."""
    requests = [_request(each, credentials) for each in directories]
    digest = hashlib.sha256(
        b"".join(each.SerializeToString(deterministic=True) for each in requests)
    ).hexdigest()
    done = state / IMPORTED_FILE
    if done.exists():
        known: dict[str, Any] = json.loads(done.read_text(encoding="utf-8"))
        if known["digest"] == digest:
            found: dict[str, Ids] = known["ids"]
            return found
    async with channel(config.identity_target, ServiceIdentity.from_config(config)) as identity:
        stub = IdentityServiceStub(identity)
        ids = {
            each.code: await _import(stub, request)
            for each, request in zip(directories, requests, strict=True)
        }
    done.write_text(json.dumps({"digest": digest, "ids": ids}), encoding="utf-8")
    return ids


async def _import(stub: IdentityServiceStub, request: ImportDirectoryRequest) -> Ids:
    done = await stub.ImportDirectory(request, timeout=60)
    return {"units": dict(done.unit_ids), "sites": dict(done.site_ids), "users": dict(done.user_ids)}


def _request(directory: Directory, credentials: Credentials) -> ImportDirectoryRequest:
    return directory.request(
        {code: _device_key(credentials, directory, code) for code, _, _, _ in directory.sites}
    )


async def _call_all(url: str, organisation: str, username: str, calls: list[Call]) -> str:
    async with httpx.AsyncClient(
        base_url=url, trust_env=False, timeout=20, headers={"Origin": url}
    ) as client:
        office = Office(client)
        await office.sign_in(organisation, username)
        made = [await office.call(each) for each in calls]
    return str(made[0]["id"])


def _device_key(credentials: Credentials, directory: Directory, code: str) -> str:
    return credentials.get(f"site-{directory.code}-{code}")


def _is_ward(directory: Directory, code: str) -> bool:
    parents = {unit: parent for unit, parent, _ in directory.units}
    unit = next(unit for site, unit, _, _ in directory.sites if site == code)
    return parents[unit] not in ("", "ubnd")


def joining_sites(environment: Mapping[str, str]) -> int:
    """How many sites join; raises InfraError for what is no number of sites."""
    text = environment.get("SITES", str(DEFAULT_SITES))
    if not text.isdecimal() or int(text) > MAX_SITES:
        raise InfraError(f"SITES={text!r}: give how many sites join, 0 to {MAX_SITES}")
    return int(text)


def main() -> int:
    """Loads; returns the exit status."""
    try:
        asyncio.run(load(load_config(Config), Path.cwd(), joining_sites(os.environ)))
    except InfraError as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
