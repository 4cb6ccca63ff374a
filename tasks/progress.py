"""Training progress, shown where it is looked at: Prefect's UI, a terminal, a log."""

from __future__ import annotations

import sys
from types import TracebackType
from typing import Self, cast
from uuid import UUID

from prefect import get_run_logger
from prefect.artifacts import create_progress_artifact, update_progress_artifact
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

PLAIN_LINES = 5


class TrainingProgress:
    """A Prefect progress artifact, with a bar on a terminal and a few plain lines elsewhere."""

    def __init__(self, title: str, n_epochs: int) -> None:
        self.title, self.n_epochs = title, n_epochs
        self.bar = Progress(
            TextColumn("train     {task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            console=Console(stderr=True),
            transient=True,
            disable=not sys.stderr.isatty(),
        )
        self.row = self.bar.add_task(title, total=n_epochs)

    def __enter__(self) -> Self:
        created = create_progress_artifact(0, key="training", description=self.title)
        self.artifact = cast(UUID, created)
        self.bar.start()
        return self

    def on_epoch(self, epoch: int, losses: dict[str, float]) -> None:
        """Show that `epoch`, counted from 1, is done."""
        text = f"loss {losses['loss']:.4f}, val_loss {losses['val_loss']:.4f}"
        self._show(100 * epoch / self.n_epochs, f"{self.title}: {text}")
        self.bar.update(self.row, completed=epoch, description=text)
        if self.bar.disable and epoch % -(-self.n_epochs // PLAIN_LINES) == 0:
            line = f"train     epoch {epoch} of {self.n_epochs}: {text}"
            get_run_logger().info(line, extra={"stage": "train"})

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.bar.stop()
        if error is None:
            self._show(100, self.title)

    def _show(self, percent: float, text: str) -> None:
        update_progress_artifact(self.artifact, percent, description=text)
