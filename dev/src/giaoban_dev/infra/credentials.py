# SPDX-License-Identifier: Apache-2.0
"""Owns the generated secrets of one installation: one file per secret, mode 0600, made once."""

import os
import re
import secrets
from pathlib import Path

_NAME = re.compile(r"[a-z0-9][a-z0-9._-]*")
_SECRET_BYTES = 24


class Credentials:
    """Random secrets by name, kept in a directory only its owner can read."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        directory.mkdir(parents=True, exist_ok=True)
        directory.chmod(0o700)

    def path(self, name: str) -> Path:
        """Return the file of a secret, making the secret first when it does not exist.

        Raises ValueError for a name that is no plain lower-case file name.
        """
        if not _NAME.fullmatch(name):
            raise ValueError(f"name {name!r}: use lower-case letters, digits, '.', '_' and '-'")
        file = self.directory / name
        if not file.exists():
            self.write(name, secrets.token_urlsafe(_SECRET_BYTES).encode())
        return file

    def get(self, name: str) -> str:
        """Return the secret, making it first when it does not exist."""
        return self.path(name).read_text(encoding="ascii").strip()

    def write(self, name: str, content: bytes) -> Path:
        """Store a secret made elsewhere (a key pair, a certificate); replaces it in one step."""
        if not _NAME.fullmatch(name):
            raise ValueError(f"name {name!r}: use lower-case letters, digits, '.', '_' and '-'")
        file = self.directory / name
        fresh = self.directory / f".{name}.{os.getpid()}.tmp"
        descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(descriptor, "wb") as out:
            out.write(content)
        fresh.replace(file)
        return file
