"""Processes for work that is no flow, and what every Dask cluster of ours has in common."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import Executor, ProcessPoolExecutor
from contextlib import contextmanager
from multiprocessing import get_context
from typing import Any

from flows.worker import begin_worker
from models.config.flows import Workers
from models.errors import InputError

CLUSTER_SECONDS = 30
"""How long a Dask scheduler may take to answer, and to have a worker."""


def local_cluster(jobs: int) -> dict[str, Any]:
    """What Dask is asked for a cluster of this machine."""
    return {
        "n_workers": jobs,
        "threads_per_worker": 1,
        "dashboard_address": None,
        "preload": "flows.worker",
    }


@contextmanager
def open_pool(workers: Workers) -> Iterator[Executor]:
    """Give a pool of processes or of Dask workers that runs plain functions."""
    if workers.runner == "processes":
        with ProcessPoolExecutor(workers.jobs, get_context("spawn"), begin_worker) as pool:
            yield pool
        return
    check_dask(workers.address)
    from distributed import Client, LocalCluster

    place = workers.address or LocalCluster(**local_cluster(workers.jobs))  # type: ignore[no-untyped-call]
    with Client(place, set_as_default=False) as client:  # type: ignore[no-untyped-call]
        yield client.get_executor()


def check_dask(address: str | None) -> None:
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
