"""What may be deleted: versions, snapshots and pictures that nothing needs any more."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable

from pydantic import BaseModel, ConfigDict


class StoredVersion(BaseModel):
    """A version as far as retention looks at it."""

    model_config = ConfigDict(frozen=True)
    number: int
    as_of: dt.date
    snapshot_sha256: str


def select_champions(champions: list[int], keep_champions: int) -> set[int]:
    """The champion and its last predecessors.

    `champions`: every champion in the order in which they came, the present one last.
    """
    newest_first = list(dict.fromkeys(reversed(champions)))
    return set(newest_first[: keep_champions + 1])


def select_old(
    versions: Iterable[StoredVersion], kept: set[int], last: dt.date
) -> list[StoredVersion]:
    """Versions of days before `last` that are not kept."""
    return [one for one in versions if one.as_of < last and one.number not in kept]
