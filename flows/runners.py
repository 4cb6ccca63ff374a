"""Where tasks run side by side: spawned processes, or Dask."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from queue import Queue
from typing import Any

from prefect import Task
from prefect.context import FlowRunContext
from prefect.futures import PrefectFuture, as_completed
from prefect.settings import PREFECT_API_URL, temporary_settings
from prefect.task_runners import ProcessPoolTaskRunner, TaskRunner

from flows.worker import prepare_worker
from models.config.flows import Workers
from models.errors import InputError, ServiceError

CLUSTER_SECONDS = 30
"""How long a Dask scheduler may take to answer, and to have a worker."""


class WorkerDied(ServiceError):
    """The process that worked on a task was killed, or ran out of memory."""


def make_runner(workers: Workers) -> TaskRunner[Any]:
    """Build the task runner: spawned processes on this machine, or Dask, here or at an address.

    Raises InputError where Dask is not installed, or nothing works at its address.
    """
    if workers.runner == "processes":
        return _make_processes(workers.jobs)
    _check_dask(workers.address)
    from prefect_dask.task_runners import DaskTaskRunner

    if workers.address:
        return DaskTaskRunner(address=workers.address)
    return DaskTaskRunner(cluster_kwargs=_local_cluster(workers.jobs))


def run_side_by_side(
    task: Task[Any, Any], calls: Sequence[Mapping[str, Any]], workers: Workers
) -> Iterator[tuple[int, Any]]:
    """Run a task with each of the arguments; yields the place of each and what came of it.

    As they end. What came of it is what the task returned, also in a failed state, or the error
    that it raised; WorkerDied where its process died.
    """
    if workers.runner == "processes":
        yield from _run_in_processes(task, calls, workers.jobs)
        return
    with _same_server(), make_runner(workers) as runner:
        places = {runner.submit(task, dict(call)): place for place, call in enumerate(calls)}
        for future in as_completed(list(places)):
            yield places[future], _outcome(future)


def _run_in_processes(
    task: Task[Any, Any], calls: Sequence[Mapping[str, Any]], jobs: int
) -> Iterator[tuple[int, Any]]:
    """Each process is a pool of its own: when one dies, a pool loses all that it was given."""
    waiting = iter(enumerate(calls))
    at_work: dict[PrefectFuture[Any], tuple[int, TaskRunner[Any]]] = {}
    ended: Queue[PrefectFuture[Any]] = Queue()

    def start_next(runner: TaskRunner[Any]) -> None:
        for place, call in waiting:
            future = runner.submit(task, dict(call))
            at_work[future] = place, runner
            future.add_done_callback(ended.put)
            return

    with _same_server(), ExitStack() as pools:
        for _ in calls[:jobs]:
            start_next(pools.enter_context(_make_processes(1)))
        while at_work:
            future = ended.get()
            place, runner = at_work.pop(future)
            outcome = _outcome(future)
            yield place, outcome
            if isinstance(outcome, WorkerDied):
                runner = pools.enter_context(_make_processes(1))
            start_next(runner)


@contextmanager
def _same_server() -> Iterator[None]:
    """Let workers ask the Prefect server of this run, also one that Prefect started for it."""
    context = FlowRunContext.get()
    if context is None:
        raise RuntimeError("expected to be called by a flow")
    with temporary_settings({PREFECT_API_URL: str(context.client.api_url)}):
        yield


def _make_processes(jobs: int) -> ProcessPoolTaskRunner:
    return ProcessPoolTaskRunner(max_workers=jobs, initializer=prepare_worker)


def _outcome(future: PrefectFuture[Any]) -> Any:
    """What a task returned or raised; WorkerDied where its process did."""
    try:
        return future.result(raise_on_failure=False)
    except Exception as error:  # noqa: BLE001, each kind of pool has errors of its own
        return WorkerDied(
            "the process that worked on it died (killed, or out of memory: "
            f"{type(error).__name__}); run again to finish it"
        )


def _local_cluster(jobs: int) -> dict[str, Any]:
    """What Dask is asked for a cluster of this machine."""
    return {
        "n_workers": jobs,
        "threads_per_worker": 1,
        "dashboard_address": None,
        "preload": "flows.worker",
    }


def _check_dask(address: str | None) -> None:
    """Raise InputError where Dask is not installed, or nothing works at the address, if any."""
    try:
        import prefect_dask  # noqa: F401
        from distributed import Client
    except ImportError as error:
        raise InputError(
            "Dask: prefect-dask is not installed; pip install 'btc-daily[dask]'"
        ) from error
    if address is None:
        return
    try:
        with Client(address, timeout=CLUSTER_SECONDS, set_as_default=False) as client:  # type: ignore[no-untyped-call]
            client.wait_for_workers(1, timeout=CLUSTER_SECONDS)
    except TimeoutError as error:
        reason = "has no worker" if "workers" in str(error) else "does not answer"
        raise InputError(
            f"Dask: the scheduler at {address} {reason}; start both as docs/cluster.md shows"
        ) from error
    except (OSError, ValueError) as error:
        raise InputError(
            f"Dask: {address} cannot be used ({' '.join(str(error).split())[:150]}); expected "
            "tcp://HOST:PORT of a scheduler"
        ) from error
