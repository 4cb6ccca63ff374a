"""What no engine runs here: the build lines of the Dockerfile and the commands of kubernetes.yaml.

They run as processes, with this machine's Python in the place of the base image's.
"""

from __future__ import annotations

import json
import os
import shlex
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import requests
import yaml

from tests.deploy.compose import DEPLOY
from tests.servers import BIN, REPO, environment, free_port, prefect_server, running

pytestmark = [pytest.mark.server, pytest.mark.soak, pytest.mark.timeout(900)]


def build_lines() -> Iterator[tuple[str, str]]:
    """The instructions of the first stage, as word and rest."""
    text = (DEPLOY / "Dockerfile").read_text().replace("\\\n", " ")
    stage = text.partition("\nFROM ")[2].partition("\nFROM ")[0]
    for line in stage.splitlines()[1:]:
        word, _, rest = line.partition(" ")
        if word and not word.startswith("#"):
            yield word, rest


def copy(names: list[str], target: str, app: Path) -> None:
    for name in names:
        place = app / name if target == "./" else app / target
        place.parent.mkdir(parents=True, exist_ok=True)
        if (REPO / name).is_dir():
            skip = shutil.ignore_patterns("__pycache__")
            shutil.copytree(REPO / name, place, ignore=skip, dirs_exist_ok=True)
        else:
            shutil.copy(REPO / name, place)


def test_the_lines_of_the_build_stage_make_a_program_without_an_installer(tmp_path: Path) -> None:
    app, build = tmp_path / "app", tmp_path / "build"
    app.mkdir()
    env = {key: value for key, value in os.environ.items() if key != "VIRTUAL_ENV"}
    env["PATH"] = f"{Path(sys.executable).parent}:{env['PATH']}"
    done: list[str] = []
    for word, rest in build_lines():
        if word == "ENV":
            for pair in shlex.split(rest.replace("/build", str(build))):
                name, _, value = pair.partition("=")
                env[name] = value.replace("$PATH", env["PATH"])
        elif word == "COPY":
            *names, target = rest.split()
            copy(names, target, app)
        elif word == "RUN":
            line = rest.replace("/build/", f"{build}/").replace("venv /build", f"venv {build}")
            ran = subprocess.run(
                ["bash", "-euo", "pipefail", "-c", line],
                cwd=app, env=env, capture_output=True, text=True, timeout=600,
            )  # fmt: skip
            assert ran.returncode == 0, f"{line}\n{ran.stderr[-2000:]}"
        else:
            assert word in ("SHELL", "WORKDIR"), word
        done.append(word)
    assert done.count("RUN") == 3 and done.count("COPY") == 6
    programs = {path.name for path in (app / ".venv" / "bin").iterdir()}
    assert {"btc", "prefect", "mlflow"} <= programs
    assert not {name for name in programs if name.startswith(("pip", "uv"))} - {"uvicorn"}
    (tmp_path / "home").mkdir()
    own = environment(tmp_path / "home")
    own.pop("PYTHONPATH", None)
    code = "import flows.retrain, s3fs, psycopg, prefect_kubernetes; print(flows.__file__)"
    for command, said in ((["python", "-c", code], str(app)), (["btc", "--help"], "retrain")):
        ran = subprocess.run(
            [app / ".venv" / "bin" / command[0], *command[1:]],
            cwd=tmp_path, env=own, capture_output=True, text=True, timeout=300,
        )  # fmt: skip
        assert ran.returncode == 0 and said in ran.stdout, ran.stderr[-2000:]


def test_the_cluster_s_commands_make_its_pool_and_a_worker_that_is_well(tmp_path: Path) -> None:
    [pod] = [
        item["spec"]["template"]["spec"]
        for item in yaml.safe_load_all((DEPLOY / "kubernetes.yaml").read_text())
        if item["kind"] == "Deployment"
    ]
    home = tmp_path / "home"
    home.mkdir()
    with prefect_server(tmp_path / "prefect") as api:
        port = free_port()
        env = environment(
            home, PREFECT_API_URL=api, PATH=f"{BIN}:{os.environ['PATH']}",
            PREFECT_WORKER_WEBSERVER_PORT=str(port),
        )  # fmt: skip
        [first] = pod["initContainers"]
        command = [word.replace("/app/", f"{REPO}/") for word in first["command"]]
        for _ in range(2):  # at every start of the pod
            ran = subprocess.run(command, env=env, capture_output=True, text=True, timeout=120)
            assert ran.returncode == 0, ran.stdout + ran.stderr
        pool: dict[str, Any] = requests.get(f"{api}/work_pools/btc", timeout=30).json()
        assert pool["type"] == "kubernetes"
        assert pool["base_job_template"] == json.loads((DEPLOY / "work-pool.json").read_text())
        found = requests.post(f"{api}/deployments/filter", json={}, timeout=30).json()
        assert {one["name"] for one in found} == {"daily-retrain", "daily-forecast"}
        [worker] = pod["containers"]
        command = [str(BIN / worker["command"][0]), *worker["command"][1:]]
        log = tmp_path / "worker.log"
        with running(command, env=env, cwd=home, log=log):
            deadline = time.monotonic() + 120
            while not _is_well(api, port):
                assert time.monotonic() < deadline, log.read_text()[-2000:]
                time.sleep(1)


def _is_well(api: str, port: int) -> bool:
    """Whether the worker answers the probe of its pod, and the server has heard of it."""
    try:
        probe = requests.get(f"http://127.0.0.1:{port}/health", timeout=5)
    except requests.RequestException:
        return False
    asked = f"{api}/work_pools/btc/workers/filter"
    workers = requests.post(asked, json={}, timeout=30).json()
    return probe.ok and [worker["status"] for worker in workers] == ["ONLINE"]
