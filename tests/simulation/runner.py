"""Runs daily retrains in child processes, one a day, on a simulated clock; kills some on the way.

The parent imports everything once and forks before TensorFlow runs. It reads a job a line, as JSON,
and answers with the child's exit status. A job may name a point at which the child kills itself
with SIGKILL: "after STAGE", or "in STAGE" (a place inside it, see INSIDE); or a stage and the
seconds after its begin, also from another thread. Several children may do the same day at once.
"""

from __future__ import annotations

import datetime as dt
import functools
import importlib
import json
import os
import signal
import sys
import threading
import time
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

# Where each "in" point lies: the function inside the stage that is run, and then no more.
INSIDE = {
    "in ingest": "tasks.ingest.write_frame",
    "in validate": "tasks.validate.check_candles",
    "in snapshot": "tasks.snapshot.write_frame",
    "in recall": "tasks.recall.find_by_key",
    "in recall, run opened": "tasks.recall.open_retrain",
    "in scale": "tasks.scale.prepare",
    "in window": "tasks.window.check_windows",
    "in train": "tasks.train.fit_forecaster",
    "in evaluate": "tasks.evaluate.write_frame",
    "in refit": "tasks.refit.fit_forecaster",
    "in register": "tasks.register._log_dataset",
    "in register, model logged": "tasks.register.digest_model",
    "in register, version there": "tasks.register._register_version",
    "in rival": "tasks.rival.find_champion",
    "in decide": "tasks.decide.decide",
    "in decide, decided": "tasks.decide._publish",
    "in report": "tasks.report._write_report",
    "in promote, move begun": "tasks.registry.aliases._add_history",
    "in promote, alias moved": "tasks.promote.move_champion",
    "in forecast": "tasks.forecast.load_version",
    "in forecast, stored": "tasks.forecast.record_forecasts",
    "in score, not committed": "tasks.storage.ledger.score_forecasts",
    "in score": "tasks.score.score_due",
    "in page, run described": "tasks.page._describe_run",
    "in clean": "tasks.clean.clean_up",
}
# The stages in their order, and the names of their functions where they differ.
STAGES = {
    "ingest": "ingest",
    "validate": "validate",
    "snapshot": "snapshot",
    "recall": "recall",
    "scale": "scale",
    "window": "window",
    "train": "train",
    "evaluate": "evaluate",
    "refit": "refit",
    "register": "register",
    "rival": "rival",
    "decide": "decide_on",
    "report": "report",
    "promote": "promote",
    "forecast": "forecast_with_champion",
    "score": "score",
    "page": "page",
    "clean": "clean",
}
# What comes before the first stage, in the diary of a day.
START = "start"
# What a day imports late; once in the parent is cheaper than in every child.
PRELOADED = (
    "flows.retrain",
    "alembic.command",
    "git",
    "mlflow.pyfunc",
    "mlflow.store.tracking.sqlalchemy_store",
    "mlflow.store.model_registry.sqlalchemy_store",
    "mlflow.tracing.provider",
    "opentelemetry.sdk.trace",
    "prefect.client.subscriptions",
    "prefect.flow_engine",
    "prefect.task_engine",
    "pyarrow.dataset",
)
# In the order of the day: what was passed before a kill is not done again after it.
POINTS = tuple(
    point
    for stage in STAGES
    for point in (*(at for at in INSIDE if at.split(",")[0] == f"in {stage}"), f"after {stage}")
)


def die_after(holder: object, name: str) -> None:
    """Replace a function by one that runs it and then kills this process."""
    original = getattr(holder, name)

    def run_and_die(*args: object, **kwargs: object) -> None:
        original(*args, **kwargs)
        os.kill(os.getpid(), signal.SIGKILL)

    setattr(holder, name, run_and_die)


def arm(point: str) -> None:
    if point in INSIDE:
        module, _, name = INSIDE[point].rpartition(".")
        die_after(importlib.import_module(module), name)
        return
    die_after(find_task(point.removeprefix("after ")), "fn")


def find_task(stage: str) -> Any:
    name = STAGES[stage]
    retrain, closing = (importlib.import_module(f"flows.{m}") for m in ("retrain", "closing"))
    return getattr(retrain, name, None) or getattr(closing, name)


def announce_stages(diary: Path, kill_after: tuple[str, float] | None) -> None:
    """Let each stage write its name, and when it begins, into a file.

    `kill_after`: a stage, or START, and the seconds after its begin at which this process dies.
    """
    began = time.monotonic()

    def begin(stage: str) -> None:
        with diary.open("a") as file:
            file.write(f"{stage} {time.monotonic() - began}\n")
        if kill_after and stage == kill_after[0]:
            threading.Timer(kill_after[1], os.kill, (os.getpid(), signal.SIGKILL)).start()

    def announced(stage: str, function: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(function)
        def run(*args: Any, **kwargs: Any) -> Any:
            begin(stage)
            return function(*args, **kwargs)

        return run

    begin(START)
    for stage in STAGES:
        task = find_task(stage)
        task.fn = announced(stage, task.fn)


def skip_training(before_fit: Callable[[], None]) -> None:
    """Leave the networks untrained: what is tested here is state, and training takes seconds.

    Where a network would be trained, `before_fit` is called.
    """
    import numpy as np

    import models.forecasters.walk_forward
    import tasks.refit
    import tasks.report
    import tasks.train
    from models.forecasters.forecaster import Forecaster
    from models.learning.network import build_network

    def fake_fit(prepared, on_epoch=lambda epoch, losses: None):  # type: ignore[no-untyped-def]
        before_fit()
        recipe, names = prepared.recipe, prepared.feature_names
        network = build_network(recipe, len(names))
        generator = np.random.default_rng(recipe.seed)
        network.set_weights(
            [0.02 * generator.standard_normal(w.shape) for w in network.get_weights()]
        )
        spread = np.array([level - 0.5 for level in recipe.quantile_levels])
        steps = np.sqrt(np.arange(1, recipe.horizon + 1))
        errors = 0.02 * recipe.units * steps[:, None] * 3 * spread
        on_epoch(1, {"loss": 1.0, "val_loss": 1.0})
        losses = {"loss": [1.0], "val_loss": [1.0]}
        return Forecaster(recipe, names, prepared.scalers, network, errors), losses

    for module in (tasks.train, tasks.refit, models.forecasters.walk_forward):
        module.fit_forecaster = fake_fit  # type: ignore[attr-defined]
    tasks.report.draw_charts = lambda *args: {}


def run_day(job: dict, place: int) -> None:
    os.environ["BTC_HOME"] = job["home"]
    import tasks.registry.runs
    import tasks.registry.versions

    # Somebody may commit while the days run.
    for module in (tasks.registry.runs, tasks.registry.versions):
        setattr(module, "code_version", lambda: "simulated")  # noqa: B010
    from prefect.runtime import flow_run

    from flows.retrain import retrain
    from models.config.flows import RetrainConfig

    day = dt.date.fromisoformat(job["day"])
    clock = dt.datetime.combine(day + dt.timedelta(days=1), dt.time(0, 20), tzinfo=dt.UTC)
    flow_run.scheduled_start_time = clock

    def let_others_end() -> None:
        """Of several processes at the same day, the one that trains is the last to end."""
        deadline = time.monotonic() + 60
        others = [Path(job["home"], f"last-{i}.json") for i in range(job["at_once"]) if i != place]
        while not all(path.exists() for path in others) and time.monotonic() < deadline:
            time.sleep(0.1)

    if job["diary"]:
        announce_stages(Path(job["diary"]), job["kill_after"])
    if not job["train"]:
        skip_training(let_others_end)
    if job["kill"]:
        arm(job["kill"])
    summary = retrain(RetrainConfig.model_validate(job["config"]))
    Path(job["home"], f"last-{place}.json").write_text(json.dumps(summary.as_json()))


def fork_day(job: dict, place: int) -> int:
    """Start a child that does the day; returns its process id."""
    child = os.fork()
    if child:
        return child
    status = 1
    try:
        run_day(job, place)
        status = 0
    except BaseException:  # noqa: BLE001, the child must never go on as a second parent
        traceback.print_exc()
    finally:
        sys.stderr.flush()
        os._exit(status)


def main() -> None:
    from mlflow.utils import requirements_utils

    for name in PRELOADED:
        importlib.import_module(name)
    # MLflow reads the file lists of all installed packages at its first model, once a process.
    requirements_utils._init_packages_to_modules_map()
    print("ready", flush=True)
    for line in sys.stdin:
        job = json.loads(line)
        children = [fork_day(job, place) for place in range(job["at_once"])]
        ended = [os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children]
        print(json.dumps(ended), flush=True)


if __name__ == "__main__":
    from tasks.storage.home import prepare_environment

    prepare_environment()
    main()
