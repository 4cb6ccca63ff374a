"""Days with real training, killed at random moments, compared with undisturbed ones."""

from __future__ import annotations

import collections
import hashlib
import random
import re
import signal
import subprocess
import time
from itertools import pairwise
from pathlib import Path
from typing import Any

import psutil
import pytest
from mlflow import MlflowClient
from mlflow.entities.model_registry import ModelVersion

from tasks.registry.versions import HOLDOUT
from tests.flows.conftest import QUICK
from tests.servers import BIN, btc, environment, prefect_server
from tests.simulation.days import NAME, Days, end_state, start_runner
from tests.simulation.runner import STAGES, START

pytestmark = [pytest.mark.server, pytest.mark.soak, pytest.mark.timeout(3600)]
N_DAYS = 15
SEED = 20090103
# What no two runs share: ids, addresses and seconds.
PASSING = re.compile(
    r"[0-9a-f]{8}(-?[0-9a-f]{4}){3}-?[0-9a-f]{12}|\d+(\.\d+)? s\b|\"seconds\"[^}]*}"
    r"|Seconds by stage.*?</dl>"
)


def draw_kills(began: dict[str, float], duration: float) -> list[list[tuple[str, float]]]:
    """For each day the kills, as stage and seconds after its begin: one in every stage, and others.

    The others are spread over the whole day, so that most of them fall where most time goes.
    """
    draw = random.Random(SEED)
    spans = {
        stage: (start, end)
        for stage, (start, end) in zip(began, pairwise([*began.values(), duration]), strict=True)
    }
    moments = [duration * (i + draw.random()) / N_DAYS for i in range(N_DAYS)]
    kills = [(stage, draw.uniform(0, end - start)) for stage, (start, end) in spans.items()]
    draw.shuffle(kills)
    for moment in moments:
        stage = max((start, stage) for stage, start in began.items() if start <= moment)[1]
        kills.append((stage, moment - spans[stage][0]))
    order = list(spans)
    return [
        # What was passed before a kill is not done again after it.
        sorted(kills[number::N_DAYS], key=lambda kill: (order.index(kill[0]), kill[1]))
        for number in range(N_DAYS)
    ]


def read_diary(diary: Path) -> dict[str, float]:
    """When each stage began, in seconds."""
    lines = [line.split() for line in diary.read_text().splitlines()]
    return {stage: float(seconds) for stage, seconds in lines}


def digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def model_id(version: ModelVersion) -> str:
    return str(version.source).removeprefix("models:/")


def contents(home: Path) -> dict[str, Any]:
    """What the versions, their runs and reports hold, bit for bit where no time or id is in it."""
    uri = f"sqlite:///{home / 'mlflow.db'}"
    client = MlflowClient(tracking_uri=uri, registry_uri=uri)
    found: dict[str, Any] = {}
    for version in client.search_model_versions(f"name = '{NAME}'"):
        run = client.get_run(str(version.run_id))
        folder = home / "mlartifacts" / NAME / "models" / model_id(version) / "artifacts"
        holdout = home / "mlartifacts" / NAME / str(version.run_id) / "artifacts" / HOLDOUT
        weights = [*sorted(folder.glob("artifacts/*/*")), *sorted(holdout.iterdir())]
        assert [path.name for path in weights] == 2 * ["recipe.json", "weights.npz"]
        scores = {k: v for k, v in run.data.metrics.items() if not k.startswith("seconds/")}
        found[f"version {version.version}"] = ([digest(path) for path in weights], scores)
    for path in sorted((home / "reports").rglob("*")):
        if path.suffix in (".parquet", ".svg"):
            found[str(path.relative_to(home))] = digest(path)
        elif path.is_file():
            text = path.read_text().replace(str(home), "")
            found[str(path.relative_to(home))] = PASSING.sub("", text)
    return found


def left_over(home: Path, name: str = NAME) -> list[str]:
    """Files of runs that were cut off, which nothing names any more."""
    uri = f"sqlite:///{home / 'mlflow.db'}"
    client = MlflowClient(tracking_uri=uri, registry_uri=uri)
    experiment = client.get_experiment_by_name(name)
    runs = client.search_runs([experiment.experiment_id])
    named = {run.info.run_id for run in runs}
    named |= {model_id(one) for one in client.search_model_versions(f"name = '{name}'")}
    kept = home / "mlartifacts" / name
    artifacts = (*kept.iterdir(), *(kept / "models").iterdir())
    found = [path for path in artifacts if path.name not in named | {"models"}]
    found += [*home.glob("work/*"), *home.rglob("*.tmp"), *home.rglob("*.part")]
    found += [*home.glob("locks/runs/*")]
    found += [path for path in home.glob("snapshots/*/") if not list(path.glob("man*"))]
    return sorted(str(path.relative_to(home)) for path in found)


def test_a_first_retrain_killed_on_its_way_leaves_no_server_and_completes(tmp_path: Path) -> None:
    """With the temporary Prefect server of the command, also while that makes its tables."""
    env = environment(tmp_path / "home")
    command = ["retrain", "--source", "sample", "--as-of", "2025-06-30", *QUICK]
    (tmp_path / "home").mkdir(mode=0o700)
    draw = random.Random(SEED)
    for moment in (draw.uniform(5 * i, 5 * i + 5) for i in range(5)):
        with (tmp_path / "out").open("w") as out:
            run = subprocess.Popen(
                [BIN / "btc", *command], env=env, cwd=tmp_path, stdout=out, stderr=out
            )
        time.sleep(moment)
        children = psutil.Process(run.pid).children(recursive=True)
        run.kill()
        assert run.wait() == -signal.SIGKILL, (tmp_path / "out").read_text()
        print(f"killed after {moment:.1f} s, with {len(children)} processes of its own")
        _, alive = psutil.wait_procs(children, 60)
        assert alive == []
    done = btc(*command, env=env, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    told = btc("doctor", env=env, cwd=tmp_path)
    assert told.stdout == "nothing found\n", told.stdout
    assert left_over(tmp_path / "home", f"{NAME}-synthetic") == []


def test_fifteen_days_killed_at_random_moments_end_as_undisturbed_ones(tmp_path: Path) -> None:
    with (
        prefect_server(tmp_path / "prefect") as api,
        start_runner(api, tmp_path / "log") as runner,
    ):
        diary = tmp_path / "diary"
        calm = Days(runner, tmp_path / "calm", train=True, diary=diary)
        for number in range(N_DAYS):
            began = time.monotonic()
            assert calm.run(number) == 0
            duration = time.monotonic() - began
        kills = draw_kills(read_diary(diary), duration)

        killed = Days(runner, tmp_path / "killed", train=True, diary=diary)
        hit: collections.Counter[str] = collections.Counter()
        for number in range(N_DAYS):
            for stage, seconds in kills[number]:
                status = killed.run(number, kill=(stage, seconds))
                assert status in (-signal.SIGKILL, 0), (tmp_path / "log").read_text()
                where = list(read_diary(diary))[-1] if status else "had ended"
                print(f"day {number}: killed {seconds:.2f} s after {stage} began, in {where}")
                hit[where] += 1
            assert killed.run(number) == 0, (tmp_path / "log").read_text()
    print({stage: hit[stage] for stage in (START, *STAGES, "had ended")})
    assert sum(hit.values()) - hit["had ended"] >= N_DAYS
    assert len(hit) > len(STAGES) // 2
    for part, value in end_state(calm.home).items():
        assert end_state(killed.home)[part] == value, part
    expected, found = contents(calm.home), contents(killed.home)
    assert list(found) == list(expected)
    for part, value in expected.items():
        assert found[part] == value, part
    assert left_over(calm.home) == []
    assert left_over(killed.home) == []
