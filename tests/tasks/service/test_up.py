"""`btc up` and every command of docs/operations.md, as they stand there."""

from __future__ import annotations

import json
import os
import re
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import requests

from flows.cli.service import check_alarms
from models.errors import InputError, ServiceError
from tasks.service import processes, up
from tasks.service.processes import (
    Child,
    describe,
    read_state,
    start_child,
    state_path,
    stop_earlier,
)
from tests.flows import states
from tests.planted import find_planted
from tests.servers import REPO, btc, environment, free_port
from tests.service import btc_up
from tests.simulation.days import write_candles
from tests.tasks.service.test_alerts import (
    Mail,
    Receiver,
    mailing,
    make_certificate,
    receiving,
    webhook,  # noqa: F401
)
from tests.tasks.service.test_facts import failing_api  # noqa: F401

pytestmark = [pytest.mark.server, pytest.mark.timeout(900)]


def commands() -> list[str]:
    text = (REPO / "docs" / "operations.md").read_text()
    blocks = re.findall(r"```sh\n(.*?)```", text, flags=re.DOTALL)
    return [line for block in blocks for line in block.splitlines() if line.startswith("btc ")]


def test_the_page_of_operations_works_as_it_stands(
    tmp_path: Path, prefect_api: str, shared_root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = states.share("one-day", states.make_one_day, prefect_api, shared_root)
    home = tmp_path / "home"
    states.copy_state(made, home)
    certificate, context = make_certificate(tmp_path)
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
    asked = commands()
    started = "btc up --source exchange:bitstamp"
    asked.remove(started)
    with (
        receiving() as hook,
        mailing(context) as mail,
        btc_up(home, "--source", f"csv:{write_candles(tmp_path / 'data', 0)}") as up,
    ):
        placed = {
            "https://hooks.example.org": hook,
            "https://hc-ping.example.org": hook,
            "mail.example.org:587": mail,
            "/backup/": f"{tmp_path}/",
        }
        config = up.ask("/deployments/name/retrain/daily-retrain")["parameters"]["config"]
        assert config["source"].startswith("csv:")
        # Prefect's pages ask the server that shows them, whatever its port.
        settings = requests.get(f"{up.api.removesuffix('/api')}/ui-settings", timeout=30).json()
        assert settings["api_url"] == up.api
        second = btc("up", env=up.env, cwd=home)
        assert second.returncode == 0 and "runs already" in second.stdout
        ended = []
        for line in asked:
            for example, ours in placed.items():
                line = line.replace(example, ours)
            env = up.env
            if line.startswith("btc restore"):
                env = up.env | {"BTC_HOME": str(tmp_path / "restored")}
            done = btc(*line.split()[1:], env=env, cwd=home)
            # The candles of the state are of another day than today, which is an alarm.
            fine = (0, 1) if line.split()[1] in ("status", "doctor") else (0,)
            assert done.returncode in fine, (line, done.stdout, done.stderr)
            assert "Traceback" not in done.stderr
            ended.append((line, done.stdout))
            if line == "btc down":
                assert up.process.wait(120) == 0
        said = dict(ended)
        assert find_planted(home, up.said, *said.values()) == []
    assert json.loads(said["btc status --json"])["servers"] == {
        "prefect": True,
        "mlflow": True,
        "worker": True,
    }
    assert "ExecStart=" in said["btc up --print-unit"]
    assert "stopped: up" in said["btc down"]
    assert Receiver.got and Mail.got
    assert {safe for line, safe in Mail.commands if line.startswith("AUTH")} == {True}
    assert (tmp_path / "restored" / "mlflow.db").exists()
    shutil.rmtree(home)


def test_a_port_in_use_is_told_in_one_line(tmp_path: Path) -> None:
    import socket

    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = str(taken.getsockname()[1])
        env = environment(tmp_path)
        done = btc("up", "--prefect-port", port, env=env, cwd=tmp_path)
    assert done.returncode == 2
    assert f"127.0.0.1:{port} cannot be used" in done.stderr
    assert len(done.stderr.splitlines()) == 1


@pytest.mark.parametrize(
    ("file", "said"),
    [
        ("ledger.db", "was made by a newer release"),
        ("mlflow.db", "was made by a newer MLflow"),
        pytest.param("prefect/prefect.db", "made by another version", marks=pytest.mark.soak),
    ],
)
def test_a_database_of_a_newer_version_is_told_in_one_line(
    tmp_path: Path, file: str, said: str
) -> None:
    path = tmp_path / file
    path.parent.mkdir(exist_ok=True)
    with sqlite3.connect(path) as connection:
        connection.execute("CREATE TABLE alembic_version (version_num VARCHAR(32))")
        connection.execute("INSERT INTO alembic_version VALUES ('ffffffffffff')")
    connection.close()
    ports = ("--prefect-port", str(free_port()), "--mlflow-port", str(free_port()))
    env = environment(tmp_path, PREFECT_HOME=str(tmp_path / "prefect"))
    done = btc("up", *ports, env=env, cwd=tmp_path)
    assert done.returncode in (1, 2)
    assert said in done.stderr and len(done.stderr.splitlines()) == 1


def test_the_unit_is_one_that_systemd_takes_whatever_the_paths_hold(tmp_path: Path) -> None:
    home, prices = tmp_path / "my $tate", tmp_path / '100 % of "it".csv'
    prices.touch()
    env = environment(home, USER="root")
    asked = ("--source", f"csv:{prices}", "--symbols", "BTC/USD,ETH/USD")
    done = btc("up", "--print-unit", *asked, env=env, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert f'"csv:{tmp_path}/100 %% of \\"it\\".csv" --symbols BTC/USD,ETH/USD' in done.stdout
    assert f'Environment="BTC_HOME={home}"' in done.stdout
    if verify := shutil.which("systemd-analyze"):
        unit = tmp_path / "btc-daily.service"
        unit.write_text(done.stdout)
        checked = subprocess.run([verify, "verify", str(unit)], capture_output=True, text=True)
        assert (checked.returncode, checked.stderr) == (0, "")


@pytest.fixture
def watched(
    own_home: Path,
    failing_api: str,  # noqa: F811
    monkeypatch: pytest.MonkeyPatch,
) -> Iterator[up.Service]:
    """A `btc up` of one process, whose Prefect server answers each question with 500."""
    monkeypatch.setattr(up, "LOOK_SECONDS", 0)
    monkeypatch.setattr(up.signal, "signal", lambda *_: None)
    service = up.Service(up.Wanted(), said.append)
    said.clear()
    service.children = [start("import time; time.sleep(600)")]
    yield service
    service.stop()


said: list[str] = []


def start(script: str) -> Child:
    return start_child("worker", [sys.executable, "-c", script], dict(os.environ))


class Enough(BaseException):
    """What ends a watch in a test, as Ctrl-C does."""


def test_what_an_earlier_up_left_is_named_and_stopped_by_down(watched: up.Service) -> None:
    [child] = watched.children
    killed = {"children": {"worker": describe(child.process.pid)}}
    state_path().write_text(json.dumps(killed))
    left = rf"without stopping worker \(process {child.process.pid}\); `btc down` stops what is"
    with pytest.raises(InputError, match=left):
        up.Service(up.Wanted(), said.append).start()
    assert child.process.poll() is None
    assert stop_earlier() == ["worker"] and child.process.poll() is not None


def test_alarms_are_looked_at_also_where_prefect_fails(watched: up.Service) -> None:
    looks = []

    def look(gave_up: str) -> list[str]:
        looks.append(gave_up)
        raise Enough

    with pytest.raises(Enough):
        watched.watch(look)
    assert looks == [""] and any("did not answer /flows/filter" in line for line in said)


def test_giving_up_is_told_once_and_the_servers_stay_known(
    watched: up.Service,
    webhook: str,  # noqa: F811
) -> None:
    states.btc("alerts", "add", "webhook", webhook)
    watched.stop()
    for _ in range(2):
        watched.children = [start("")]
        with pytest.raises(ServiceError, match="worker ends again and again; see "):
            watched.watch(check_alarms)
        watched.stop()
        assert set((read_state() or {})["children"]) == {"worker"}
    assert sum("it is started again" in line for line in said) == up.RESTARTS
    told = [body["text"] for _, body in Receiver.got if "`btc up` has ended" in body["text"]]
    assert len(told) == 1 and "worker ends again and again" in told[0]


def test_what_cannot_be_started_again_is_tried_at_the_next_look(
    watched: up.Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    [child] = watched.children
    child.name = "mlflow"
    child.process.kill()
    child.process.wait()
    stopped: list[int] = []
    tries = 0

    def fail(*_: object) -> Child:
        nonlocal tries
        tries += 1
        if tries > 2 * up.RESTARTS:
            raise Enough
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(processes, "stop", stopped.append)
    monkeypatch.setattr(up, "start_child", fail)
    with pytest.raises(Enough):
        watched.watch(lambda _: [])
    assert any("No space left on device" in line for line in said)
    # Its number may be another process's by now.
    assert stopped == [child.process.pid]


def test_who_runs_is_written_when_the_disk_has_space_again(
    watched: up.Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    watched.unwritten = True
    tries: list[object] = []

    def write(_addresses: object, children: object) -> None:
        tries.append(children)
        if len(tries) < 3:
            raise OSError(28, "No space left on device")

    def look(*_: object) -> None:
        if len(tries) == 3 and not watched.unwritten:
            raise Enough

    monkeypatch.setattr(up, "write_state", write)
    monkeypatch.setattr(up.time, "sleep", look)
    with pytest.raises(Enough):
        watched.watch(lambda _: [])
    assert tries == [watched.children] * 3


def test_a_plan_that_fails_after_the_clock_was_set_back_is_made_at_the_next_look(
    watched: up.Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    plans: list[str] = []

    def deploy() -> None:
        plans.append("tried")
        if len(plans) == 1:
            raise ServiceError("prefect deploy failed")

    monkeypatch.setattr(watched, "_deploy", deploy)
    monkeypatch.setattr(watched, "_wait_for_plan", lambda: None)
    watched.clock += 3600
    with pytest.raises(ServiceError, match="deploy failed"):
        watched._mind_clock()
    for _ in range(2):
        watched._mind_clock()
    assert len(plans) == 2 and sum("was set back by 1:00:00" in line for line in said) == 1
