"""Where the pages of the days lie, and what each keeps for the index."""

from __future__ import annotations

import datetime as dt
import json
from pathlib import Path
from typing import Any

from tasks.storage.home import home


def page_path(name: str, as_of: dt.date) -> Path:
    """The page of a day; the index of all days lies beside it."""
    return home() / "reports" / name / f"{as_of}.html"


def read_days(name: str) -> list[dict[str, Any]]:
    """What the page of every day kept, oldest first."""
    paths = sorted((home() / "reports" / name).glob("????-??-??.json"))
    return [json.loads(path.read_text(encoding="utf-8")) for path in paths]
