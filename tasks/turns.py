"""Whose turn it is: one run of a symbol at a time, and one training for days that were missed."""

from __future__ import annotations

import datetime as dt
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from contextvars import ContextVar
from typing import Any

from prefect import get_run_logger
from prefect.client.orchestration import get_client
from prefect.client.schemas.filters import (
    FlowRunFilter,
    FlowRunFilterDeploymentId,
    FlowRunFilterExpectedStartTime,
    FlowRunFilterParentFlowRunId,
    FlowRunFilterState,
    FlowRunFilterStateType,
)
from prefect.client.schemas.objects import FlowRun, State, StateType
from prefect.client.schemas.sorting import FlowRunSort
from prefect.context import FlowRunContext
from prefect.runtime import flow_run
from prefect.states import Crashed

from models.config.flows import RetrainConfig
from models.errors import LedgerError
from models.naming import model_name
from tasks.service.life import living
from tasks.sources import is_synthetic
from tasks.storage.ledger import read_ledger
from tasks.storage.lock import day_at_work, hold

LOOK_SECONDS = 1.0
MOST_FAILURES = 15
# When the run was due whose symbol this one does.
_whole_due: ContextVar[dt.datetime | None] = ContextVar("whole_due", default=None)


@contextmanager
def take_turn(symbol: str, day: dt.date, *, trains: bool = True) -> Iterator[dt.timedelta | None]:
    """Hold the lock of a symbol for the work of a day; gives how long it waited for its turn.

    It waits for a retrain of an earlier day, and for what does not say its day, such as a forecast
    or a backup. Gives None, at once, where a retrain does a later day or, if this run `trains`, the
    same one. A forecast waits for the retrain of its own day too, which may fail before it
    forecasts. A database that goes away while it waits has as long to come back as in a stage.
    """
    name = model_name(symbol, synthetic=False)
    began = time.monotonic()
    looks = failures = 0
    while True:
        with ExitStack() as held:
            try:
                mine = held.enter_context(hold(name, day=day if trains else None))
                at_work = None if mine else day_at_work(name)
            except LedgerError:
                failures += 1
                if not looks or failures > MOST_FAILURES:
                    raise
                time.sleep(LOOK_SECONDS)
                continue
            if mine:
                waited = time.monotonic() - began if looks else 0
                yield dt.timedelta(seconds=waited)
                return
        if at_work is not None and (at_work > day or (trains and at_work == day)):
            yield None
            return
        failures = 0
        looks += 1
        if looks == 2:  # what says no day is mostly over by then
            what = f"the retrain of {at_work}" if at_work else "a forecast, a backup or such"
            line = f"{'turn':8}  {LOOK_SECONDS:5.1f} s  waits for {what}"
            get_run_logger().info(line, extra={"stage": "turn"})
        time.sleep(LOOK_SECONDS)


def was_forecast(config: RetrainConfig, day: dt.date, below_usd: float | None) -> bool:
    """Whether the ledger has the live forecast of a day, and nobody waits for an answer.

    Somebody does who asks for a price (`below_usd`), or has started the run by hand.
    """
    by_hand = _deployed_run() is None and flow_run.parent_deployment_id is None
    if by_hand or below_usd is not None:
        return False
    model = model_name(config.symbol, is_synthetic(config.source))
    rows = read_ledger(model, distributions=False, since=day)
    return bool(((rows["as_of"] == day) & (rows["kind"] == "live")).any())


@contextmanager
def part_of(due: dt.datetime) -> Iterator[None]:
    """Let the runs that are started in it do the day of the run that they are a part of."""
    before = _whole_due.set(due)
    try:
        yield
    finally:
        _whole_due.reset(before)


def read_due() -> dt.datetime:
    """When this run was scheduled for, or the run of several symbols that it is a part of."""
    return _whole_due.get() or flow_run.scheduled_start_time


def read_clock() -> tuple[dt.datetime, dt.datetime]:
    """When this run was due, see `read_due`, and now.

    Now is when it began, for a run that no deployment scheduled ahead.
    """
    due, began = read_due(), flow_run.scheduled_start_time
    now = began if _deployed_run() is None else dt.datetime.now(dt.UTC)
    return due, max(due, now)


def find_later_run() -> dt.datetime | None:
    """When the newest run was due that has not begun, is after this one, and asks for the same.

    Of the same deployment, that is, with the same parameters. None where there is no such run, and
    for a run that no deployment scheduled.
    """
    run = _deployed_run()
    if run is None:
        return None
    scheduled = flow_run.scheduled_start_time
    waiting = FlowRunFilter(
        deployment_id=FlowRunFilterDeploymentId(any_=[run.deployment_id]),
        state=FlowRunFilterState(
            type=FlowRunFilterStateType(any_=[StateType.SCHEDULED, StateType.PENDING])
        ),
        expected_start_time=FlowRunFilterExpectedStartTime(
            after_=scheduled + dt.timedelta(seconds=1), before_=dt.datetime.now(dt.UTC)
        ),
    )
    with get_client(sync_client=True) as client:
        found = client.read_flow_runs(
            flow_run_filter=waiting, sort=FlowRunSort.EXPECTED_START_TIME_DESC
        )
    later = [other.expected_start_time for other in found if other.parameters == run.parameters]
    return later[0] if later else None


@contextmanager
def alive() -> Iterator[None]:
    """Hold a lock in the name of this flow run, so that others can see that its process lives."""
    with living(str(flow_run.id)):
        yield


def crash_lost_subflows() -> None:
    """Mark the subflows of this run that are at work as crashed; call it when all have ended.

    Their process died, and what it did was done elsewhere, or failed.
    """
    lost = FlowRunFilter(
        parent_flow_run_id=FlowRunFilterParentFlowRunId(any_=[flow_run.id]),
        state=FlowRunFilterState(
            type=FlowRunFilterStateType(any_=[StateType.PENDING, StateType.RUNNING])
        ),
    )
    with get_client(sync_client=True) as client:
        for run in client.read_flow_runs(flow_run_filter=lost):
            state: State[Any] = Crashed(
                message="its process died; the run it belongs to says what came of it"
            )
            client.set_flow_run_state(run.id, state, force=True)


def _deployed_run() -> FlowRun | None:
    """This flow run, where a deployment scheduled it."""
    context = FlowRunContext.get()
    run = None if context is None else context.flow_run
    return run if run is not None and run.deployment_id is not None else None
