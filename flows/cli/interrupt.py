"""Ctrl-C: a command ends within five seconds, with one line and exit status 130.

Python hears a signal only between two of its own instructions, and a library may wait for a server
or a thread before it lets go. A thread of its own therefore watches: it hears the signal at once,
gives the command GRACE_S to unwind, and then ends the process. A second Ctrl-C ends it at once.
Nothing is half stored by that: files are renamed when they are whole, databases have transactions.
"""

from __future__ import annotations

import os
import select
import signal
import sys
import threading
from typing import NoReturn

GRACE_S = 3.0
STATUS = 130
_begun, _ended = threading.Event(), threading.Lock()


def watch_interrupts() -> None:
    """Begin to watch; call it once, in the main thread."""
    read, write = os.pipe()
    os.set_blocking(write, False)
    # Not the default handler, which asyncio would replace by one of its own.
    signal.signal(signal.SIGINT, _interrupt)
    signal.set_wakeup_fd(write, warn_on_full_buffer=False)
    sys.unraisablehook = _tell_unless_interrupted
    threading.Thread(target=_watch, args=(read,), daemon=True).start()


def leave_interrupts() -> None:
    """Watch no longer: for a command that stops what it started, however long that takes."""
    signal.set_wakeup_fd(-1)


def shield_children() -> None:
    """Keep a Ctrl-C from the processes that this thread starts from now on; they end with it.

    They inherit the blocked signal, also while Python starts in them. Call it after
    `watch_interrupts`, whose thread still hears the signal.
    """
    from multiprocessing import resource_tracker

    # The process that frees what a pool leaves behind would say so. It starts now, because
    # starting it lets the signal through again.
    os.environ["PYTHONWARNINGS"] = "ignore:resource_tracker:UserWarning"
    resource_tracker.ensure_running()
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})


def end_interrupted() -> NoReturn:
    """Say that the command was interrupted, and end the process without waiting for anything."""
    _ended.acquire()  # Never released: whoever comes second waits for the end.
    line = "btc: interrupted; what was finished is kept, the same command goes on from there"
    if os.isatty(2):
        # A bar that could not end by itself stands in this line, and has hidden the cursor.
        line = f"\r\x1b[2K\x1b[?25h{line}"
    os.write(2, f"{line}\n".encode())
    os._exit(STATUS)


def is_interrupted() -> bool:
    """Whether a Ctrl-C was heard: an error after it may be its doing."""
    return _begun.is_set()


def _tell_unless_interrupted(unraisable: sys.UnraisableHookArgs) -> None:
    """Say nothing of a Ctrl-C that came while Python freed memory; the watch ends the command."""
    if unraisable.exc_type is not KeyboardInterrupt:
        sys.__unraisablehook__(unraisable)


def _interrupt(_signal: int, _frame: object) -> NoReturn:
    _begun.set()
    raise KeyboardInterrupt


def _watch(read: int) -> None:
    while os.read(read, 1) != bytes([signal.SIGINT]):
        pass
    _begun.set()
    select.select([read], [], [], GRACE_S)
    end_interrupted()
