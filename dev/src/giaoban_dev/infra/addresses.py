# SPDX-License-Identifier: Apache-2.0
"""Owns which addresses this machine (or network namespace) has."""

import json
import subprocess


def own_addresses() -> list[str]:
    """Return this machine's IPv4 addresses of global scope, in the kernel's order."""
    shown = subprocess.run(
        ["ip", "-json", "-4", "address", "show", "up"], capture_output=True, text=True, check=True
    )
    return [
        info["local"]
        for link in json.loads(shown.stdout)
        for info in link.get("addr_info", ())
        if info.get("scope") == "global"
    ]
