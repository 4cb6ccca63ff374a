"""What every stage has in common: a name in the Prefect UI, seconds, a line of log, retries."""

from __future__ import annotations

import functools
import time
from collections.abc import Callable
from typing import Any, ParamSpec, TypeVar

from prefect import Task, get_run_logger
from prefect.cache_policies import NO_CACHE
from prefect.client.schemas.objects import State, TaskRun
from prefect.tasks import exponential_backoff

from models.errors import InputError, LedgerError, RegistryError, StoreError
from models.records import Record
from tasks.registry.connection import told_in_one_line
from tasks.secrets import guard_output
from tasks.storage.home import told_when_full

P = ParamSpec("P")
R = TypeVar("R", bound=Record)

# A network, disk or database that fails once may work the next time; anything else will not.
TRANSIENT = (OSError, LedgerError, RegistryError, StoreError)


def stage(name: str, *, retries: int = 0) -> Callable[[Callable[P, R]], Task[P, R]]:
    """Make a Prefect task of a function that returns a record.

    The record comes back with the seconds that the body took, and is logged as one line. Transient
    errors are tried again up to `retries` times, after 2, 4, 8… seconds with jitter.
    """

    def wrap(body: Callable[P, R]) -> Task[P, R]:
        @functools.wraps(body)
        def timed(*args: P.args, **kwargs: P.kwargs) -> R:
            guard_output()  # A deployment's run begins in Prefect, not in a command of ours.
            start = time.perf_counter()
            with told_in_one_line(), told_when_full():
                record = body(*args, **kwargs)
            record = record.model_copy(update={"seconds": time.perf_counter() - start})
            told = {"stage": name, "progress": record.progress}
            get_run_logger().info("%-8s  %5.1f s  %s", name, record.seconds, record, extra=told)
            return record

        return Task(
            timed,
            name=name,
            task_run_name=name,
            cache_policy=NO_CACHE,
            retries=retries,
            retry_delay_seconds=exponential_backoff(2),
            retry_jitter_factor=0.5,
            retry_condition_fn=_is_transient,
        )

    return wrap


def _is_transient(_task: Task[Any, Any], _run: TaskRun, state: State[Any]) -> bool:
    error = state.result(raise_on_failure=False)
    return isinstance(error, TRANSIENT) and not isinstance(error, InputError)
