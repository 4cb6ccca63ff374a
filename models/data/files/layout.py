"""The layout of a file, from its first lines: what separates its columns and what they hold."""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import islice

import pyarrow.parquet as pq

from models.data.files.formats import (
    BARE_FORMATS,
    Bare,
    Columns,
    find_columns,
    find_format,
    nearest_format,
    plain,
)
from models.data.files.numbers import MISSING
from models.data.files.refusal import shown
from models.data.files.text import OpenBytes, find_separator, number_rows, read_head
from models.data.files.times import find_kind
from models.errors import InputError

_SAMPLE = 2000
_INDEX_NAMES = ("", "index", "unnamed 0", "price", "ticker")
Row = list[str]


@dataclass(frozen=True)
class Layout:
    """What is known of a file before it is read.

    `kind` is how its times are written, see times.py; `coins` are symbols that its header names;
    `sample` are its first rows. A Parquet file has no separator.
    """

    file: str
    name: str
    header: tuple[str, ...]
    columns: Columns
    kind: str = ""
    separator: str = ""
    n_skipped: int = 0
    closes_day_before: bool = False
    coins: frozenset[str] = frozenset()
    sample: list[Row] = field(default_factory=list)

    def require_prices(self) -> dict[str, int]:
        """Where prices and volume stand; raises InputError without days, closes, or with two."""
        if not self.columns.times:
            raise InputError(self._lacks("date"))
        if "close" not in self.columns.roles:
            raise InputError(self._lacks("close"))
        for place in (self.columns.times[0], *self.columns.roles.values()):
            self._require_once(place)
        return self.columns.roles

    def require_column(self, column: str) -> int:
        """Where a column of numbers stands by its name; raises InputError without it."""
        if not self.columns.times:
            raise InputError(self._lacks("date"))
        self._require_once(self.columns.times[0])
        names = [cell.strip().lower() for cell in self.header]
        wanted = column.strip().lower()
        if wanted not in names:
            raise InputError(self._lacks(wanted))
        place = names.index(wanted)
        if place in self.columns.times:
            raise InputError(f"{self.file}: column {shown(column)} is a day, expected numbers")
        self._require_once(place)
        return place

    def _require_once(self, place: int) -> None:
        names = [plain(cell) for cell in self.header]
        if names[place] and names.count(names[place]) > 1:
            cell = shown(self.header[place].lower())
            raise InputError(f"{self.file}: column {cell} is there twice; found {self._listed()}")

    def _lacks(self, column: str) -> str:
        text = f"{self.file}: no column {shown(column)}; found {self._listed()}"
        hint = nearest_format(self.header)
        what = {"date": "the column of days", "close": "the column of closing prices"}
        if column in what:
            hint = f"{hint + '; ' if hint else ''}name {what[column]} {column} in the first line"
        return f"{text}; {hint}" if hint else text

    def _listed(self) -> str:
        return ", ".join(shown(cell.lower()) for cell in self.header[:12])


def find_layout(open_bytes: OpenBytes, name: str, symbol: str) -> Layout:
    """Find the layout of a text or Parquet file; `symbol` tells which of two volumes is meant.

    Raises InputError for a file that is no table.
    """
    base = symbol.partition("/")[0]
    with open_bytes() as file:
        if file.read(4) == b"PAR1":
            return _of_parquet(open_bytes, name, base)
    lines = read_head(open_bytes, name)
    separator = find_separator(lines, name)
    numbered = [
        (line, [cell.strip() for cell in row])
        for line, row in islice(number_rows(lines, separator, name), _SAMPLE)
        if "".join(row).strip()
    ]
    if not numbered:
        raise InputError(f"{name}: the file is empty, expected a header and one candle a line")
    rows = [row for _, row in numbered]
    scores = [_score(row, base) for row in rows[:30]]
    if max(scores) == 0:
        place = next((i for i, row in enumerate(rows[:30]) if _is_data(row)), None)
        if place is not None:
            skipped = numbered[place - 1][0] if place else 0
            return _without_header(name, separator, skipped, rows[place:])
    place = scores.index(max(scores))
    first, end = place, place + 1
    while first > 0 and plain(rows[first - 1][0]) == "ticker":
        first -= 1
    while end < len(rows) and _continues_header(rows[end]):
        end += 1
    return _with_header(name, separator, numbered[end - 1][0], rows[first:end], rows[end:], base)


def _score(row: Row, base: str) -> int:
    """How many columns a row names, if it is a header."""
    columns = find_columns(row, base)
    return len(columns.roles) + bool(columns.times)


def _is_number(cell: str) -> bool:
    return any(character.isdigit() for character in cell) and not cell.lower().islower()


def _is_data(row: Row) -> bool:
    return len(row) > 1 and find_kind(row[:1]) != "" and all(
        _is_number(cell) or cell.lower() in MISSING for cell in row[1:]
    )  # fmt: skip


def _continues_header(row: Row) -> bool:
    """Whether a row below the names is still of the header, as in yfinance's files."""
    words = (*_INDEX_NAMES, "date", "datetime")
    return (
        len(row) > 1
        and plain(row[0]) in words
        and bool("".join(row))
        and not any(_is_number(cell) for cell in row)
    )


def _with_header(
    name: str, separator: str, n_skipped: int, block: list[Row], sample: list[Row], base: str
) -> Layout:
    header = max(block, key=lambda row: _score(row, base))
    columns = find_columns(header, base)
    known = find_format(header)
    others = [row for row in block if row is not header]
    cells = {cell for row in others for cell in row[1:] if cell}
    title = known.name if known else "file with columns by name"
    if others:
        title = f"yfinance export with {len(block)} header rows"
    elif "adj close" in map(plain, header) and separator == "\t":
        title = "Yahoo Finance page, copied"
    times = [*columns.times]
    named_below = any(plain(row[0]) in ("date", "datetime") for row in others)
    first_cells = [row[0] for row in sample if row]
    if not times and plain(header[0]) in _INDEX_NAMES and (named_below or find_kind(first_cells)):
        times = [0]
    readable = [(place, find_kind([r[place] for r in sample if len(r) > place])) for place in times]
    readable = [(place, kind) for place, kind in readable if kind] or [(t, "") for t in times]
    clock = columns.clock
    if clock is not None and not any(place == clock for place, _ in readable):
        times = [place for place, _ in readable]
    else:
        clock = None
    kind = readable[0][1] if readable else ""
    found = Columns(tuple(place for place, _ in readable), columns.roles, columns.symbols, clock)
    return Layout(
        file=name, name=title, header=tuple(header), columns=found, kind=kind or "year first",
        separator=separator, n_skipped=n_skipped, coins=frozenset(cells), sample=sample,
        closes_day_before=bool(known and known.closes_day_before),
    )  # fmt: skip


def _without_header(name: str, separator: str, n_skipped: int, sample: list[Row]) -> Layout:
    width = len(sample[0])
    fitting = [bare for bare in BARE_FORMATS if len(bare.columns) == width and _fits(bare, sample)]
    if not fitting:
        raise InputError(
            f"{name}: no header, and its {width} columns are in no known order; write a first "
            "line such as date,open,high,low,close,volume"
        )
    bare = fitting[0]
    values = {role: place for place, role in enumerate(bare.columns) if role not in ("", "time")}
    kind = find_kind([row[0] for row in sample if row])
    header = tuple(role or f"column {i + 1}" for i, role in enumerate(bare.columns))
    return Layout(
        file=name, name=bare.name, header=header, columns=Columns((0,), values), kind=kind,
        separator=separator, n_skipped=n_skipped, sample=sample,
    )  # fmt: skip


def _fits(bare: Bare, sample: list[Row]) -> bool:
    """Whether high and low are the largest and smallest of the prices in nine rows of ten."""
    if "high" not in bare.columns:
        return True
    places = [bare.columns.index(role) for role in ("open", "close", "high", "low")]
    right, n = 0, 0
    for row in sample:
        try:
            first, last, high, low = (float(row[place]) for place in places)
        except (ValueError, IndexError):
            continue
        n += 1
        right += low <= min(first, last) and max(first, last) <= high
    return n > 0 and right >= 0.9 * n


def _of_parquet(open_bytes: OpenBytes, name: str, base: str) -> Layout:
    try:
        with open_bytes() as file:
            header = pq.ParquetFile(file).schema_arrow.names
    except (OSError, ValueError) as error:
        raise InputError(f"{name}: is a damaged Parquet file; download it again") from error
    columns = find_columns(header, base)
    times = columns.times or tuple(
        place for place, cell in enumerate(header) if cell.startswith("__index_level_")
    )
    known = find_format(header)
    title = f"Parquet, {known.name}" if known else "Parquet file"
    found = Columns(times[:1], columns.roles, columns.symbols)
    return Layout(
        file=name, name=title, header=tuple(header), columns=found,
        closes_day_before=bool(known and known.closes_day_before),
    )  # fmt: skip
