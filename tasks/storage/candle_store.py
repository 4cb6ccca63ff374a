"""The candle store: Parquet by source, symbol and year, on this machine or any fsspec address.

`<address>/<source>/<symbol>/year=2024/candles.parquet`; beside the years lie `_revisions.parquet`
and `_quarantine.parquet`, which dataset readers skip because of the underscore. Every file is
written whole under a temporary name and renamed.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path

import numpy as np
import pyarrow as pa
from fsspec.implementations.local import LocalFileSystem
from fsspec.implementations.memory import MemoryFileSystem

from models.config.base import shorten
from models.data.store_table import BadRows, candle_schema, check_table
from models.errors import InputError
from tasks.secrets import hide
from tasks.storage.archive import open_files, put, told_in_one_line
from tasks.storage.home import home, make_folder
from tasks.storage.lock import hold, locked, shares_locks
from tasks.storage.sealed import Damaged, read_sealed, write_sealed

CANDLES, REVISIONS, QUARANTINE = "candles.parquet", "_revisions.parquet", "_quarantine.parquet"


class CandleStore:
    """The stored daily candles of one source and symbol.

    `address` is a folder or an fsspec address such as s3://bucket/candles; by default BTC_STORE,
    else candles/ under BTC_HOME. Raises InputError for an address that cannot be opened.
    """

    def __init__(self, source: str, symbol: str, address: str = "") -> None:
        address = address or os.environ.get("BTC_STORE") or str(home() / "candles")
        folders = (source.replace(":", "-"), symbol.replace("/", "-").replace(":", "_"))
        self._files, root = open_files("BTC_STORE", address)
        self.source, self.symbol = source, symbol
        self.schema = candle_schema(symbol)
        self._unsealed: set[str] = set()
        self.folder = "/".join([root, *folders])

    @contextmanager
    def lock(self) -> Iterator[None]:
        """Keep other writers waiting; ends with the process, however it ends.

        A lock file in the store keeps those of this machine waiting. A store that other machines
        reach knows no locks: PostgreSQL's keep those of all machines waiting, and without it
        InputError is raised.
        """
        if isinstance(self._files, LocalFileSystem):
            held = locked(Path(self.folder) / ".lock")
        elif not isinstance(self._files, MemoryFileSystem) and not shares_locks():
            raise InputError(
                f"BTC_STORE: {hide(self.folder)} cannot be locked, since a store that is no disk "
                "of this machine knows no locks; set BTC_DATABASE_URL to a PostgreSQL server, "
                "whose locks all machines share, or keep the candles on a disk"
            )
        else:
            held = hold(f"store {re.sub(r'[^A-Za-z0-9.-]+', '_', hide(self.folder))}", wait=True)
        with held:
            try:
                yield
            finally:
                self._remove_if_empty()

    def read(self) -> pa.Table:
        """All stored candles, sorted; no row where nothing is stored yet.

        Raises InputError for a file that is no candle table, StoreError for a store that fails.
        """
        with told_in_one_line("BTC_STORE", self.folder):
            tables = [self._read_year(path) for path in self.years()]
        return pa.concat_tables([self.schema.empty_table(), *tables])

    def years(self) -> list[str]:
        """Paths of the stored years, oldest first; raises StoreError for a store that fails."""
        with told_in_one_line("BTC_STORE", self.folder):
            return sorted(self._files.glob(f"{self.folder}/year=*/{CANDLES}"))

    def write(self, table: pa.Table, stored: pa.Table) -> None:
        """Store the years of a sorted candle table that differ from `stored`, the table before.

        Years whose file has no seal yet, of an earlier release, are written again. Raises BadRows
        for rows that cannot be candles.
        """
        check_table(table)
        old = dict(_by_year(stored))
        for year, part in _by_year(table):
            path = f"{self.folder}/year={year}/{CANDLES}"
            if year not in old or not old[year].equals(part) or path in self._unsealed:
                self._write(path, part)

    def read_log(self, name: str, schema: pa.Schema) -> pa.Table:
        """Rows of the log REVISIONS or QUARANTINE, oldest first; raises as `read` does."""
        with told_in_one_line("BTC_STORE", self.folder):
            try:
                return self._read(f"{self.folder}/{name}", schema)
            except FileNotFoundError:
                return schema.empty_table()

    def append_log(self, name: str, rows: pa.Table) -> None:
        """Add the rows to a log, except those it has already, from an earlier try of a run."""
        log = self.read_log(name, rows.schema)
        both = pa.concat_tables([log, rows]).to_pandas().drop_duplicates()
        if len(both) > log.num_rows:
            table = pa.Table.from_pandas(both, schema=rows.schema, preserve_index=False)
            self._write(f"{self.folder}/{name}", table)

    def _remove_if_empty(self) -> None:
        """Leave nothing of a store on this machine that holds nothing, as of an unknown symbol."""
        folder = Path(self.folder)
        lock = folder / ".lock"
        if isinstance(self._files, LocalFileSystem) and list(folder.iterdir()) == [lock]:
            lock.unlink()  # Those who wait for it see that it is gone.
            folder.rmdir()
            if not list(folder.parent.iterdir()):
                folder.parent.rmdir()

    def _read_year(self, path: str) -> pa.Table:
        table = self._read(path, self.schema)
        years = table["open_time"].to_numpy().astype("datetime64[Y]")
        try:
            check_table(table)
        except BadRows as error:
            raise _unusable(path, str(error)) from error
        if not len(years) or not (years == np.datetime64(path.split("/year=")[-1][:4])).all():
            raise _unusable(path, "not the candles of that year")
        return table

    def _read(self, path: str, schema: pa.Schema) -> pa.Table:
        try:
            with self._files.open(path, "rb") as file:
                table, sealed = read_sealed(file.read())
            if not sealed:
                self._unsealed.add(path)
            return table.select(schema.names).cast(schema)
        except (Damaged, pa.ArrowException, KeyError) as error:
            raise _unusable(
                path, f"no such table: {shorten(hide(error), 80, quoted=False)}"
            ) from error

    def _write(self, path: str, table: pa.Table) -> None:
        data = write_sealed(table)
        self._unsealed.discard(path)
        if isinstance(self._files, LocalFileSystem):
            temporary = Path(path).with_name(f".{Path(path).name}.part")
            make_folder(temporary.parent)
            with temporary.open("wb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            temporary.replace(path)
            return
        with told_in_one_line("BTC_STORE", self.folder):
            put(self._files, path, data)


def list_stores() -> list[CandleStore]:
    """Every store of daily candles under the address, by source and symbol.

    Raises StoreError for an address that fails.
    """
    found = CandleStore("*", "*").years()
    names = sorted({tuple(path.split("/")[-4:-2]) for path in found})
    return [
        CandleStore(source.replace("-", ":", 1), symbol.replace("-", "/", 1).replace("_", ":"))
        for source, symbol in names
    ]


def _by_year(table: pa.Table) -> Iterator[tuple[str, pa.Table]]:
    years = table["open_time"].to_numpy().astype("datetime64[Y]")
    bounds = [0, *(np.flatnonzero(years[1:] != years[:-1]) + 1), len(years)]
    for start, end in pairwise(bounds):
        if end > start:
            yield str(years[start]), table.slice(start, end - start)


def _unusable(path: str, why: str) -> InputError:
    return InputError(
        f"the store's file {path} cannot be used ({why}): remove it, and the next ingest fetches "
        "its candles again"
    )
