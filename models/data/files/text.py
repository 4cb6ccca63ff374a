"""Text of a price file: any common encoding as UTF-8, its separator, its lines of header.

A file is given as a function that opens its bytes, so that it can be read twice: once for its
first lines, once whole. Nothing here holds more than a few megabytes of it.
"""

from __future__ import annotations

import codecs
import csv
import io
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any, BinaryIO, cast

from models.data.files.refusal import shown
from models.errors import InputError

OpenBytes = Callable[[], BinaryIO]

MAX_BYTES = 1_000_000_000
MAX_COLUMNS = 200
MAX_LINE = 1 << 20
_HEAD_CHARACTERS = 1 << 18
_SEPARATORS = "\t;|,"
_MARKS = (
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF32_LE, "utf-32-le"),
    (codecs.BOM_UTF32_BE, "utf-32-be"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
)


class Utf8Stream(io.RawIOBase):
    """A file's text as UTF-8 bytes without mark, lines ended by a line feed alone.

    Raises InputError for bytes that are no text, more than MAX_BYTES, or a line over MAX_LINE.
    """

    def __init__(self, raw: BinaryIO, name: str) -> None:
        self._raw, self._name = raw, name
        first = raw.read(1 << 16)
        mark, self._encoding = _find_encoding(first, name)
        self._left = first[len(mark) :]
        decoder = codecs.getincrementaldecoder(self._encoding)()
        self._decoder = io.IncrementalNewlineDecoder(decoder, translate=True)
        self._ready = b""
        self._n_bytes, self._n_lines, self._n_since_line, self._ended = 0, 0, 0, False

    def readable(self) -> bool:
        """Whether it can be read: yes."""
        return True

    def close(self) -> None:
        """Close the file below too."""
        if not self.closed:
            self._raw.close()
        super().close()

    def readinto(self, buffer: bytearray) -> int:  # type: ignore[override]
        """Fill the buffer with the next bytes; returns how many, 0 at the end."""
        while not self._ready and not self._ended:
            self._decode_more()
        n = min(len(buffer), len(self._ready))
        buffer[:n] = self._ready[:n]
        self._ready = self._ready[n:]
        return n

    def _decode_more(self) -> None:
        block = self._left or self._raw.read(1 << 20)
        self._left = b""
        self._n_bytes += len(block)
        if self._n_bytes > MAX_BYTES:
            raise InputError(
                f"{self._name}: more than {MAX_BYTES / 1e9:g} GB of text; cut the file"
            )
        self._ended = not block
        try:
            text = self._decoder.decode(block, final=self._ended)
            if "\0" in text:
                raise InputError(f"{self._name}: holds zero bytes, so it is no text; expected CSV")
            self._ready = text.encode()
        except UnicodeDecodeError as error:
            line = self._n_lines + error.object[: error.start].count(b"\n") + 1
            byte = error.object[error.start]
            raise InputError(
                f"{self._name}: line {line}: byte 0x{byte:02x} is not UTF-8; save it as UTF-8"
            ) from error
        except UnicodeEncodeError as error:
            raise InputError(f"{self._name}: holds half a character; save it as UTF-8") from error
        last = self._ready.rfind(b"\n")
        self._n_since_line = len(self._ready) - last - 1 + (self._n_since_line if last < 0 else 0)
        self._n_lines += self._ready.count(b"\n")
        if self._n_since_line > MAX_LINE:
            raise InputError(
                f"{self._name}: line {self._n_lines + 1} has more than {MAX_LINE:,} characters; "
                "expected CSV, one day a line"
            )


def _find_encoding(first: bytes, name: str) -> tuple[bytes, str]:
    """The mark at the start of a file and its encoding; without a mark UTF-8, or UTF-16."""
    for mark, encoding in _MARKS:
        if first.startswith(mark):
            return mark, encoding
    start = first[:200]
    for offset, encoding in ((1, "utf-16-le"), (0, "utf-16-be")):
        zeros = start[offset::2].count(0)
        if len(start) >= 4 and zeros > 0.8 * len(start[offset::2]) and zeros == start.count(0):
            return b"", encoding
    if 0 in start:
        raise InputError(f"{name}: holds zero bytes, so it is no text; expected CSV")
    return b"", "utf-8"


def open_text(open_bytes: OpenBytes, name: str, n_skipped: int = 0) -> BinaryIO:
    """Open the text after its first `n_skipped` lines."""
    text = cast(BinaryIO, io.BufferedReader(cast(Any, Utf8Stream(open_bytes(), name)), 1 << 20))
    for _ in range(n_skipped):
        text.readline()
    return text


def read_head(open_bytes: OpenBytes, name: str) -> list[str]:
    """The first lines, a quarter of a million characters of them at most.

    Raises InputError for a file that is empty, a web page, JSON, or one endless line.
    """
    with open_text(open_bytes, name) as text:
        head = text.read(_HEAD_CHARACTERS).decode(errors="ignore")
        whole = not text.read(1)
    lines = head.split("\n")
    if not whole:
        if len(lines) == 1:
            raise InputError(
                f"{name}: line 1 has more than {_HEAD_CHARACTERS:,} characters; expected CSV, "
                "one day a line"
            )
        lines.pop()
    start = head.lstrip()[:200].lower()
    if not start:
        raise InputError(f"{name}: the file is empty, expected a header and one candle a line")
    if start.startswith(("<!doctype", "<html", "<?xml", "<svg")):
        raise InputError(
            f"{name}: is a web page, not a file of prices; download the CSV file from that page"
        )
    if start.startswith(("{", "[")):
        raise InputError(f"{name}: is JSON; expected CSV, save the prices as one")
    return lines


def find_separator(lines: list[str], name: str) -> str:
    """The character between the columns: the one that gives most lines the same number of cells."""
    filled = [line for line in lines if line.strip()][:400]
    best, best_share = "", 0.0
    for separator in _SEPARATORS:
        widths = Counter(len(row) for row in split_rows(filled, separator, name))
        width, n = widths.most_common(1)[0]
        share = n / len(filled)
        if width > 1 and share > best_share:
            best, best_share = separator, share
    if not best:
        raise InputError(
            f"{name}: has one column, {shown(filled[0])}; expected commas, semicolons or tabs "
            "between a day and its prices"
        )
    return best


def split_rows(lines: list[str], separator: str, name: str) -> list[list[str]]:
    """Cells of each line, without the spaces around them."""
    return [[cell.strip() for cell in row] for _, row in number_rows(lines, separator, name)]


def number_rows(
    lines: list[str] | Iterator[str], separator: str, name: str, n_skipped: int = 0
) -> Iterator[tuple[int, list[str]]]:
    """Number of its last line, and cells, of every row.

    Raises InputError for text that is no CSV, or has too many columns.
    """
    reader = csv.reader(lines, delimiter=separator, skipinitialspace=True)
    try:
        for row in reader:
            if len(row) > MAX_COLUMNS:
                raise InputError(
                    f"{name}: line {n_skipped + reader.line_num} has {len(row):,} columns, "
                    f"expected at most {MAX_COLUMNS}"
                )
            yield n_skipped + reader.line_num, row
    except csv.Error as error:
        line = n_skipped + reader.line_num
        raise InputError(f"{name}: line {line}: not CSV: {error}") from error


def walk_rows(
    open_bytes: OpenBytes, name: str, separator: str, n_skipped: int
) -> Iterator[tuple[int, list[str]]]:
    """Line and cells of every row below the header that is not blank."""
    with open_text(open_bytes, name, n_skipped) as text:
        lines = io.TextIOWrapper(text, "utf-8", newline="\n")
        for line, row in number_rows(lines, separator, name, n_skipped):
            if len(row) > 1 or "".join(row).strip():
                yield line, row
