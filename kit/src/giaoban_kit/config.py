# SPDX-License-Identifier: Apache-2.0
"""Owns how configuration is read: once, in `main`, from the environment, into a frozen object."""

from pathlib import Path
from typing import TypeVar

from pydantic import Field, ValidationError
from pydantic_settings import BaseSettings, SettingsConfigDict

PREFIX = "GIAOBAN_"
MAX_SECRET_BYTES = 65536


class ConfigError(Exception):
    """The configuration cannot be used; the text names the variable and the remedy."""


class ServiceConfig(BaseSettings):
    """What every service needs. A service subclasses it with its own keys and its `service_name`."""

    model_config = SettingsConfigDict(
        env_prefix=PREFIX, env_nested_delimiter="__", frozen=True, extra="ignore", validate_default=True
    )

    service_name: str = Field(pattern=r"^[a-z][a-z-]{1,30}$")
    log_level: str = Field(default="info", pattern=r"^(debug|info|warning|error)$")
    grpc_listen: str = Field(default="127.0.0.1:0", pattern=r"^(.+:\d+|unix:.+)$")
    metrics_listen: str = Field(default="127.0.0.1:0", pattern=r"^.+:\d+$")
    nats_url: str = "nats://127.0.0.1:4222"
    nats_user: str | None = None
    nats_password_file: Path | None = None
    database_url: str = Field(default="postgresql:///giaoban", pattern=r"^postgresql://")
    database_password_file: Path | None = None
    database_pool_size: int = Field(default=10, ge=1, le=200)
    otlp_endpoint: str | None = None  # None: no traces leave the process
    trace_sample_ratio: float = Field(default=0.05, ge=0, le=1)
    service_key_file: Path | None = None  # PEM, Ed25519, private
    service_jwks_file: Path | None = None  # JSON: service name -> public JWK (RFC 8037)
    identity_target: str = "127.0.0.1:7001"
    scheduling_target: str = "127.0.0.1:7002"
    media_target: str = "127.0.0.1:7003"
    recording_target: str = "127.0.0.1:7004"
    notifications_target: str = "127.0.0.1:7005"


C = TypeVar("C", bound=ServiceConfig)


def load_config(config: type[C]) -> C:
    """Reads the environment.

    Raises: ConfigError naming each wrong variable; a value is never repeated, it may be a secret.
    """
    try:
        return config()
    except ValidationError as error:
        lines = [
            f"{PREFIX}{'__'.join(str(part) for part in found['loc']).upper()}: {found['msg']}"
            for found in error.errors(include_input=False, include_url=False)
        ]
        raise ConfigError("Correct these environment variables:\n" + "\n".join(lines)) from None


def read_secret(path: Path) -> str:
    """The content of a secret's file without the final line break.

    Raises: ConfigError if it cannot be read, is empty or implausibly large.
    """
    try:
        data = path.read_bytes()
    except OSError as error:
        raise ConfigError(f"Cannot read the secret file {path}: {error.strerror}.") from None
    if not data.strip() or len(data) > MAX_SECRET_BYTES:
        raise ConfigError(f"The secret file {path} must have 1 to {MAX_SECRET_BYTES} bytes.")
    return data.decode().rstrip("\r\n")


def check_secrets(config: ServiceConfig) -> None:
    """Reads every `*_file` that is set.

    Raises: ConfigError naming the file that cannot be read.
    """
    for name, value in config:
        if name.endswith("_file") and isinstance(value, Path):
            read_secret(value)
