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
    made: dt.date
    """The day on which it was registered; later than `as_of` where old days are done again."""
    snapshot_sha256: str

    def is_before(self, last: dt.date) -> bool:
        """Whether both its day and that on which it was made are before `last`."""
        return self.as_of < last and self.made < last


def select_champions(champions: list[int], keep_champions: int) -> set[int]:
    """The champion and its last predecessors.

    `champions`: every champion in the order in which they came, the present one last.
    """
    newest_first = list(dict.fromkeys(reversed(champions)))
    return set(newest_first[: keep_champions + 1])


def select_old(
    versions: Iterable[StoredVersion], kept: set[int], last: dt.date
) -> list[StoredVersion]:
    """Versions of days before `last`, also registered before it, that are not kept."""
    return [one for one in versions if one.is_before(last) and one.number not in kept]
