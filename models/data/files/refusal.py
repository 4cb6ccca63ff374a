"""How a cell is shown in a message, and the errors of cells, to which their file is added later."""

from __future__ import annotations


class BadCell(Exception):
    """The cell of a row, counted from the first row of data, that is not what was expected."""

    def __init__(self, row: int, column: str, cell: str, expected: str) -> None:
        super().__init__(f"{column} is {shown(cell)}, expected {expected}")
        self.row = row


class Unclear(Exception):
    """What a file means cannot be told from it; the message says what to add."""


def shown(cell: str) -> str:
    """Cell in quotes, on one line, cut after 40 characters."""
    return repr(cell if len(cell) <= 40 else cell[:37] + "...")
