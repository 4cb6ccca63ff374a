"""Times of the rows of a price file, whatever way they are written, as microseconds UTC.

Numbers are seconds, milli-, micro- or nanoseconds since 1970, told apart row by row by their size:
Bitcoin's prices begin in 2009, when a second had ten digits. A date such as 03/04/2024 is kept as
its three numbers until all rows are seen, because only together they may prove the order.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from models.data.files.refusal import BadCell, Unclear, shown

DAY_US = 86_400_000_000
_YEAR_1, _YEAR_10000 = -62_135_596_800_000_000, 253_402_300_800_000_000
EXPECTED = "a UTC day such as 2024-12-31"

_CLOCK = (
    r"(?:[T ,-]+(?P<hour>\d{1,2})"
    r"(?::(?P<minute>\d{2})(?::(?P<second>\d{2})(?:[.,](?P<part>\d{1,9}))?)?)?"
    r"[ -]?(?P<half>[AaPp]\.?[Mm]\.?)?)?"
)
_ZONE = r"\s*(?P<zone>[Zz]|(?:UTC|GMT)?\s?[+-]\d{1,2}:?\d{2}|UTC|GMT)?$"
_WEEKDAY = r"^(?:[A-Za-z]{3,9}\.?,? )?"
_PATTERNS = {
    "year first": r"^(?P<year>\d{4})[-/. ](?P<month>\d{1,2})[-/. ](?P<day>\d{1,2})",
    "compact": r"^(?P<year>(?:19|20)\d{2})(?P<month>\d{2})(?P<day>\d{2})",
    "numbers": r"^(?P<a>\d{1,2})[-/. ](?P<b>\d{1,2})[-/. ](?P<c>\d{4}|\d{2})",
    "month first": _WEEKDAY
    + r"(?P<name>[A-Za-z]{3,9})\.?[ -](?P<day>\d{1,2})(?:st|nd|rd|th)?,?[ -](?P<year>\d{4})",
    "day first": _WEEKDAY
    + r"(?P<day>\d{1,2})\.?(?:st|nd|rd|th)?[ -](?P<name>[A-Za-z]{3,9})\.?,?[ -]"
    + r"(?P<year>\d{4}|\d{2})",
}
_NUMBER = re.compile(r"\d{9,19}(\.\d*)?")
_MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
ORDERS = {"dmy": (2, 1, 0), "mdy": (2, 0, 1), "ymd": (0, 1, 2)}
"""Where year, month and day stand among the three numbers."""


@dataclass
class Times:
    """The times of a column, collected batch by batch in the order of the file.

    `kind` is how they are written; `zoned` says whether the file names their time zone.
    """

    column: str
    kind: str
    zoned: bool = True
    _parts: list[np.ndarray] = field(default_factory=list)
    _n: int = 0

    def add(self, cells: pa.Array | pa.ChunkedArray) -> None:
        """Take the next rows; raises BadCell for one that is no time."""
        if cells.null_count:
            self._refuse(cells, cells.is_null().to_numpy(False).astype(bool))
        values = self._from_typed(cells) if not _is_text(cells) else self._from_text(cells)
        if self.kind != "numbers":
            self._refuse(cells, (values < _YEAR_1) | (values >= _YEAR_10000))
        self._parts.append(values)
        self._n += len(values)

    def finish(self, order: str) -> np.ndarray:
        """Microseconds since 1970, UTC, (n,), in the order of the file.

        `order` is what the user says, one of ORDERS, or empty. Raises Unclear where dates of three
        numbers may be read in more than one way, BadCell where one is no date.
        """
        if self.kind != "numbers":
            return np.concatenate(self._parts) if self._parts else np.empty(0, dtype=np.int64)
        cells = np.concatenate(self._parts) if self._parts else np.empty((0, 4), dtype=np.int64)
        return self._ordered(cells, order)

    def _from_typed(self, cells: pa.Array | pa.ChunkedArray) -> np.ndarray:
        if pa.types.is_date(cells.type):
            self.zoned = False
            return _micros(cells.cast(pa.timestamp("us")))
        if pa.types.is_timestamp(cells.type):
            self.zoned = self.zoned and cells.type.tz is not None
            return _micros(cells.cast(pa.timestamp("us", cells.type.tz), safe=False))
        if not (pa.types.is_integer(cells.type) or pa.types.is_floating(cells.type)):
            raise BadCell(self._n, self.column, str(cells.type), EXPECTED)
        whole = cells if pa.types.is_integer(cells.type) else pc.round(cells)
        missing = ~np.isfinite(cells.cast(pa.float64()).fill_null(np.nan).to_numpy())
        self._refuse(cells, missing)
        return self._from_numbers(cells, whole.cast(pa.int64(), safe=False).to_numpy())

    def _from_text(self, cells: pa.Array | pa.ChunkedArray) -> np.ndarray:
        text = pc.utf8_trim_whitespace(cells)
        if self.kind == "number":
            try:
                numbers = text.cast(pa.int64())
            except pa.ArrowInvalid:
                right = pc.match_substring_regex(text, r"^\d{9,19}(\.\d*)?$").to_numpy(False)
                self._refuse(text, ~right.astype(bool))
                numbers = pc.extract_regex(text, r"^(?P<n>\d+)")
                numbers = pc.struct_field(numbers, "n").cast(pa.int64())
            return self._from_numbers(text, numbers.to_numpy())
        if self.kind == "year first":
            # Many times faster than by pattern, where all cells are alike.
            for zone in (None, "UTC"):
                try:
                    times = _micros(text.cast(pa.timestamp("us", zone)))
                except pa.ArrowInvalid:
                    continue
                self.zoned = self.zoned and zone is not None
                return times
        return self._from_pattern(text)

    def _from_numbers(self, cells: pa.Array | pa.ChunkedArray, numbers: np.ndarray) -> np.ndarray:
        """Seconds to nanoseconds since 1970, told apart by their number of digits."""
        self._refuse(cells, (numbers < 10**8) | (numbers >= 10**19))
        micros = np.where(numbers < 10**11, np.minimum(numbers, 10**11) * 1_000_000, numbers)
        milli = (numbers >= 10**11) & (numbers < 10**14)
        micros = np.where(milli, np.minimum(numbers, 10**14) * 1_000, micros)
        result: np.ndarray = np.where(numbers >= 10**17, numbers // 1_000, micros)
        return result

    def _from_pattern(self, text: pa.Array | pa.ChunkedArray) -> np.ndarray:
        """Microseconds, or (n, 4) with the three numbers of the date and the time of day."""
        found = pc.extract_regex(text, _PATTERNS[self.kind] + _CLOCK + _ZONE)
        if isinstance(found, pa.ChunkedArray):
            found = found.combine_chunks()
        self._refuse(text, found.is_null().to_numpy(False).astype(bool))
        parts = {name: found.field(name) for name in (f.name for f in found.type)}
        clock = self._clock(text, parts)
        if self.kind == "numbers":
            return np.column_stack([*(_whole(parts[name]) for name in "abc"), clock])
        month = _month_numbers(parts["name"]) if "name" in parts else _whole(parts["month"])
        year = _whole(parts["year"])
        year = np.where(year < 100, year + 2000, year)
        days, right = _days(year, month, _whole(parts["day"]))
        self._refuse(text, ~right)
        result: np.ndarray = days * DAY_US + clock
        return result

    def _clock(self, text: pa.Array | pa.ChunkedArray, parts: dict[str, pa.Array]) -> np.ndarray:
        """Time of day in microseconds, less the offset of the zone."""
        hour, minute, second = (_whole(parts[name]) for name in ("hour", "minute", "second"))
        half = pc.utf8_slice_codeunits(pc.utf8_lower(parts["half"]), 0, 1)
        named = half.fill_null("").to_numpy(False)
        wrong = (hour > 23) | (minute > 59) | (second > 60)
        wrong |= (named != "") & ((hour < 1) | (hour > 12))
        self._refuse(text, wrong)
        hour = np.where(named == "", hour, hour % 12 + 12 * (named == "p"))
        part = pc.utf8_rpad(parts["part"].fill_null(""), 6, padding="0")
        micros = _whole(pc.utf8_slice_codeunits(part, 0, 6))
        zone = parts["zone"].fill_null("")
        self.zoned = self.zoned and bool(pc.all(pc.not_equal(zone, "")).as_py())
        offset = pc.extract_regex(zone, r"(?P<sign>[+-])(?P<h>\d{1,2}):?(?P<m>\d{2})")
        minutes = _whole(offset.field("h")) * 60 + _whole(offset.field("m"))
        sign = np.where(offset.field("sign").fill_null("").to_numpy(False) == "-", -1, 1)
        seconds = hour * 3600 + (minute - sign * minutes) * 60 + second
        result: np.ndarray = seconds * 1_000_000 + micros
        return result

    def _ordered(self, cells: np.ndarray, order: str) -> np.ndarray:
        if not order:
            order = self._prove_order(cells)
        days, right = _in_order(cells, order)
        if not right.all():
            row = int((~right).argmax())
            a, b, c = cells[row, :3]
            raise BadCell(row, self.column, f"{a}/{b}/{c}", f"a date in the order {order}")
        result: np.ndarray = days * DAY_US + cells[:, 3]
        return result

    def _prove_order(self, cells: np.ndarray) -> str:
        """The only order in which rows are dates, a 13 or more proves it, and days follow."""
        proven = []
        for order, (_, _, day) in ORDERS.items():
            days, right = _in_order(cells, order)
            steps = np.abs(np.diff(days[right]))
            steps = steps[steps > 0]
            follow = not len(steps) or np.median(steps) <= 7
            # One row in ten may be wrong: it is named by its line.
            if follow and right.mean() >= 0.9 and (cells[right, day] > 12).any():
                proven.append(order)
        if len(proven) != 1:
            a, b, c = cells[0, :3] if len(cells) else (0, 0, 0)
            raise Unclear(
                f"{self.column} is written like {shown(f'{a:02}/{b:02}/{c}')}, and nothing in the "
                "file proves which number is the day: say --date-order dmy (day first) or "
                "--date-order mdy (month first)"
            )
        return proven[0]

    def _refuse(self, cells: pa.Array | pa.ChunkedArray, wrong: np.ndarray) -> None:
        if wrong.any():
            row = int(wrong.argmax())
            raise BadCell(self._n + row, self.column, str(cells[row].as_py() or ""), EXPECTED)


def find_kind(cells: list[str]) -> str:
    """How the times of a few rows are written: 'number' or one of the patterns; empty if no time.

    Nine in ten of them decide, so that one that is wrong is named by its line later.
    """
    cells = [cell for cell in cells if cell.strip()]
    if not cells:
        return ""
    compact = re.compile(_PATTERNS["compact"] + _CLOCK + _ZONE)
    kinds: dict[str, re.Pattern[str]] = {"compact": compact}
    kinds |= {kind: re.compile(text + _CLOCK + _ZONE) for kind, text in _PATTERNS.items()}
    kinds["number"] = re.compile(_NUMBER.pattern + "$")
    for kind, pattern in kinds.items():
        if sum(bool(pattern.match(cell)) for cell in cells) >= 0.9 * len(cells):
            return kind
    for kind, pattern in kinds.items():
        if pattern.match(cells[0]):
            return kind
    return ""


def _is_text(cells: pa.Array | pa.ChunkedArray) -> bool:
    return pa.types.is_string(cells.type) or pa.types.is_large_string(cells.type)


def _micros(times: pa.Array | pa.ChunkedArray) -> np.ndarray:
    return times.cast(pa.int64()).to_numpy()


def _whole(text: pa.Array) -> np.ndarray:
    """Whole numbers of digits, 0 where there are none."""
    present = pc.if_else(pc.equal(text.fill_null(""), ""), "0", text.fill_null("0"))
    return present.cast(pa.int64()).to_numpy(False)


def _month_numbers(names: pa.Array) -> np.ndarray:
    short = pc.utf8_slice_codeunits(pc.utf8_lower(names), 0, 3)
    index = pc.index_in(short, value_set=pa.array(_MONTHS)).fill_null(-1)
    return index.to_numpy(False).astype(np.int64) + 1


def _in_order(cells: np.ndarray, order: str) -> tuple[np.ndarray, np.ndarray]:
    year, month, day = (cells[:, place] for place in ORDERS[order])
    return _days(np.where(year < 100, year + 2000, year), month, day)


def _days(year: np.ndarray, month: np.ndarray, day: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Days since 1970 of dates, (n,), and whether each is one that exists."""
    right = (year >= 1) & (month >= 1) & (month <= 12) & (day >= 1) & (day <= 31)
    months = (np.where(right, year, 1970) - 1970) * 12 + np.where(right, month, 1) - 1
    first = months.astype("datetime64[M]").astype("datetime64[D]")
    days = first + (np.where(right, day, 1) - 1).astype("timedelta64[D]")
    right &= days.astype("datetime64[M]") == months.astype("datetime64[M]")
    return days.astype(np.int64), right
