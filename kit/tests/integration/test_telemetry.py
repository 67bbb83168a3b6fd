# SPDX-License-Identifier: Apache-2.0
"""The HTTP port of a process, over a real socket."""

import asyncio
import urllib.error
import urllib.request

from giaoban_kit.config import ServiceConfig
from giaoban_kit.telemetry import Readiness, telemetry


def get(url: str) -> tuple[int, str]:
    try:
        with urllib.request.urlopen(url, timeout=5) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read().decode()


async def test_metrics_and_health_are_served() -> None:
    """Alive at once; ready when told; metrics in Prometheus' text format; nothing else."""
    readiness = Readiness()
    async with telemetry(ServiceConfig(service_name="test"), readiness) as port:
        base = f"http://127.0.0.1:{port}"
        assert (await asyncio.to_thread(get, f"{base}/healthz"))[0] == 200
        assert (await asyncio.to_thread(get, f"{base}/readyz"))[0] == 503
        readiness.set(True)
        assert (await asyncio.to_thread(get, f"{base}/readyz"))[0] == 200
        status, text = await asyncio.to_thread(get, f"{base}/metrics")
        assert status == 200
        assert "# HELP" in text
        assert (await asyncio.to_thread(get, f"{base}/"))[0] == 404
