"""What `btc status` and the alarms look at."""

from __future__ import annotations

from pathlib import Path

import pytest

from tasks.service.facts import served_symbol


@pytest.mark.parametrize(
    ("config", "symbol"),
    [
        ("{}", "BTC/USD"),
        ("{symbol: ETH/USD}", "ETH/USD"),
        ("{symbols: [XRP/USD, BTC/USD]}", "XRP/USD"),
    ],
)
def test_the_symbol_that_up_was_started_for(own_home: Path, config: str, symbol: str) -> None:
    assert served_symbol() == "BTC/USD"
    path = own_home / "service" / "prefect.yaml"
    path.parent.mkdir(parents=True)
    path.write_text(f"deployments: [{{parameters: {{config: {config}}}}}]")
    assert served_symbol() == symbol
