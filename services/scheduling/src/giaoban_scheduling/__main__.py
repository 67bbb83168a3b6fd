# SPDX-License-Identifier: Apache-2.0
"""Owns the verbs of the scheduling process: serve, migrate, check-config."""

from giaoban_kit.run import main_cli

from giaoban_scheduling import main
from giaoban_scheduling.config import Config

if __name__ == "__main__":
    main_cli(Config, serve=main.serve, migrate=main.migrate)
