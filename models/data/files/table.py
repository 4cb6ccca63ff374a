"""The columns of a text or Parquet file as arrays; pyarrow reads them, batch by batch."""

from __future__ import annotations

import io
import re
from collections.abc import Iterator
from typing import cast

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pa_csv
import pyarrow.parquet as pq

from models.config.data import PriceFile
from models.data.files.layout import Layout
from models.data.files.numbers import MISSING, DecimalMark, read_numbers
from models.data.files.refusal import BadCell, Unclear
from models.data.files.text import OpenBytes, open_text, walk_rows
from models.data.files.times import Times
from models.errors import InputError

MAX_ROWS = 12_000_000
_BLOCK = 1 << 22
_PLAIN = re.compile(r"[+-]?(\d+(\.\d*)?|\.\d+)([eE][+-]?\d+)?")
_NULLS = [form for word in MISSING for form in {word, word.upper(), word.title(), "NaN"}]


class Table:
    """The times and numbers of a file.

    After `read`, `coins` are the cells of its columns of symbols, and `zoned` says whether it names
    the time zone of its times.
    """

    def __init__(self, open_bytes: OpenBytes, layout: Layout, asked: PriceFile) -> None:
        self._open, self._layout, self._asked = open_bytes, layout, asked
        self.coins: set[str] = set()
        self.zoned = True
        self._used: list[int] = []

    def read(self, roles: dict[str, int]) -> tuple[np.ndarray, dict[str, np.ndarray]]:
        """Microseconds UTC, (n,), and the numbers of each role's column, (n,), NaN where missing.

        Raises InputError that names the line of a cell that cannot be read.
        """
        columns = self._layout.columns
        time, clock = columns.times[0], columns.clock
        self._used = [time, *([clock] if clock is not None else []), *roles.values()]
        mark = DecimalMark()
        for place in roles.values():
            cells = [row[place] for row in self._layout.sample if len(row) > place]
            mark.look_at(pa.array(cells, pa.string()))
        try:
            return self._read(roles, mark, self._asked.decimal or mark.likely)
        except BadCell as bad:
            raise self.refusal(bad) from bad
        except Unclear as unclear:
            raise InputError(f"{self._layout.file}: {unclear}") from unclear

    def _read(
        self, roles: dict[str, int], mark: DecimalMark, decimal: str
    ) -> tuple[np.ndarray, dict[str, np.ndarray]]:
        types = self._guess_types(roles, mark, decimal)
        try:
            micros, values = self._collect(roles, mark, decimal, types)
        except pa.ArrowInvalid:
            # A cell below the first rows is not what they were.
            micros, values = self._collect(roles, mark, decimal, {})
        mark.settle(self._asked.decimal, self._layout.separator)
        if not self._asked.decimal and mark.likely != decimal:
            return self._collect(roles, mark, mark.likely, {})
        return micros, values

    def _guess_types(
        self, roles: dict[str, int], mark: DecimalMark, decimal: str
    ) -> dict[int, pa.DataType]:
        """Types that make reading fast, where the first rows leave no doubt."""
        sample = self._layout.sample
        types: dict[int, pa.DataType] = {}
        if decimal == "." and mark.point and not mark.comma:
            types = {
                place: pa.float64()
                for place in roles.values()
                if all(_is_plain(row[place]) for row in sample if len(row) > place)
            }
        time = self._layout.columns.times[0]
        if self._layout.kind == "number" and all(
            row[time].isdecimal() for row in sample if len(row) > time
        ):
            types[time] = pa.int64()
        return types

    def _collect(
        self, roles: dict[str, int], mark: DecimalMark, decimal: str, types: dict[int, pa.DataType]
    ) -> tuple[np.ndarray, dict[str, np.ndarray]]:
        columns = self._layout.columns
        header = [cell.lower() for cell in self._layout.header]
        times = Times(header[columns.times[0]], self._layout.kind)
        parts: dict[str, list[np.ndarray]] = {role: [] for role in roles}
        n = 0
        for batch in self._batches(types):
            cells = {place: batch.column(str(place)) for place in self._used}
            times.add(self._time_cells(cells))
            for role, place in roles.items():
                if pa.types.is_string(cells[place].type) and not (mark.point or mark.comma):
                    mark.look_at(cells[place])
                parts[role].append(read_numbers(cells[place], decimal, n, header[place]))
            for place in columns.symbols:
                self.coins |= _texts(batch.column(str(place)))
            n += len(batch)
            if n > MAX_ROWS:
                raise InputError(
                    f"{self._layout.file}: more than {MAX_ROWS:,} rows; cut the file, or give days"
                )
            if len(self.coins) > 1000:
                break
        micros = times.finish(self._asked.date_order)
        self.zoned = times.zoned
        # One column after the other, so that no more than one is held twice.
        return micros, {role: np.concatenate([np.empty(0), *parts.pop(role)]) for role in roles}

    def _time_cells(self, cells: dict[int, pa.Array]) -> pa.Array:
        """The cells of the time; a column of the time of day is joined to that of the date."""
        columns = self._layout.columns
        day = cells[columns.times[0]]
        if columns.clock is None:
            return day
        clock = pc.utf8_trim_whitespace(cells[columns.clock].cast(pa.string()))
        for digits, form in (
            (r"^(\d{2})(\d{2})(\d{2})$", r"\1:\2:\3"),
            (r"^(\d{2})(\d{2})$", r"\1:\2"),
        ):
            clock = pc.replace_substring_regex(clock, digits, form)
        return pc.binary_join_element_wise(pc.utf8_trim_whitespace(day), clock, " ")

    def _batches(self, types: dict[int, pa.DataType]) -> Iterator[pa.RecordBatch]:
        """Batches with the columns that are used, named by their place; empty rows left out."""
        places = [*dict.fromkeys([*self._used, *self._layout.columns.symbols])]
        if not self._layout.separator:
            yield from self._parquet_batches(places)
            return
        options = {
            "read_options": pa_csv.ReadOptions(
                column_names=[str(i) for i in range(len(self._layout.header))], block_size=_BLOCK
            ),
            "parse_options": pa_csv.ParseOptions(
                delimiter=self._layout.separator, invalid_row_handler=_skip_blank
            ),
            "convert_options": pa_csv.ConvertOptions(
                column_types={str(p): types.get(p, pa.string()) for p in places},
                include_columns=[str(place) for place in places],
                null_values=_NULLS,
                strings_can_be_null=False,
                check_utf8=False,
            ),
        }
        with open_text(self._open, self._layout.file, self._layout.n_skipped) as text:
            if not cast(io.BufferedReader, text).peek(1):
                return
            try:
                for batch in pa_csv.open_csv(text, **options):
                    yield self._without_blank(batch)
            except pa.ArrowInvalid as error:
                if types:
                    raise
                raise self._broken_row(error) from error

    def _parquet_batches(self, places: list[int]) -> Iterator[pa.RecordBatch]:
        names = [self._layout.header[place] for place in places]
        try:
            with self._open() as file:
                for batch in pq.ParquetFile(file).iter_batches(columns=names):
                    order = [batch.schema.names.index(name) for name in names]
                    yield pa.RecordBatch.from_arrays(
                        [_as_text(batch.column(i)) for i in order], [str(p) for p in places]
                    )
        except (OSError, pa.ArrowException) as error:
            raise InputError(
                f"{self._layout.file}: is a damaged Parquet file; download it again"
            ) from error

    def _without_blank(self, batch: pa.RecordBatch) -> pa.RecordBatch:
        """A batch without the rows in which every column that is used is empty."""
        time = batch.column(str(self._used[0]))
        empty = pc.equal(time, "") if pa.types.is_string(time.type) else time.is_null()
        if not pc.any(empty).as_py():
            return batch
        for place in self._used[1:]:
            cells = batch.column(str(place))
            blank = pc.equal(cells, "") if pa.types.is_string(cells.type) else cells.is_null()
            empty = pc.and_(empty, blank)
        return batch.filter(pc.invert(empty))

    def _broken_row(self, error: Exception) -> InputError:
        """The first row with another number of cells than the header, by its line."""
        layout = self._layout
        n = len(layout.header)
        for line, row in walk_rows(self._open, layout.file, layout.separator, layout.n_skipped):
            if len(row) != n:
                return InputError(
                    f"{layout.file}: line {line}: {len(row)} values, expected {n} as in the header"
                )
        reason = " ".join(str(error).split())[:100]
        return InputError(f"{layout.file}: cannot be read as CSV ({reason}); save it again as CSV")

    def refuse_rows(self, wrong: np.ndarray, place: int, expected: str) -> None:
        """Raise InputError for the first row that is marked, naming its line and cell."""
        if wrong.any():
            column = self._layout.header[place].lower()
            row = int(wrong.argmax())
            raise self.refusal(BadCell(row, column, self._cell(row, place), expected))

    def refusal(self, bad: BadCell) -> InputError:
        """The error that names a cell by the line of its row."""
        return InputError(f"{self._layout.file}: line {self._line(bad.row)}: {bad}")

    def _line(self, wanted: int) -> int:
        return self._find(wanted)[0]

    def _cell(self, row: int, place: int) -> str:
        cells = self._find(row)[1]
        return cells[place] if len(cells) > place else ""

    def _find(self, wanted: int) -> tuple[int, list[str]]:
        """Line and cells of a row, counted without rows that are empty where it matters."""
        layout = self._layout
        if not layout.separator:
            return wanted + 1, []
        found = (0, [""])
        rows = walk_rows(self._open, layout.file, layout.separator, layout.n_skipped)
        n = 0
        for found in rows:
            if any(place < len(found[1]) and found[1][place].strip() for place in self._used):
                if n == wanted:
                    break
                n += 1
        return found


def _is_plain(cell: str) -> bool:
    return cell.lower() in MISSING or _PLAIN.fullmatch(cell) is not None


def _skip_blank(row: pa_csv.InvalidRow) -> str:
    return "error" if row.text.strip() else "skip"


def _texts(cells: pa.Array) -> set[str]:
    return {str(cell) for cell in pc.unique(cells).to_pylist() if cell}


def _as_text(cells: pa.Array) -> pa.Array:
    """Text and categories as plain text, other types as they are."""
    if pa.types.is_dictionary(cells.type):
        cells = cells.dictionary_decode()
    if pa.types.is_decimal(cells.type):
        return cells.cast(pa.float64())
    text = pa.types.is_large_string(cells.type) or pa.types.is_string_view(cells.type)
    return (
        cells.cast(pa.string()).fill_null("") if text or pa.types.is_string(cells.type) else cells
    )
