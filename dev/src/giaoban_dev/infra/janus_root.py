# SPDX-License-Identifier: Apache-2.0
"""Owns where Janus comes from (the host's own package or a private root) and the sandbox its tools run in."""

import re
import shutil
import subprocess
from collections.abc import Sequence
from functools import cache
from pathlib import Path

from giaoban_dev.infra.errors import InfraError
from giaoban_dev.infra.paths import cache_dir

# Older ones lack security fixes and remote publishers.
MINIMUM_VERSION = (1, 4)
_SANDBOX_ID = "1000"


@cache
def janus_root() -> Path:
    """Return the root file system with Janus: `/` when the host's own is new enough, else the private one.

    Raises InfraError when there is neither.
    """
    private = cache_dir() / "janus-root"
    for root in (Path("/"), private):
        complete = (root / "usr/bin/janus").exists() and (root / "usr/bin/janus-pp-rec").exists()
        if complete and _version(root) >= MINIMUM_VERSION:
            return root
    raise InfraError(
        f"no Janus >= {'.'.join(map(str, MINIMUM_VERSION))}, neither on this host nor in {private}; run bin/setup"
    )


def _version(root: Path) -> tuple[int, ...]:
    shown = subprocess.run(
        [*sandbox(root, network=False), "--", "/usr/bin/janus", "--version"],
        capture_output=True,
        text=True,
        check=False,
        timeout=20,
    )
    found = re.search(r"(\d+)\.(\d+)\.(\d+)", shown.stdout)
    if found is None:
        raise InfraError(
            f"Janus in {root} does not start: {shown.stderr.strip() or 'it does not say its version'}\n"
            "It runs in a sandbox (bubblewrap) that needs user namespaces: in a container allow them (not in a chroot);"
            " where AppArmor keeps them from users (Ubuntu), set kernel.apparmor_restrict_unprivileged_userns=0"
        )
    return tuple(int(part) for part in found.groups())


def sandbox(
    root: Path, *, network: bool, writable: Sequence[Path] = (), readable: Sequence[Path] = ()
) -> list[str]:
    """Return the bubblewrap prefix that runs a program of `root`, read-only but for the `writable` directories.

    It sees no other process, no home directory, no environment of ours; it has no capabilities; it dies with
    us. The named directories appear inside under the same path as outside.
    """
    if shutil.which("bwrap") is None:
        raise InfraError("bubblewrap (bwrap) is missing; run bin/setup")
    argv = ["bwrap", "--die-with-parent", "--unshare-user", "--uid", _SANDBOX_ID, "--gid", _SANDBOX_ID]
    argv += ["--unshare-pid", "--as-pid-1", "--unshare-ipc", "--unshare-uts"]
    argv += [] if network else ["--unshare-net"]
    argv += ["--clearenv", "--setenv", "PATH", "/usr/bin", "--setenv", "HOME", "/tmp"]  # noqa: S108 a private tmpfs
    for name in ("usr", "etc"):
        argv += ["--ro-bind", str(root / name), f"/{name}"]
    for name in ("bin", "sbin", "lib", "lib64"):
        if (root / name).exists():
            argv += ["--symlink", f"usr/{name}", f"/{name}"]
    argv += ["--dev", "/dev", "--proc", "/proc", "--tmpfs", "/tmp"]  # noqa: S108 a private tmpfs
    for directory in readable:
        argv += ["--ro-bind", str(directory), str(directory)]
    for directory in writable:
        argv += ["--bind", str(directory), str(directory)]
    return [*argv, "--remount-ro", "/"]


def pp_rec_command(directory: Path) -> list[str]:
    """Return the prefix that runs janus-pp-rec on files in `directory` (absolute): no network, nothing else writable.

    Append its arguments, e.g. [*pp_rec_command(d), str(d / "a.mjr"), str(d / "a.webm")].
    """
    resolved = directory.resolve(strict=True)
    return [*sandbox(janus_root(), network=False, writable=[resolved]), "--", "/usr/bin/janus-pp-rec"]
