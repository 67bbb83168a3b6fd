# SPDX-License-Identifier: Apache-2.0
"""`python -m giaoban_recording serve | ship | work | migrate | check-config`."""

from giaoban_kit.run import main_cli

from giaoban_recording import main
from giaoban_recording.config import Config

if __name__ == "__main__":
    main_cli(Config, serve=main.serve, migrate=main.migrate, more={"ship": main.ship, "work": main.work})
