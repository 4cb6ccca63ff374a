"""What `btc status` and the alarms look at."""

from __future__ import annotations

from pathlib import Path

import pytest

from tasks.service.facts import served_symbols


@pytest.mark.parametrize(
    ("config", "symbols"),
    [
        ("{}", ("BTC/USD",)),
        ("{symbol: ETH/USD}", ("ETH/USD",)),
        ("{symbols: [XRP/USD, BTC/USD]}", ("XRP/USD", "BTC/USD")),
    ],
)
def test_the_symbols_that_up_was_started_for(
    own_home: Path, config: str, symbols: tuple[str, ...]
) -> None:
    assert served_symbols() == ("BTC/USD",)
    path = own_home / "service" / "prefect.yaml"
    path.parent.mkdir(parents=True)
    deployment = f"{{parameters: {{config: {config}}}}}"
    path.write_text(f"deployments: [{deployment}, {deployment}]")
    assert served_symbols() == symbols
