"""What may be deleted: versions, snapshots and pictures that nothing needs any more."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable

from pydantic import BaseModel, ConfigDict

PREDECESSORS = 30
"""Former champions whose files are kept for good, so that a rollback finds them."""
KEEP_DAYS = 90
"""Age in days from which what nothing names is deleted."""


class StoredVersion(BaseModel):
    """A version as far as retention looks at it."""

    model_config = ConfigDict(frozen=True)
    number: int
    as_of: dt.date
    snapshot_sha256: str


def select_kept(in_ledger: Iterable[int], champions: list[int]) -> set[int]:
    """Versions kept for good: those that forecast, the champion, and its last predecessors.

    `champions`: every champion in the order in which they came, the present one last.
    """
    newest_first = list(dict.fromkeys(reversed(champions)))
    return {*in_ledger, *newest_first[: PREDECESSORS + 1]}


def select_old(
    versions: Iterable[StoredVersion], kept: set[int], today: dt.date, keep_days: int = KEEP_DAYS
) -> list[StoredVersion]:
    """Versions whose files may go: old, and not kept."""
    last = today - dt.timedelta(days=keep_days)
    return [one for one in versions if one.as_of < last and one.number not in kept]


def select_unnamed(stored: Iterable[str], named: Iterable[str]) -> set[str]:
    """Snapshots, by hash, that no version left and no forecast names."""
    return set(stored) - set(named)
