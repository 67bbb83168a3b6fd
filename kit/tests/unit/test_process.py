# SPDX-License-Identifier: Apache-2.0
"""Configuration, logging, and the verbs of a process."""

import io
import json
import logging
import os
import signal
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import structlog
from giaoban_kit.config import ConfigError, ServiceConfig, load_config, read_secret
from giaoban_kit.ids import new_id
from giaoban_kit.logging import REDACTED, configure_logging, get_logger
from giaoban_kit.run import main_cli, until_signalled
from giaoban_kit.telemetry import span
from giaoban_kit.testing.keys import UserTokens
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter


class Config(ServiceConfig):
    service_name: str = "notes"
    limit: int = 5


@pytest.fixture
def lines() -> Iterator[io.StringIO]:
    """What the process writes; logging is as before afterwards."""
    root = logging.getLogger()
    handlers, level = list(root.handlers), root.level
    stream = io.StringIO()
    configure_logging("notes", "info", stream)
    yield stream
    root.handlers, root.level = handlers, level
    structlog.reset_defaults()
    structlog.contextvars.clear_contextvars()


class TestConfig:
    def test_it_reads_the_environment_once_and_stays(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Keys have working defaults, come from GIAOBAN_*, and cannot be changed afterwards."""
        monkeypatch.setenv("GIAOBAN_LIMIT", "7")
        config = load_config(Config)
        assert (config.service_name, config.limit, config.otlp_endpoint) == ("notes", 7, None)
        with pytest.raises(ValueError, match="frozen"):
            setattr(config, "limit", 8)  # noqa: B010  (mypy knows that it cannot)

    def test_a_wrong_value_is_named_but_not_repeated(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Variable and remedy, never the value."""
        monkeypatch.setenv("GIAOBAN_LIMIT", "hunter2")
        monkeypatch.setenv("GIAOBAN_DATABASE_URL", "mysql://root:hunter2@db")
        with pytest.raises(ConfigError) as wrong:
            load_config(Config)
        assert "GIAOBAN_LIMIT" in str(wrong.value)
        assert "GIAOBAN_DATABASE_URL" in str(wrong.value)
        assert "hunter2" not in str(wrong.value)

    def test_secrets_come_from_files(self, tmp_path: Path) -> None:
        """The final line break is not part of it; missing and empty files are named."""
        path = tmp_path / "password"
        path.write_text("s3cret \n")
        assert read_secret(path) == "s3cret "
        path.write_text("\n")
        for wrong in (path, tmp_path / "missing"):
            with pytest.raises(ConfigError, match=wrong.name):
                read_secret(wrong)


class TestLogging:
    def test_a_line_is_json_with_event_and_keys(
        self, lines: io.StringIO, spans: InMemorySpanExporter
    ) -> None:
        """Event, level, time, service, and the trace of the current span."""
        with span("work") as current:
            get_logger("giaoban").info("meeting_cancelled", meeting_id="01J", place="Đà Nẵng")
        line = json.loads(lines.getvalue())
        assert line["event"] == "meeting_cancelled"
        assert (line["level"], line["service"], line["place"]) == ("info", "notes", "Đà Nẵng")
        assert line["trace_id"] == f"{current.get_span_context().trace_id:032x}"
        assert line["timestamp"].endswith("Z")

    def test_secrets_never_reach_a_line(self, lines: io.StringIO) -> None:
        """By key, by shape, nested, in messages of libraries and in tracebacks."""
        token = UserTokens().token()
        log = get_logger("giaoban")
        log.info(
            "one", access_token="opaque-a", sdp="v=0 opaque-a", nested={"Cookie": "opaque-a", "list": [token]}
        )
        log.info(
            "two", note=f"bearer {token}", who="an.nguyen@hcm.example.vn", url="nats://user:opaque-a@host"
        )
        structlog.contextvars.bind_contextvars(ticket="opaque-a")
        logging.getLogger("library").warning("sent %s to %s", token, "an@hcm.example.vn")
        try:
            int(f"an@hcm.example.vn with {token}")
        except ValueError:
            log.exception("three", body=b"opaque-a")
        text = lines.getvalue()
        for secret in (token, token.split(".")[2], "opaque-a", "hcm.example.vn"):
            assert secret not in text
        events = [json.loads(line) for line in text.splitlines()]
        assert [event["event"] for event in events][0::3] == ["one", "three"]
        assert events[0]["access_token"] == REDACTED
        assert "ValueError" in events[3]["exception"]
        assert events[2]["logger"] == "library"

    def test_ordinary_values_stay_readable(self, lines: io.StringIO) -> None:
        """Identifiers, subjects and addresses of servers are not mistaken for secrets."""
        values = {
            "id": new_id(),
            "subject": "giaoban.media.v1.room.moved.01J",
            "url": "nats://127.0.0.1:4222",
            "n": 1.5,
        }
        get_logger("giaoban").info("plain", **values)
        assert values.items() <= json.loads(lines.getvalue()).items()


class TestVerbs:
    @pytest.fixture(autouse=True)
    def _logging_stays(self, lines: io.StringIO) -> None:
        """main_cli configures logging; `lines` puts it back."""

    def test_serve_runs_on_the_configuration(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """The verb gets the loaded object."""
        seen: list[Config] = []

        async def serve(config: Config) -> None:
            seen.append(config)

        monkeypatch.setattr(sys, "argv", ["notes", "serve"])
        main_cli(Config, serve=serve)
        assert seen[0].service_name == "notes"

    def test_check_config_shows_it_without_secrets(
        self, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ) -> None:
        """The configuration is printed; a password in an address is not."""
        monkeypatch.setattr(sys, "argv", ["notes", "check-config"])
        monkeypatch.setenv("GIAOBAN_DATABASE_URL", "postgresql://notes:hunter2@db/notes")
        main_cli(Config, serve=_never)
        out = capsys.readouterr().out
        assert json.loads(out)["limit"] == 5
        assert "hunter2" not in out

    def test_a_missing_secret_file_ends_with_status_2(
        self, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ) -> None:
        """check-config fails before a rollout does."""
        monkeypatch.setattr(sys, "argv", ["notes", "check-config"])
        monkeypatch.setenv("GIAOBAN_NATS_PASSWORD_FILE", "/nowhere/password")
        with pytest.raises(SystemExit) as ended:
            main_cli(Config, serve=_never)
        assert ended.value.code == 2
        assert "/nowhere/password" in capsys.readouterr().err

    def test_a_signal_ends_the_wait(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """SIGTERM lets the exit stack unwind."""
        ended: list[bool] = []

        async def serve(_config: Config) -> None:
            import asyncio

            asyncio.get_running_loop().call_later(0.05, os.kill, os.getpid(), signal.SIGTERM)
            await until_signalled()
            ended.append(True)

        monkeypatch.setattr(sys, "argv", ["notes", "serve"])
        main_cli(Config, serve=serve)
        assert ended == [True]


async def _never(_config: Config) -> None:
    raise AssertionError
