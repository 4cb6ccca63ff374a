"""What `btc status` and the alarms look at."""

from __future__ import annotations

import datetime as dt
import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from typer.testing import CliRunner

from flows.cli.app import app
from tasks.service import facts
from tasks.service.facts import gather_facts, served_symbols
from tasks.storage import snapshots
from tests.flows.states import btc
from tests.tasks.service.test_alerts import Receiver, webhook  # noqa: F401
from tests.tasks.storage.test_snapshots import MANIFEST, write_manifest


class Failing(BaseHTTPRequestHandler):
    """A Prefect server that says it is well, and whose database is gone."""

    def do_GET(self) -> None:
        self.send_response(200 if self.path == "/api/health" else 500)
        self.end_headers()

    do_POST = do_GET

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def failing_api(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """Its address, as PREFECT_API_URL."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), Failing)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    address = f"http://127.0.0.1:{server.server_address[1]}/api"
    monkeypatch.setenv("PREFECT_API_URL", address)
    yield address
    server.shutdown()


def serve(home: Path, config: str) -> None:
    path = home / "service" / "prefect.yaml"
    path.parent.mkdir(parents=True, exist_ok=True)
    deployment = f"{{parameters: {{config: {config}}}}}"
    path.write_text(f"deployments: [{deployment}, {deployment}]")


def keep_snapshot(home: Path, symbol: str, day: dt.date) -> None:
    manifest = MANIFEST | {"symbol": symbol, "as_of": day.isoformat()}
    write_manifest(home, f"{symbol[0]}{day}", json.dumps(manifest).encode())


@pytest.mark.parametrize(
    ("config", "symbols"),
    [
        ("{}", ("BTC/USD",)),
        ("{symbol: ETH/USD}", ("ETH/USD",)),
        ("{symbols: [XRP/USD, BTC/USD]}", ("XRP/USD", "BTC/USD")),
    ],
)
def test_the_symbols_that_up_was_started_for(
    own_home: Path, config: str, symbols: tuple[str, ...]
) -> None:
    assert served_symbols() == ("BTC/USD",)
    serve(own_home, config)
    assert served_symbols() == symbols


def test_a_prefect_that_fails_and_says_it_is_well_is_told_and_other_alarms_too(
    own_home: Path,
    failing_api: str,
    webhook: str,  # noqa: F811
) -> None:
    btc("alerts", "add", "webhook", webhook)
    keep_snapshot(own_home, "BTC/USD", dt.date(2024, 1, 5))
    found = gather_facts()
    assert found.servers["prefect"] is False and found.runs == () and found.disk_bytes
    said = btc("alerts", "check")
    assert "alarm: prefect does not answer" in said and "alarm: no fresh candle" in said
    assert {body["alarm"]["topic"] for _, body in Receiver.got} == {
        "server prefect",
        "candle BTC/USD",
    }
    shown = CliRunner().invoke(app, ["status"], catch_exceptions=False)
    assert shown.exit_code == 1 and "2024-01-05" in shown.output


def test_the_snapshots_are_looked_at_once_for_all_symbols(
    own_home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    days = {symbol: dt.date(2024, 1, day) for day, symbol in enumerate(("A/USD", "B/USD"), 1)}
    serve(own_home, f"{{symbols: [{', '.join(days)}, NEW/USD]}}")
    for symbol, day in days.items():
        keep_snapshot(own_home, symbol, day - dt.timedelta(days=1))
        keep_snapshot(own_home, symbol, day)
    looks = 0

    def count() -> object:
        nonlocal looks
        looks += 1
        return read()

    read = snapshots.read_manifests
    monkeypatch.setattr(snapshots, "read_manifests", count)
    newest = {known.symbol: known.newest_candle for known in facts.gather_facts().symbols}
    assert newest == days | {"NEW/USD": None} and looks == 1
