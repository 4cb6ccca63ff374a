"""What a process that forecasts folds loads first; it imports little, since it is imported early.

Dask's own scheduler and workers load it by `--preload flows.worker`. Without it the scheduler would
stand still while it loads TensorFlow to read the first fold, long enough to lose its clients.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading

from flows.cli.console import hushed_imports
from tasks.storage.home import prepare_libraries


def prepare_worker() -> None:
    """Load TensorFlow quietly, and compute on as many threads as every process of ours: one."""
    begin_worker()
    with hushed_imports():
        from threadpoolctl import threadpool_limits

        # Imported now, so that its linear algebra is limited as well.
        import models.forecasters.walk_forward  # noqa: F401
    # Dask may have loaded numpy before it loaded this.
    threadpool_limits(int(os.environ["OPENBLAS_NUM_THREADS"]))


def begin_worker() -> None:
    """Prepare a process that may need no TensorFlow."""
    prepare_libraries()
    _end_with_parent()


def _end_with_parent() -> None:
    """Leave a Ctrl-C to the parent, and end when it ends, however it does."""
    parent = multiprocessing.parent_process()
    if parent is None or threading.current_thread() is not threading.main_thread():
        return
    signal.signal(signal.SIGINT, signal.SIG_IGN)

    def wait() -> None:
        parent.join()
        os._exit(1)

    threading.Thread(target=wait, daemon=True).start()


def dask_setup(_server: object) -> None:
    """Prepare one of Dask's processes; Dask calls it by this name."""
    prepare_worker()
