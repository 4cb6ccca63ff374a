"""Files that users name: what kind they are and how large, before a byte of them is believed."""

from __future__ import annotations

import bz2
import datetime as dt
import gzip
import io
import lzma
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO, cast

from models.data.files.text import MAX_BYTES, OpenBytes
from models.errors import InputError
from tasks.storage.files import find_file

_EXCEL_MAX_BYTES = 100_000_000
_OLD_EXCEL = b"\xd0\xcf\x11\xe0"
_UNREADABLE = (OSError, EOFError, zlib.error, lzma.LZMAError, zipfile.BadZipFile)


def open_prices(argument: str, what: str = "csv:PATH") -> tuple[OpenBytes, str, dt.datetime]:
    """A function that opens a file's bytes, unpacked; its name; and when it was written, UTC.

    Text and Parquet files are read as they are, or from gzip, bzip2, xz or a zip with one file;
    Excel workbooks become CSV. Raises InputError for a path that is no regular file, a file larger
    than MAX_BYTES, and one that cannot be read.
    """
    path, status = find_file(argument, what)
    if status.st_size > MAX_BYTES:
        raise InputError(
            f"{path.name}: has {status.st_size / 1e9:.1f} GB, more than {MAX_BYTES / 1e9:g}: cut it"
        )
    written = dt.datetime.fromtimestamp(status.st_mtime, dt.UTC)
    try:
        with path.open("rb") as file:
            start = file.read(8)
        return _find_opener(path, start), path.name, written
    except _UNREADABLE as error:
        raise _unreadable(path.name, error) from error


def _find_opener(path: Path, start: bytes) -> OpenBytes:
    """How to open the file, by its first bytes: names are often wrong."""
    if start.startswith((b"PK\x03\x04", b"PK\x05\x06")):
        return _open_zip(path)
    if start.startswith(_OLD_EXCEL):
        raise InputError(
            f"{path.name}: is an old Excel workbook (.xls); save it as CSV or as .xlsx"
        )
    packed: dict[bytes, Callable[..., BinaryIO]] = {
        b"\x1f\x8b": cast(Callable[..., BinaryIO], gzip.open),
        b"BZh": cast(Callable[..., BinaryIO], bz2.open),
        b"\xfd7zXZ": cast(Callable[..., BinaryIO], lzma.open),
    }
    opener = next((opener for magic, opener in packed.items() if start.startswith(magic)), open)
    return _told(path.name, lambda: opener(path, "rb"))


class _ToldStream(io.RawIOBase):
    """A stream whose failures to read, such as a damaged archive, are told in one line."""

    def __init__(self, stream: BinaryIO, name: str) -> None:
        self._stream, self._name = stream, name

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return self._stream.seekable()

    def seek(self, offset: int, whence: int = 0) -> int:
        return self._stream.seek(offset, whence)

    def tell(self) -> int:
        return self._stream.tell()

    def close(self) -> None:
        if not self.closed:
            self._stream.close()
        super().close()

    def readinto(self, buffer: bytearray) -> int:  # type: ignore[override]
        try:
            block = self._stream.read(len(buffer))
        except (*_UNREADABLE, RuntimeError) as error:
            raise _unreadable(self._name, error) from error
        buffer[: len(block)] = block
        return len(block)


def _told(name: str, open_bytes: Callable[[], BinaryIO]) -> OpenBytes:
    def opened() -> BinaryIO:
        try:
            return cast(BinaryIO, _ToldStream(open_bytes(), name))
        except (*_UNREADABLE, RuntimeError, NotImplementedError) as error:
            raise _unreadable(name, error) from error

    return opened


def _open_zip(path: Path) -> OpenBytes:
    """The one file of a zip; an Excel workbook is a zip too."""
    with zipfile.ZipFile(path) as archive:
        members = archive.infolist()
    if any(member.filename == "xl/workbook.xml" for member in members):
        return _read_excel(path, sum(member.file_size for member in members))
    files = [
        member
        for member in members
        if not member.is_dir() and not member.filename.startswith(("__MACOSX/", "."))
    ]
    if len(files) != 1:
        names = ", ".join(repr(member.filename) for member in files[:5]) or "none"
        raise InputError(
            f"{path.name}: expected a zip with one file, found {names}; unpack it and name one"
        )
    [member] = files
    if member.flag_bits & 1:
        raise InputError(f"{path.name}: is locked by a password; unpack it first")
    if member.file_size > MAX_BYTES:
        raise InputError(
            f"{path.name}: unpacks to {member.file_size / 1e9:.1f} GB, more than "
            f"{MAX_BYTES / 1e9:g}: cut it"
        )
    return _told(path.name, lambda: cast(BinaryIO, zipfile.ZipFile(path).open(member)))


def _read_excel(path: Path, n_bytes: int) -> OpenBytes:
    """The first sheet of a workbook as CSV."""
    if n_bytes > _EXCEL_MAX_BYTES:
        raise InputError(
            f"{path.name}: unpacks to {n_bytes / 1e6:,.0f} MB, more than "
            f"{_EXCEL_MAX_BYTES / 1e6:g} for a workbook; save it as CSV"
        )
    try:
        from openpyxl import load_workbook
    except ImportError as error:
        raise InputError(
            f"{path.name}: reading Excel needs openpyxl; pip install 'btc-daily[excel]', or save "
            "it as CSV"
        ) from error
    import csv

    try:
        book = load_workbook(path, read_only=True, data_only=True)
        sheets = [sheet for sheet in book.worksheets if sheet.max_row]
    except Exception as error:
        raise InputError(
            f"{path.name}: is a damaged workbook ({type(error).__name__}); save it again"
        ) from error
    if len(sheets) != 1:
        raise InputError(f"{path.name}: has {len(sheets)} sheets; keep the one with the prices")
    text = io.StringIO()
    writer = csv.writer(text)
    for row in sheets[0].iter_rows(values_only=True):
        writer.writerow(["" if cell is None else cell for cell in row])
    data = text.getvalue().encode()
    return lambda: io.BytesIO(data)


def _unreadable(name: str, error: Exception) -> InputError:
    if isinstance(error, OSError) and error.strerror:
        return InputError(f"cannot read {name!r}: {error.strerror}")
    reason = " ".join(str(error).split())[:100] or type(error).__name__
    return InputError(f"{name}: is damaged or cut off ({reason}); download it again")
