# SPDX-License-Identifier: Apache-2.0
"""Owns the configuration of notifications; every key has a default that works on the local stack."""

from datetime import timedelta
from pathlib import Path
from typing import Literal

from giaoban_kit.config import ServiceConfig
from pydantic import Field


class Config(ServiceConfig):
    """Keys `GIAOBAN_*`; durations as ISO 8601 ("PT5M") or seconds."""

    service_name: str = "notifications"
    # Where people open the web application; links in letters begin with it.
    public_url: str = Field(default="http://127.0.0.1:8080", pattern=r"^https?://[^\s]+[^/\s]$")

    smtp_host: str = "127.0.0.1"
    smtp_port: int = Field(default=1025, ge=1, le=65535)
    smtp_tls: Literal["none", "starttls", "tls"] = "none"
    smtp_user: str | None = None
    smtp_password_file: Path | None = None
    smtp_timeout: timedelta = Field(default=timedelta(seconds=20), gt=timedelta(), le=timedelta(seconds=50))
    mail_from: str = Field(default="giaoban@localhost", pattern=r"^[^@\s<>]+@[^@\s<>]+$", max_length=254)
    mail_from_name: str = Field(default="Giao ban", max_length=100)

    # 30 s, 1 min, 2 min … 1 h: fifteen attempts are about nine hours, a night's outage of a mail server.
    mail_first_delay: timedelta = Field(default=timedelta(seconds=30), gt=timedelta())
    mail_max_delay: timedelta = Field(default=timedelta(hours=1), gt=timedelta())
    mail_max_attempts: int = Field(default=15, ge=1, le=100)
    # How often the worker looks when nothing woke it.
    mail_poll: timedelta = Field(default=timedelta(seconds=1), gt=timedelta())
