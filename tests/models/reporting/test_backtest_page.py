from __future__ import annotations

import pandas as pd
import pytest

from models.reporting.backtest_page import describe_backtest
from models.reporting.render import render_page
from models.scoring.backtest import summarise_backtest
from models.scoring.metrics import with_crps
from tests.models.reporting.facts import make_candles, make_holdout


@pytest.mark.parametrize("baselines", [("naive",), ("naive", "garch")])
def test_page_of_a_backtest(baselines: tuple[str, ...]) -> None:
    frame = make_holdout(make_candles())
    if "garch" in baselines:
        third = make_holdout(make_candles(), scale=1.1)
        third = third[third["model"] == "gru"].assign(model="garch")
        frame = pd.concat([frame, third], ignore_index=True)
    frame = with_crps(frame)
    summary = summarise_backtest(frame, baselines, seed=0)
    facts = describe_backtest(frame, summary, ("gru",))
    names = ["difference", "years", "skill", "pit", "coverage"]
    assert [chart.name for chart in facts["charts"]] == names
    assert facts["headline"].startswith("Best one day ahead over 197 days: ")
    facts |= {"title": "t", "symbol": "BTC/USD", "synthetic": True, "refit_days": 365}
    page = render_page("backtest", facts | {"config": {"recipes": ["<b>"]}})
    assert "SYNTHETIC" in page
    assert "\\u003cb\\u003e" in page
    assert page.count('scope="row"') == 2 * (len(baselines) + 1) + 2 * len(baselines)


def test_a_backtest_of_one_baseline_alone_has_a_page() -> None:
    frame = make_holdout(make_candles())
    frame = with_crps(frame[frame["model"] == "naive"])
    summary = summarise_backtest(frame, ("naive",), seed=0)
    facts = describe_backtest(frame, summary, ())
    assert facts["headline"].startswith("naive: CRPS ")
    assert [chart.name for chart in facts["charts"]] == ["pit", "coverage"]
