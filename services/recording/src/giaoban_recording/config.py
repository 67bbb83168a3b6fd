# SPDX-License-Identifier: Apache-2.0
"""The configuration of recording's processes."""

from __future__ import annotations

from pathlib import Path

from giaoban_kit.config import ServiceConfig
from pydantic import Field


class Config(ServiceConfig):
    """Recording: capture control, shipping, composing, library."""

    service_name: str = "recording"
    object_store_url: str = Field(default="file:///var/lib/giaoban/objects", pattern=r"^(file|s3|gs|az)://")
    """Where tracks and composed files lie; credentials of S3 and others come from their own variables."""
    node_id: str = Field(default="", pattern=r"^[a-z0-9-]{0,31}$")
    """`ship`: the media node whose tracks this process ships."""
    node_recordings: Path = Path("/recordings")
    """`ship`: the folder into which that node writes them."""
    pp_rec_command: tuple[str, ...] = ("janus-pp-rec",)
    """`work`: the command that unpacks a track, sandbox included; the two file names are appended."""
    work_directory: Path = Path("/tmp")  # noqa: S108 - a container's own; the chart gives a volume
    """`work`: where temporary files go; needs room for the tracks of one recording three times over."""
    threads: int = Field(default=2, ge=1, le=64)
    """`work`: threads for composing."""
