"""Numbers of a price file: thousands, decimal commas, currency signs, K and M, missing ones."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from models.data.files.refusal import BadCell, Unclear

MISSING = (
    "",
    "-",
    "--",
    "\u2013",
    "\u2014",
    ".",
    "null",
    "nan",
    "n/a",
    "na",
    "#n/a",
    "none",
    "nat",
)
_DRESS = "[\\s\u00a0\u202f\u2009'\u2019$€£¥₿]|(USDT|USD|EUR|BTC)$"
_FACTORS = {"k": 1e3, "m": 1e6, "b": 1e9, "t": 1e12}
_PLAIN = {
    ".": r"^[+-]?(\d{1,3}(,\d{3})+|\d+)(\.\d*)?([eE][+-]?\d+)?$|^[+-]?\.\d+([eE][+-]?\d+)?$",
    ",": r"^[+-]?(\d{1,3}(\.\d{3})+|\d+)(,\d*)?([eE][+-]?\d+)?$",
}
_PROOF = {
    ".": r"\.\d{1,2}$|\.\d{4,}$|\d{4,}\.\d|,\d{3}[,.]|^[+-]?0?\.\d|\d[eE]",
    ",": r",\d{1,2}$|,\d{4,}$|\d{4,},\d|\.\d{3}[.,]|^[+-]?0?,\d",
}
_OPEN = {".": r"^[+-]?[1-9]\d{0,2}\.\d{3}$", ",": r"^[+-]?[1-9]\d{0,2},\d{3}$"}


@dataclass
class DecimalMark:
    """Which mark the cells seen so far show to be the decimal one: '.' or ','.

    55.906 may be fifty-five thousand or fifty-five; 55.90 and 55.906,10 leave no doubt.
    """

    point: bool = False
    comma: bool = False
    open_point: str = ""
    open_comma: str = ""

    def look_at(self, text: pa.Array | pa.ChunkedArray) -> None:
        """Take in more cells."""
        if self.point and self.comma:
            return
        text = pc.replace_substring_regex(clean(text), r"[kKmMbBtT]$", "")
        self.point = self.point or _any(text, _PROOF["."])
        self.comma = self.comma or _any(text, _PROOF[","])
        if not (self.point or self.comma):
            self.open_point = self.open_point or _first(text, _OPEN["."])
            self.open_comma = self.open_comma or _first(text, _OPEN[","])

    @property
    def likely(self) -> str:
        """The mark to read with."""
        return "," if self.comma and not self.point else "."

    def settle(self, asked: str, separator: str) -> None:
        """Raise Unclear where nothing shows the mark and the user has not said it."""
        if asked or self.point or self.comma:
            return
        open_cell = self.open_point or (self.open_comma if separator != "," else "")
        if open_cell:
            raise Unclear(
                f"prices are written like {open_cell}, which may be thousands or thousandths: "
                "write them without a mark between thousands, or say which mark is the decimal "
                "one with --set decimal=. or --set decimal=,"
            )


def clean(cells: pa.Array | pa.ChunkedArray) -> pa.Array | pa.ChunkedArray:
    """Cells without spaces and currency signs; null where there is no number."""
    text = pc.utf8_trim_whitespace(cells)
    text = pc.replace_substring_regex(text, _DRESS, "")
    missing = pc.is_in(pc.utf8_lower(text), value_set=pa.array(MISSING))
    return pc.if_else(missing, pa.scalar(None, pa.string()), text)


def read_numbers(
    cells: pa.Array | pa.ChunkedArray, decimal: str, first_row: int, column: str
) -> np.ndarray:
    """Numbers of cells, (n,), NaN where one is missing; `first_row` is the row of the first.

    Raises BadCell for a cell that is no number under the `decimal` mark.
    """
    if not (pa.types.is_string(cells.type) or pa.types.is_large_string(cells.type)):
        return _from_typed(cells, first_row, column)
    if decimal == ".":
        try:
            return _floats(cells)
        except pa.ArrowInvalid:
            pass
    text = clean(cells)
    suffix = pc.utf8_lower(pc.utf8_slice_codeunits(text, -1))
    factors = np.ones(len(text))
    for letter, factor in _FACTORS.items():
        factors[pc.equal(suffix, letter).fill_null(False).to_numpy(False).astype(bool)] = factor
    text = pc.replace_substring_regex(text, r"[kKmMbBtT]$", "")
    infinite = pc.match_substring_regex(text, r"^[+-]?[iI]nf(inity)?$").fill_null(False)
    right = pc.match_substring_regex(text, _PLAIN[decimal]).fill_null(True)
    wrong = ~pc.or_(right, infinite).to_numpy(False).astype(bool)
    if wrong.any():
        row = int(wrong.argmax())
        raise BadCell(first_row + row, column, str(cells[row].as_py()), "a number")
    if decimal == ".":
        text = pc.replace_substring(text, ",", "")
    else:
        text = pc.replace_substring(pc.replace_substring(text, ".", ""), ",", ".")
    return _floats(text) * factors


def _from_typed(cells: pa.Array | pa.ChunkedArray, first_row: int, column: str) -> np.ndarray:
    try:
        return _floats(cells)
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as error:
        raise BadCell(first_row, column, str(cells[0].as_py()), "numbers") from error


def _floats(cells: pa.Array | pa.ChunkedArray) -> np.ndarray:
    numbers = cells.cast(pa.float64(), safe=False).fill_null(np.nan)
    return numbers.to_numpy() if isinstance(numbers, pa.ChunkedArray) else numbers.to_numpy(False)


def _any(text: pa.Array | pa.ChunkedArray, pattern: str) -> bool:
    return bool(pc.any(pc.match_substring_regex(text, pattern)).as_py())


def _first(text: pa.Array | pa.ChunkedArray, pattern: str) -> str:
    found = pc.filter(text, pc.match_substring_regex(text, pattern).fill_null(False))
    return str(found[0].as_py()) if len(found) else ""
