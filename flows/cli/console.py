"""How the command line runs a flow: checks before it, its stages as they end, its summary."""

from __future__ import annotations

import datetime as dt
import logging
import os
import shutil
import sys
import tempfile
import textwrap
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, TypeVar

import typer

from flows.cli.interrupt import shield_children
from tasks.storage.home import prepare_environment
from tasks.temporary_server import start_temporary_server

if TYPE_CHECKING:
    from models.config.flows import Fitting, RetrainConfig

F = TypeVar("F", bound="Fitting")


# Name and seconds of a stage stand before its text.
INDENT = 20


class StageLines(logging.Handler):
    """Prints the one line that each stage logs; on a terminal with a bar under long work."""

    bar: Any = None

    def emit(self, record: logging.LogRecord) -> None:
        """Print the record if a stage logged it."""
        if not hasattr(record, "stage"):
            return
        text = record.getMessage()
        if not sys.stderr.isatty():
            print(text, file=sys.stderr, flush=True)
            return
        done, total = getattr(record, "progress", None) or (0, 0)
        if total and self.bar is None:
            self.bar = _start_bar(record.stage)
        width = shutil.get_terminal_size().columns
        indent = " " * INDENT
        lines = textwrap.wrap(
            text,
            max(width, 40),
            subsequent_indent=indent,
            break_long_words=False,
            break_on_hyphens=False,
        ) or [text]
        shown = "\n".join([text[:INDENT] + lines[0][INDENT:], *lines[1:]])
        if self.bar is None:
            print(shown, file=sys.stderr, flush=True)
            return
        self.bar.console.print(shown, markup=False, highlight=False, soft_wrap=True)
        self.bar.update(self.bar.task_ids[0], completed=done, total=total)
        if done >= total:
            self.stop()

    def stop(self) -> None:
        """Take the bar away and show the cursor again, if there is a bar."""
        if self.bar is not None:
            self.bar.stop()
            self.bar = None


def _start_bar(stage: str) -> Any:
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    bar = Progress(
        TextColumn(f"{stage:8}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        console=Console(stderr=True),
        transient=True,
    )
    bar.add_task(stage)
    bar.start()
    return bar


@contextmanager
def show_stages(*kinds: str) -> Iterator[None]:
    """Print every stage's line as it ends, of tasks or what `kinds` names; a bar ends with it."""
    lines = StageLines()
    loggers = [logging.getLogger(f"prefect.{kind}_runs") for kind in kinds or ("task",)]
    for logger in loggers:
        logger.addHandler(lines)
    try:
        yield
    finally:
        for logger in loggers:
            logger.removeHandler(lines)
        lines.stop()


@contextmanager
def hushed_imports() -> Iterator[None]:
    """Keep back what native libraries write to stderr while they load, unless loading fails.

    TensorFlow's libraries log before they read any setting that would keep them quiet.
    """
    sys.stderr.flush()
    kept = os.dup(2)
    with tempfile.TemporaryFile() as spill:
        os.dup2(spill.fileno(), 2)
        try:
            yield
        except Exception:
            spill.seek(0)
            os.write(kept, spill.read())
            raise
        finally:
            os.dup2(kept, 2)
            os.close(kept)


@contextmanager
def flow_imports() -> Iterator[None]:
    """Import a flow quietly while Prefect's temporary server starts; afterwards it answers."""
    wait_for_server = start_temporary_server()
    with hushed_imports():
        yield
    if wait_for_server:
        wait_for_server()


def settle_source(config: F) -> tuple[F, str]:
    """Replace the source auto by the one that it stands for now, and say so in a sentence."""
    from models.data.calendar import newest_closed_day, resolve_as_of

    newest_closed = newest_closed_day(dt.datetime.now(dt.UTC))
    as_of = resolve_as_of(config.as_of, newest_closed)
    if config.source != "auto":
        return config, ""
    from tasks.sources.auto import resolve_auto

    symbol = next(iter(_symbols(config)), config.symbol)
    source, note = resolve_auto(config.source, symbol, config.ingestion, as_of)
    return config.model_copy(update={"source": source}), note


def share_out(config: RetrainConfig) -> tuple[str, ...]:
    """Ready this process for workers, where it will have some; what to show of the run then.

    Returns what `show_stages` takes. Symbols on workers are told by the run, one line each.
    """
    if not config.symbols or config.workers.alone:
        return ("task", "flow")  # a flow says for what it waits
    shield_children()
    return ("flow",)


def _symbols(config: Fitting) -> tuple[str, ...]:
    """Several symbols, of a retrain that asks for several."""
    return getattr(config, "symbols", ())


def settle_request(config: F) -> tuple[F, str]:
    """Settle the source, prepare the environment, and check all that needs no training."""
    settled, note = settle_source(config)
    prepare_environment()
    with hushed_imports():
        from tasks.preflight import check_prefect, check_request
    if not _symbols(settled):  # Of several, each is checked by its own run: one may fail alone.
        check_request(settled)
    # After what needs no server; before Prefect is imported, which would start one of its own.
    if start_temporary_server() is None:
        check_prefect()
    return settled, note


def refuse(reason: str) -> None:
    """Say why there is no forecast, and exit with 1."""
    print(f"btc: no forecast: {reason}", file=sys.stderr)
    raise typer.Exit(1)
