"""Each alarm from its cause: what is wrong, `btc alerts check`, and the message that arrives."""

from __future__ import annotations

import datetime as dt
import json
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import requests
from mlflow import MlflowClient
from sqlalchemy import delete, insert

from tasks.storage.database import alarms, transaction
from tests.flows import states
from tests.flows.states import btc
from tests.servers import prefect_server
from tests.simulation.days import FIRST_DAY, NAME
from tests.tasks.service.test_alerts import Mail, Receiver, smtp, webhook  # noqa: F401

pytestmark = [pytest.mark.server]
TODAY = dt.datetime.now(dt.UTC).date()


def set_newest_candle(home: Path, age: int) -> None:
    path = next(home.glob("snapshots/*/manifest.json"))
    facts = json.loads(path.read_text()) | {"as_of": (TODAY - dt.timedelta(days=age)).isoformat()}
    path.write_text(json.dumps(facts))


def registry(home: Path) -> MlflowClient:
    uri = f"sqlite:///{home / 'mlflow.db'}"
    return MlflowClient(uri, uri)


def reject_three(home: Path) -> None:
    [first] = registry(home).search_model_versions(f"name = '{NAME}'")
    for _ in range(3):
        tags = {"as_of": FIRST_DAY.isoformat(), "decision": "reject"}
        registry(home).create_model_version(NAME, str(first.source), first.run_id, tags)


def refresh_one(home: Path) -> None:
    registry(home).set_model_version_tag(NAME, "4", "decision", "refresh")


def leave_the_range(_home: Path) -> None:
    row = {"model": NAME, "as_of": FIRST_DAY, "kind": "coverage", "value": 0.7, "limit": 0.8}
    with transaction() as connection:
        connection.execute(insert(alarms).values(row | {"text": "the 90 % band held 70 %"}))


def come_back(_home: Path) -> None:
    with transaction() as connection:
        connection.execute(delete(alarms))


def lose_the_ledger(home: Path) -> None:
    shutil.copy(home / "ledger.db", home.parent / "kept.db")
    (home / "ledger.db").write_bytes(b"damaged" * 1000)
    for end in ("-wal", "-shm"):
        (home / f"ledger.db{end}").unlink(missing_ok=True)


def bring_the_ledger_back(home: Path) -> None:
    shutil.copy(home.parent / "kept.db", home / "ledger.db")


def let_candles_age(home: Path) -> None:
    set_newest_candle(home, 3)


def fetch_a_candle(home: Path) -> None:
    set_newest_candle(home, 1)


def resize(disk: Path, size: str) -> None:
    subprocess.run(["mount", "-o", f"remount,size={size}", str(disk)], check=True)


def fill(home: Path) -> None:
    resize(home.parent, "100m")


def free(home: Path) -> None:
    resize(home.parent, "2g")


@pytest.fixture
def told_home(
    small_disk: Path,
    prefect_api: str,
    shared_root: Path,
    webhook: str,  # noqa: F811
    smtp: str,  # noqa: F811
) -> Path:
    """A state with nothing wrong, on a disk of its own, whose champion was told of."""
    made = states.share("one-day", states.make_one_day, prefect_api, shared_root)
    home = small_disk / "home"
    states.copy_state(made, home)
    free(home)
    fetch_a_candle(home)
    btc("alerts", "add", "webhook", webhook)
    btc("alerts", "add", "email", "me@example.org", "--smtp", smtp)
    assert "alarm: the champion is now version 1 (promote)" in btc("alerts", "check")
    check_message(Receiver.got[-1][1]["text"], "the champion is now version 1", "rollback")
    return home


def check_message(text: str, what: str, todo: str) -> None:
    subject, first, why, do, *_ = text.splitlines()
    assert subject.startswith("btc-daily: ") and what in subject
    assert first[4] == "-" and what in first, text
    assert why.startswith("Why: ") and len(why) > 10, text
    assert do.startswith("What to do: ") and todo in do, text


@pytest.mark.parametrize(
    ("cause", "mend", "topic", "what", "todo"),
    [
        (let_candles_age, fetch_a_candle, "candle BTC/USD", "no fresh candle", "btc ingest"),
        (reject_three, refresh_one, "rejected BTC/USD", "new versions are rejected", "btc models"),
        (leave_the_range, come_back, "drift BTC/USD", "drift", "btc retrain"),
        (
            lose_the_ledger,
            bring_the_ledger_back,
            "server registry and ledger",
            "registry and ledger",
            "btc up",
        ),
        (fill, free, "disk", "the disk is nearly full", "btc clean --dry-run"),
    ],
)
def test_a_cause_is_told_once_on_both_channels_and_so_is_its_end(
    told_home: Path,
    cause: Callable[[Path], None],
    mend: Callable[[Path], None],
    topic: str,
    what: str,
    todo: str,
) -> None:
    Receiver.got, Mail.got = [], []
    assert btc("alerts", "check") == ""
    cause(told_home)
    assert btc("alerts", "check").startswith("alarm: ")
    assert btc("alerts", "check") == ""
    [(_, message)] = Receiver.got
    assert message["alarm"]["topic"] == topic
    check_message(message["text"], what, todo)
    [mail] = Mail.got
    assert f"Subject: btc-daily: {what}" in mail and "What to do: " in mail
    mend(told_home)
    assert btc("alerts", "check") == f"well again: {topic}\n"
    assert btc("alerts", "check") == ""
    assert f"well again: {topic}" in Receiver.got[1][1]["text"]
    assert len(Receiver.got) == len(Mail.got) == 2


def test_a_rollback_is_told_once(
    own_home: Path,
    prefect_api: str,
    shared_root: Path,
    webhook: str,  # noqa: F811
) -> None:
    made = states.share("five-days", states.make_five_days, prefect_api, shared_root)
    states.copy_state(made, own_home)
    btc("alerts", "add", "webhook", webhook)
    assert "the champion is now version 2" in btc("alerts", "check")
    Receiver.got = []
    btc("rollback", "--why", "odd bands")
    told = "alarm: the champion rolled back to version 1 (rollback) (odd bands)\n"
    assert btc("alerts", "check") == told
    assert btc("alerts", "check") == ""
    [(_, message)] = Receiver.got
    assert message["alarm"]["topic"] == "champion BTC/USD"
    check_message(message["text"], "rolled back to version 1", "btc rollback --why")
    assert "Why: odd bands" in message["text"]


@pytest.mark.soak
def test_runs_that_fail_or_do_not_begin_are_told_with_their_link_and_a_success_is_pinged(
    tmp_path: Path,
    own_home: Path,
    webhook: str,  # noqa: F811
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    btc("alerts", "add", "webhook", webhook)
    btc("alerts", "add", "ping", f"{webhook}/ping")
    with prefect_server(tmp_path / "prefect") as api:
        monkeypatch.setenv("PREFECT_API_URL", api)
        assert "worker does not answer" in btc("alerts", "check")  # no worker was ever heard of

        def post(path: str, body: dict[str, Any]) -> dict[str, Any]:
            reply = requests.post(f"{api}/{path}", json=body, timeout=30)
            reply.raise_for_status()
            return dict(reply.json())

        flow = post("flows/", {"name": "retrain"})["id"]
        deployed = {"flow_id": flow}
        deployed["deployment_id"] = post("deployments/", deployed | {"name": "daily"})["id"]

        def make(state: str, due: dt.timedelta) -> str:
            at = {"scheduled_time": (dt.datetime.now(dt.UTC) - due).isoformat()}
            first = {"type": "SCHEDULED", "state_details": at}
            made = str(post("flow_runs/", deployed | {"state": first})["id"])
            for kind in ("RUNNING", state) if state != "SCHEDULED" else ():
                said = {"type": kind, "name": kind.title(), "message": "it broke"}
                post(f"flow_runs/{made}/set_state", {"state": said, "force": True})
            return made

        for state in ("FAILED", "CRASHED"):
            run_id = make(state, dt.timedelta(minutes=1))
            assert btc("alerts", "check") == f"alarm: retrain {state.lower()} (it broke)\n"
            text = Receiver.got[-1][1]["text"]
            check_message(text, f"retrain {state.lower()}", "mend what the reason names")
            assert f"See: {api.removesuffix('/api')}/runs/flow-run/{run_id}" in text
            assert btc("alerts", "check") == ""
        make("COMPLETED", dt.timedelta(minutes=1))
        assert btc("alerts", "check") == "well again: run retrain\n"
        assert [path for path, _ in Receiver.got][-1].endswith("/ping")
        late = make("SCHEDULED", dt.timedelta(hours=2))
        assert btc("alerts", "check").startswith("alarm: retrain has not run")
        check_message(Receiver.got[-1][1]["text"], "retrain has not run", "btc up")
        requests.delete(f"{api}/flow_runs/{late}", timeout=30).raise_for_status()
        assert btc("alerts", "check") == "well again: overdue retrain\n"
        n_told = len(Receiver.got)
        assert btc("alerts", "check") == "" and len(Receiver.got) == n_told
        assert sum(path.endswith("/ping") for path, _ in Receiver.got) == 1
    assert "alarm: prefect does not answer" in btc("alerts", "check")
