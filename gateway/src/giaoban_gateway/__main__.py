# SPDX-License-Identifier: Apache-2.0
"""`python -m giaoban_gateway serve | migrate | check-config`."""

from giaoban_kit.run import main_cli

from giaoban_gateway import main
from giaoban_gateway.config import Config

if __name__ == "__main__":
    main_cli(Config, serve=main.serve, migrate=main.migrate)
