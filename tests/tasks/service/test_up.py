"""`btc up` and every command of docs/operations.md, as they stand there."""

from __future__ import annotations

import json
import re
import shutil
import sqlite3
import subprocess
import threading
from http.server import ThreadingHTTPServer
from pathlib import Path

import pytest
import requests

from tests.flows import states
from tests.planted import find_planted
from tests.servers import REPO, btc, environment, free_port
from tests.service import btc_up
from tests.simulation.days import write_candles
from tests.tasks.service.test_alerts import Mail, Receiver

pytestmark = [pytest.mark.server, pytest.mark.timeout(900)]


def commands() -> list[str]:
    text = (REPO / "docs" / "operations.md").read_text()
    blocks = re.findall(r"```sh\n(.*?)```", text, flags=re.DOTALL)
    return [line for block in blocks for line in block.splitlines() if line.startswith("btc ")]


def test_the_page_of_operations_works_as_it_stands(
    tmp_path: Path, prefect_api: str, shared_root: Path
) -> None:
    import socketserver

    made = states.share("one-day", states.make_one_day, prefect_api, shared_root)
    home = tmp_path / "home"
    states.copy_state(made, home)
    Receiver.got, Receiver.status, Mail.got = [], 200, []
    receiver = ThreadingHTTPServer(("127.0.0.1", 0), Receiver)
    mail = socketserver.ThreadingTCPServer(("127.0.0.1", 0), Mail)
    for server in (receiver, mail):
        threading.Thread(target=server.serve_forever, daemon=True).start()
    hook, smtp = (f"127.0.0.1:{server.server_address[1]}" for server in (receiver, mail))
    placed = {
        "https://hooks.example.org": f"http://{hook}",
        "https://hc-ping.example.org": f"http://{hook}",
        "smtp://USER:PASSWORD@mail.example.org:587": f"smtp://{smtp}",
        "/backup/": f"{tmp_path}/",
    }
    asked = commands()
    started = "btc up --source exchange:bitstamp"
    asked.remove(started)
    with btc_up(home, "--source", f"csv:{write_candles(tmp_path / 'data', 0)}") as up:
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
    assert (tmp_path / "restored" / "mlflow.db").exists()
    shutil.rmtree(home)
    for server in (receiver, mail):
        server.shutdown()


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
