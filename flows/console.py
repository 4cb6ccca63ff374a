"""What the command line shows: stages as they end, the summary, errors in one line."""

from __future__ import annotations

import logging
import os
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from rich.console import Console
from rich.table import Table


class StageLines(logging.Handler):
    """Prints the one line that each stage logs."""

    def emit(self, record: logging.LogRecord) -> None:
        """Print the record if a stage logged it."""
        if hasattr(record, "stage"):
            print(record.getMessage(), file=sys.stderr, flush=True)


def show_stages() -> None:
    """Print every stage's line as it ends."""
    logging.getLogger("prefect.task_runs").addHandler(StageLines())


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
        except BaseException:
            spill.seek(0)
            os.write(kept, spill.read())
            raise
        finally:
            os.dup2(kept, 2)
            os.close(kept)


def print_summary(
    summary: Mapping[str, Any], rows: list[dict[str, str]], notes: list[str], ui_command: str
) -> None:
    """Print metrics, verdict and where everything lies."""
    console = Console(highlight=False, soft_wrap=True)
    title = f"{summary['symbol']} to {summary['as_of']}, the next day"
    table = Table(title="; ".join([*notes, title]), title_justify="left")
    for i, name in enumerate(rows[0]):
        table.add_column(name, justify="right" if i else "left")
    for row in rows:
        table.add_row(*row.values())
    console.print()
    console.print(table)
    console.print(f"Verdict: {summary['verdict_text']}", markup=False)
    if summary["features_left_out"]:
        console.print(f"Left out, the candles lack them: {', '.join(summary['features_left_out'])}")
    for text in [item["message"] for item in summary["findings"]] + summary["repairs"]:
        console.print(f"Data: {text}", markup=False)
    artifacts = summary["artifacts"]
    aliases = "".join(f" @{alias}" for alias in summary["aliases"])
    console.print(f"Model:   {artifacts['model']}{aliases}", markup=False)
    console.print(f"Report:  {artifacts['report']}", markup=False)
    console.print(f"Plots:   {artifacts['plots']}", markup=False)
    console.print(f"Compare: {ui_command}", markup=False)


def prepare_worker() -> None:
    """Load TensorFlow quietly, on one thread: as many processes as jobs share the machine.

    It lives in a module that imports little, since a new process imports it before it runs it.
    """
    with hushed_imports():
        import tensorflow as tf
    tf.config.threading.set_intra_op_parallelism_threads(1)
    tf.config.threading.set_inter_op_parallelism_threads(1)
