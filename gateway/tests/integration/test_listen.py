# SPDX-License-Identifier: Apache-2.0
"""Where a gateway listens: alone, or together with others of the same machine."""

import pytest
from giaoban_gateway.config import Config
from giaoban_gateway.main import _listen
from giaoban_kit.config import ConfigError


def test_a_port_that_is_taken_is_said_so() -> None:
    """With the variable that names it; nobody shares a port by mistake."""
    with _listen(Config(http_listen="127.0.0.1:0")) as first:
        taken = f"127.0.0.1:{first.getsockname()[1]}"
        for reuse in (False, True):  # the first one has not agreed to it
            with pytest.raises(ConfigError, match=rf"GIAOBAN_HTTP_LISTEN: cannot listen on {taken}"):
                _listen(Config(http_listen=taken, http_reuse_port=reuse))


def test_gateways_that_agree_share_a_port() -> None:
    """Also over IPv6."""
    for host in ("127.0.0.1", "[::1]"):
        with _listen(Config(http_listen=f"{host}:0", http_reuse_port=True)) as first:
            again = Config(http_listen=f"{host}:{first.getsockname()[1]}", http_reuse_port=True)
            with _listen(again) as second:
                assert second.getsockname() == first.getsockname()
