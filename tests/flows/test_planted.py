"""Passwords and keys of the settings are nowhere: not in what is stored, logged or said."""

from __future__ import annotations

import os
import sqlite3
import sys
from contextlib import closing
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from urllib.parse import quote

import pytest

from flows.cli.app import main
from tests.flows.conftest import Run
from tests.planted import MARK, find_planted, planted, planted_settings
from tests.servers import btc, environment

NOBODY = "127.0.0.1:9"


def every_row(database: Path) -> str:
    """All that a SQLite database holds, its log of changes too."""
    with closing(sqlite3.connect(database)) as connection:
        return "\n".join(connection.iterdump())


@pytest.mark.server
def test_a_retrain_that_ends_well_leaves_no_secret(
    sample_run: Run, shared_root: Path, prefect_api: str
) -> None:
    prefect = every_row(shared_root / "prefect.db")
    mlflow = every_row(sample_run.home / "mlflow.db")
    # The search finds what is there: these are the databases of that run.
    assert "Beginning flow run" in prefect and sample_run.summary["run_id"] in mlflow
    texts = (prefect, mlflow, sample_run.stdout, sample_run.stderr)
    assert find_planted(sample_run.home, *texts) == []


class Echo(BaseHTTPRequestHandler):
    """An exchange that repeats in its errors the keys that it was called with."""

    def do_GET(self) -> None:
        body = f'{{"error": "no market for {planted("exchange-key")} {planted("proxy")}"}}'
        self.send_response(403)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body.encode())

    def log_message(self, *_: object) -> None:
        pass


@pytest.mark.server
def test_a_run_that_fails_leaves_no_secret_in_prefects_log(
    tmp_path: Path, shared_root: Path, prefect_api: str
) -> None:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Echo)
    Thread(target=server.serve_forever, daemon=True).start()
    env = environment(
        tmp_path,
        **planted_settings(prefect_api),
        BTC_EXCHANGE_URL=f"http://127.0.0.1:{server.server_address[1]}",
    )
    done = btc("retrain", "--source", "exchange:bitstamp", env=env, cwd=tmp_path)
    server.shutdown()
    assert done.returncode == 1 and "no market for ***" in done.stderr
    prefect = every_row(shared_root / "prefect.db")
    assert "no market for ***" in prefect and "Traceback (most recent call last)" in prefect
    assert find_planted(tmp_path, prefect, done.stdout, done.stderr) == []


SECRET = planted("setting")
CODED = quote(SECRET, safe="")
BROKEN = [
    ("BTC_DATABASE_URL", f"postgresql://me:{SECRET}@{NOBODY}/x"),
    ("BTC_DATABASE_URL", f"postgresql://me:{CODED}@{NOBODY}/x?password={CODED}"),
    ("BTC_DATABASE_URL", f"postgresql://me:a:{SECRET}@{NOBODY}:y/x"),
    ("BTC_DATABASE_URL", f"postgresql://{NOBODY}/x?password={SECRET}&sslpassword={CODED}"),
    ("BTC_DATABASE_URL", f"postgres:/me:{SECRET}@{NOBODY}/x"),
    ("BTC_DATABASE_URL", f"mysql+nothing://me:{SECRET}@{NOBODY}/x"),
    ("BTC_DATABASE_URL", f"me:{SECRET}@{NOBODY}"),
    ("BTC_DATABASE_URL", f"postgresql://me:{SECRET} with a space@{NOBODY}/x"),
    ("MLFLOW_TRACKING_URI", f"http://me:{CODED}@{NOBODY}"),
    ("MLFLOW_TRACKING_URI", f"https://me:{SECRET}@{NOBODY}/x?token={CODED}"),
    ("MLFLOW_TRACKING_URI", f"postgresql+psycopg://me:{CODED}@{NOBODY}/x"),
    ("MLFLOW_TRACKING_URI", f"postgresql://me:a:{SECRET}@{NOBODY}:y/x"),
    ("MLFLOW_TRACKING_URI", f"databricks://me:{SECRET}@{NOBODY}"),
    ("MLFLOW_TRACKING_URI", f"http//me:{SECRET}@{NOBODY}"),
    ("BTC_EXCHANGE_URL", f"http://me:{SECRET}@{NOBODY}"),
    ("BTC_EXCHANGE_URL", f"http://{NOBODY}?key={SECRET}"),
    ("BTC_EXCHANGE_URL", f"ftp:me:{SECRET}@{NOBODY}"),
    ("BTC_STORE", f"ftp://me:{CODED}@{NOBODY}/x"),
    ("BTC_STORE", f"nothing://me:{SECRET}@{NOBODY}/x"),
    ("BTC_STORE", f"s3://me:{SECRET}@bucket/x"),
    ("BTC_ARCHIVE", f"nothing://me:{SECRET}@{NOBODY}/x"),
]


@pytest.mark.parametrize(("name", "value"), BROKEN)
def test_settings_that_cannot_be_used_are_told_without_their_secrets(
    name: str,
    value: str,
    own_home: Path,
    capfd: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for setting in ("MLFLOW_TRACKING_USERNAME", "MLFLOW_TRACKING_PASSWORD"):
        monkeypatch.setenv(setting, "x")  # So that what the command sets ends with the test.
    monkeypatch.setenv(name, value)
    command = {
        "BTC_DATABASE_URL": ["ledger"],
        "MLFLOW_TRACKING_URI": ["models"],
        "BTC_ARCHIVE": ["retrain", "--source", "sample"],
    }.get(name, ["ingest", "--source", "exchange:bitstamp", "--set", "attempts=1"])
    monkeypatch.setattr(sys, "argv", ["btc", *command])
    with pytest.raises(SystemExit) as ended:
        main()
    said = capfd.readouterr()
    assert ended.value.code in (1, 2)
    lines = said.err.splitlines()
    assert len(lines) == 1 and lines[0].startswith("btc: ") and len(lines[0]) < 500
    assert name in said.err or "exchange address" in said.err or "ledger" in said.err
    assert find_planted(said.out, said.err, own_home.parent) == []
    assert MARK not in said.err + said.out


def test_what_is_given_on_the_command_line_is_told_without_its_secrets(
    own_home: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    address = f"http://me:{SECRET}@{NOBODY}"
    for command in (
        ["retrain", "--exchange-url", address],
        ["retrain", "--set", f"cross_check_url={address}"],
        ["retrain", "--source", f"csv:{address}"],
        ["retrain", "--source", address],
        ["retrain", "--exogenous", f"mood={address}"],
        ["retrain", "--cell", address],
        ["retrain", f"--{address}"],
        [address],
        ["alerts", "add", "pigeon", address],
        ["alerts", "add", "email", "me@example.org", "--smtp", f"pop://me:{SECRET}@{NOBODY}"],
        ["alerts", "add", "webhook", f"ftp://me:{SECRET}@{NOBODY}"],
    ):
        monkeypatch.setattr(sys, "argv", ["btc", *command])
        with pytest.raises(SystemExit) as ended:
            main()
        said = capsys.readouterr()
        assert ended.value.code == 2, command
        assert find_planted(said.out, said.err) == [] and MARK not in said.err, said.err
    assert find_planted(own_home.parent) == []


def test_channels_alone_keep_their_secrets(
    own_home: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BTC_SMTP_URL", f"smtp://me:{CODED}@{NOBODY}")
    for command, code in (
        (["alerts", "add", "webhook", f"http://{NOBODY}/{SECRET}"], 0),
        (["alerts", "add", "email", "me@example.org"], 0),
        (["alerts", "add", "ping", f"http://me:{CODED}@{NOBODY}/x?token={CODED}"], 0),
        (["alerts", "list"], 0),
        (["alerts", "test"], 1),
        (["alerts", "check"], 0),
    ):
        monkeypatch.setattr(sys, "argv", ["btc", *command])
        with pytest.raises(SystemExit) as ended:
            main()
        said = capsys.readouterr()
        assert ended.value.code == code, said.err
        assert find_planted(said.out, said.err) == []
    [kept] = find_planted(own_home)
    assert kept.startswith(f"{own_home / 'alerts.json'}: ")
    assert (own_home / "alerts.json").stat().st_mode & 0o777 == 0o600


def test_an_error_that_nobody_expected_is_told_without_secrets(
    tmp_path: Path, own_home: Path
) -> None:
    code = (
        "from tasks.storage.home import prepare_libraries as p; p(); import os\n"
        "raise RuntimeError(os.environ['BTC_STORE'])"
    )
    import subprocess

    done = subprocess.run(
        [sys.executable, "-c", code],
        env=os.environ | {"BTC_STORE": f"ftp://me:{SECRET}@{NOBODY}/x"},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 1 and "RuntimeError: ftp://127.0.0.1:9/x" in done.stderr
    assert find_planted(done.stderr) == []
