"""Tables that fit the terminal: without lines, days and numbers never cut."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence

from rich.console import Console
from rich.table import Table

GAP = 2
# Text that wraps has at least as many columns.
LEAST_TEXT = 16
# Where nothing says how wide the output is: a file, a pipe.
PLAIN_WIDTH = 100


def open_console() -> Console:
    """The console of a command; in a file or pipe lines may be longer than on a terminal."""
    console = Console(highlight=False)
    if not console.is_terminal and "COLUMNS" not in os.environ:
        console = Console(highlight=False, width=PLAIN_WIDTH)
    return console


def make_table(*columns: str, left: Sequence[str] = (), wraps: str = "") -> Table:
    """A table without lines; the first column and those `left` are text, the others are numbers.

    No cell is cut or broken but those of the column `wraps`.
    """
    table = Table(box=None, padding=(0, GAP, 0, 0), pad_edge=False)
    for i, name in enumerate(columns):
        text = i == 0 or name in left or name == wraps
        table.add_column(
            name,
            justify="left" if text else "right",
            no_wrap=name != wraps,
            overflow="fold" if name == wraps else "crop",
        )
    return table


def fit_table(
    console: Console,
    columns: Sequence[str],
    rows: Iterable[Iterable[object]],
    *,
    drop: Sequence[str] = (),
    left: Sequence[str] = (),
    wraps: str = "",
) -> Table:
    """A filled table; columns go, in the order of `drop`, until it is as narrow as the console."""
    cells = [[str(cell) for cell in row] for row in rows]
    kept = list(columns)

    def width() -> int:
        total = GAP * (len(kept) - 1)
        for name in kept:
            at = columns.index(name)
            longest = max(len(row[at]) for row in cells) if cells else 0
            if name == wraps:
                words = [word for row in cells for word in row[at].split()]
                longest = min(longest, max([LEAST_TEXT, *map(len, words)]))
            total += max(len(name), longest)
        return total

    for name in drop:
        if width() <= console.width:
            break
        kept.remove(name)
    table = make_table(*kept, left=left, wraps=wraps)
    for row in cells:
        table.add_row(*(row[columns.index(name)] for name in kept))
    return table
