"""What a source gives."""

from __future__ import annotations

from dataclasses import dataclass, field

import pandas as pd

from models.data.rules import Finding


@dataclass(frozen=True)
class FetchedCandles:
    """Candles as a source gave them, its name for people, whether it is made up, what was odd.

    `description` says what a file was taken for, and `columns` which of its columns hold what.
    `n_added` counts the candles that are new in the store; None for a source without one.
    """

    candles: pd.DataFrame
    label: str
    synthetic: bool = False
    description: str = ""
    columns: dict[str, str] = field(default_factory=dict)
    findings: tuple[Finding, ...] = ()
    n_added: int | None = None
