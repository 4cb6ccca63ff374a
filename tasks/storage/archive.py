"""The archive: whole folders (snapshots, reports) at an fsspec address that machines share.

`BTC_ARCHIVE` names it, such as s3://bucket/archive; without it there is none. A folder's manifest,
the SHA-256 of every file by name, is written after the files: what has none is not there yet, and
what does not have its hashes is never used.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import fsspec

from models.errors import InputError, StoreError
from tasks.secrets import hide
from tasks.storage.files import whole_folder

MANIFEST = "_manifest.json"


def keep(folder: Path, name: str) -> None:
    """Copy a folder to the archive under `name`, where there is an archive; the manifest last.

    Raises StoreError, in one line, where it cannot be written; trying again finishes it.
    """
    if not (address := os.environ.get("BTC_ARCHIVE")):
        return
    files = {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }
    manifest = json.dumps({name: _digest(content) for name, content in files.items()}, indent=2)
    target = f"{address.rstrip('/')}/{name}"
    with told_in_one_line("BTC_ARCHIVE", target):
        bucket, root = open_files("BTC_ARCHIVE", target)
        for path, content in files.items():
            put(bucket, f"{root}/{path}", content)
        put(bucket, f"{root}/{MANIFEST}", manifest.encode())


def recover(name: str, folder: Path) -> bool:
    """Bring `name` back from the archive to `folder`; False where it is not there whole.

    Raises StoreError where the archive does not answer, or a file is not what the manifest says.
    """
    if not (address := os.environ.get("BTC_ARCHIVE")):
        return False
    target = f"{address.rstrip('/')}/{name}"
    with told_in_one_line("BTC_ARCHIVE", target):
        bucket, root = open_files("BTC_ARCHIVE", target)
        try:
            hashes: dict[str, str] = json.loads(bucket.cat_file(f"{root}/{MANIFEST}"))
        except FileNotFoundError:
            return False
        files = {path: bucket.cat_file(f"{root}/{path}") for path in hashes}
    for path, content in files.items():
        if _digest(content) != hashes[path]:
            raise StoreError(f"BTC_ARCHIVE: {target}/{path} is not what its manifest says")
    with whole_folder(folder) as temporary:
        for path, content in files.items():
            (temporary / path).parent.mkdir(parents=True, exist_ok=True)
            (temporary / path).write_bytes(content)
    return True


def list_kept(name: str) -> list[str]:
    """Names of the folders under `name` in the archive, in order; none without an archive."""
    if not (address := os.environ.get("BTC_ARCHIVE")):
        return []
    target = f"{address.rstrip('/')}/{name}"
    with told_in_one_line("BTC_ARCHIVE", target):
        bucket, root = open_files("BTC_ARCHIVE", target)
        try:
            found = bucket.ls(root, detail=False)
        except FileNotFoundError:
            return []
    return sorted(path.rstrip("/").rpartition("/")[2] for path in found)


def check_archive() -> None:
    """Raise InputError or StoreError for a BTC_ARCHIVE that cannot be opened."""
    if address := os.environ.get("BTC_ARCHIVE"):
        open_files("BTC_ARCHIVE", address)


def open_files(variable: str, address: str) -> tuple[Any, str]:
    """The file system of an fsspec address, which looks anew each time, and the path in it.

    Raises InputError for an address that cannot be opened, StoreError where nobody answers there.
    """
    try:
        # Some file systems call their server at once.
        with told_in_one_line(variable, address):
            files, root = fsspec.url_to_fs(address, use_listings_cache=False)
    except (ImportError, ValueError) as error:
        raise InputError(f"{variable}: cannot open {hide(address)!r} ({hide(error)})") from error
    return files, root.rstrip("/")


def put(files: Any, path: str, content: bytes) -> None:
    """Write one file that readers see whole or not at all.

    An object store shows an object when all of it has come; elsewhere a temporary name does it.
    """
    if is_object_store(files):
        files.pipe_file(path, content)
        return
    folder, _, name = path.rpartition("/")
    temporary = f"{folder}/.{name}-{os.urandom(6).hex()}"
    files.makedirs(folder, exist_ok=True)
    try:
        files.pipe_file(temporary, content)
        files.mv(temporary, path)
    finally:
        if files.exists(temporary):
            files.rm(temporary)


def is_object_store(files: Any) -> bool:
    """Whether a file system is an object store: its writes are whole, and it knows no locks."""
    protocols = {files.protocol} if isinstance(files.protocol, str) else set(files.protocol)
    return bool(protocols & {"s3", "s3a", "gs", "gcs", "abfs", "az"})


@contextmanager
def told_in_one_line(variable: str, target: str) -> Iterator[None]:
    """Raise StoreError, in one line, where a store fails, forbids or cannot be reached."""
    try:
        yield
    except Exception as error:
        if not isinstance(error, OSError) and not is_of_bucket(error):
            raise
        reason = " ".join(hide(error).split())[:200]
        raise StoreError(
            f"{variable}: {hide(target)} failed ({type(error).__name__}: {reason}); what was "
            "stored before stands, run again to finish"
        ) from error


def is_of_bucket(error: Exception) -> bool:
    """Whether an error is of the libraries that talk to a bucket, as when none answers."""
    # They are an extra, and are not imported for the names of their errors.
    library = type(error).__module__.partition(".")[0]
    return library in ("aiobotocore", "aiohttp", "boto3", "botocore", "s3transfer")


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()
