"""Who taught a champion is found again: today's candles of that name, else those of then."""

from __future__ import annotations

import pandas as pd

from models.records import CompanionsRecord
from tasks.companions import find_teachers
from tasks.files import write_frame


def test_a_champions_teachers(own_home):
    for sha256 in ("eth-then", "xrp-then", "eth-now"):
        write_frame(pd.DataFrame(), own_home / "companions" / f"{sha256}.parquet")
    then = CompanionsRecord(hashes={"ETH": "eth-then", "XRP": "xrp-then", "ADA": "ada-then"})
    now = CompanionsRecord(hashes={"ETH": "eth-now", "LTC": "ltc-now"})
    found = find_teachers(then, now)
    assert found.hashes == {"ETH": "eth-now", "XRP": "xrp-then"}
    assert all(path.exists() for path in found.paths)
