"""Every command line of compose.yaml as a process of this machine, on one PostgreSQL server."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import psycopg
import pytest
import requests
import yaml

from tests.deploy.compose import DEPLOY, REQUIRED, Machine, image_health, read_compose
from tests.servers import BIN, REPO, btc, running

pytestmark = [pytest.mark.server, pytest.mark.soak, pytest.mark.timeout(1500)]
PREFECT_LOGIN = ("admin", REQUIRED["PREFECT_AUTH"].removeprefix("admin:"))
MLFLOW_LOGIN = ("admin", REQUIRED["MLFLOW_PASSWORD"])
DAY = "2025-06-30"
QUICK = {"units": 4, "lookback": 10, "horizon": 2, "training": {"epochs": 2}}


def is_healthy(env: dict[str, str]) -> bool:
    check = image_health()
    return subprocess.run(check, env=env, capture_output=True).returncode == 0


def wait_until_healthy(env: dict[str, str], log: Path) -> None:
    deadline = time.monotonic() + 120
    while not is_healthy(env):
        assert time.monotonic() < deadline, log.read_text()[-3000:]
        time.sleep(1)


@pytest.fixture(scope="module")
def machine(postgres_url: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Machine]:
    """The servers, the deployments and one worker, all on one PostgreSQL server."""
    machine = Machine(tmp_path_factory.mktemp("deploy"), postgres_url)
    with psycopg.connect(postgres_url, autocommit=True) as connection:
        connection.execute("CREATE DATABASE btc")
        for line in (DEPLOY / "databases.sql").read_text().splitlines():
            if line.startswith("CREATE"):
                connection.execute(line)
    ready = read_compose(REQUIRED)["services"]["postgres"]["healthcheck"]["test"][1:]
    postgres = machine.environment("worker", "state")
    assert subprocess.run(ready, env=postgres, capture_output=True).returncode == 0
    with ExitStack() as stack:

        def start(service: str, home: str) -> dict[str, str]:
            env, log = machine.environment(service, home), machine.folder / f"{service}.log"
            command = machine.command(service)
            command[0] = str(BIN / command[0])
            assert not is_healthy(env)
            stack.enter_context(running(command, env=env, cwd=machine.folder, log=log))
            return env

        servers = {name: start(name, name) for name in ("prefect", "mlflow")}
        for name, env in servers.items():
            wait_until_healthy(env, machine.folder / f"{name}.log")
        env = machine.environment("deployments", "state")
        for _ in range(2):  # Compose runs it at every start.
            done = subprocess.run(
                machine.command("deployments"), env=env, capture_output=True, text=True, timeout=120
            )
            assert done.returncode == 0, done.stdout + done.stderr
        wait_until_healthy(start("worker", "state"), machine.folder / "worker.log")
        yield machine


def test_nobody_gets_in_without_a_password(machine: Machine) -> None:
    prefect = f"http://127.0.0.1:{machine.prefect}"
    logins: list[tuple[tuple[str, str] | None, int]]
    logins = [(None, 401), (("admin", "guess"), 401), (PREFECT_LOGIN, 200)]
    for login, status in logins:
        found = requests.post(f"{prefect}/api/flows/filter", auth=login, json={}, timeout=10)
        assert found.status_code == status
    # The UI's page holds no data; it is told to ask for the password.
    assert requests.get(f"{prefect}/ui-settings", timeout=10).json()["auth"] == "BASIC"
    mlflow = f"http://127.0.0.1:{machine.mlflow}"
    for login, status in [*logins[:2], (MLFLOW_LOGIN, 200)]:
        for path in ("/", "/api/2.0/mlflow/experiments/search?max_results=1"):
            assert requests.get(mlflow + path, auth=login, timeout=10).status_code == status


def test_deployments_come_from_a_file_of_the_user_s_own(machine: Machine, tmp_path: Path) -> None:
    for name in ("deploy", "flows", "models", "tasks"):
        (tmp_path / name).symlink_to(REPO / name)
    own = yaml.safe_load((REPO / "prefect.yaml").read_text())
    wanted = {"source": "exchange:kraken", "symbols": ["BTC/USD", "ETH/USD"]}
    for deployment in own["deployments"]:
        deployment["parameters"]["config"] = wanted
    (tmp_path / "prefect.yaml").write_text(yaml.safe_dump(own))
    [mounted] = [v for v in _volumes(BTC_DEPLOYMENTS="./mine.yaml") if "prefect.yaml" in v]
    assert mounted == "./mine.yaml:/app/prefect.yaml:ro"
    assert "../prefect.yaml:/app/prefect.yaml:ro" in _volumes()
    command = machine.command("deployments")
    command[1] = str(tmp_path / "deploy" / "deployments")
    env = machine.environment("deployments", "state")
    done = subprocess.run(command, env=env, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stdout + done.stderr
    address = f"http://127.0.0.1:{machine.prefect}/api/deployments/filter"
    found = requests.post(address, auth=PREFECT_LOGIN, json={}, timeout=10).json()
    assert {one["name"]: one["parameters"]["config"] for one in found} == {
        "daily-retrain": wanted, "daily-forecast": wanted,
    }  # fmt: skip


def _volumes(**values: str) -> list[str]:
    found: list[str] = read_compose(REQUIRED | values)["services"]["deployments"]["volumes"]
    return found


def test_a_wrong_password_is_told_in_one_line_before_any_work(machine: Machine) -> None:
    env = machine.environment("worker", "stranger")
    for change, said in (
        ({"MLFLOW_TRACKING_PASSWORD": "guess-guess-guess"}, "does not know this user"),
        ({"PREFECT_API_AUTH_STRING": "admin:guess"}, "PREFECT_API_AUTH_STRING"),
    ):
        done = btc(
            "retrain", "--source", "sample", "--as-of", DAY, env=env | change, cwd=machine.folder
        )
        assert (done.returncode, len(done.stderr.splitlines())) == (2, 1), done.stderr
        assert said in done.stderr
        assert not any(word in done.stderr for word in ("guess", "made-up"))
