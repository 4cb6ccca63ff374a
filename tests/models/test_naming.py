"""Names that other people's queries rely on."""

from __future__ import annotations

import pytest

from models.naming import model_name, name_flow_run, run_labels


def test_made_up_candles_have_a_name_of_their_own():
    assert model_name("BTC/USD", synthetic=False) == "btc-usd"
    assert model_name("BTC/USD", synthetic=True) == "btc-usd-synthetic"
    assert model_name("ETH/USDT", synthetic=False) == "eth-usdt"


@pytest.mark.parametrize(
    ("synthetic", "reproduction", "labels"),
    [
        (False, False, []),
        (True, False, ["SYNTHETIC"]),
        (False, True, ["reproduction: leaks the future, never promoted"]),
        (True, True, ["SYNTHETIC", "reproduction: leaks the future, never promoted"]),
    ],
)
def test_what_must_be_said_is_said(synthetic, reproduction, labels):
    assert run_labels(synthetic, reproduction) == labels


def test_a_flow_run_is_named_by_its_day():
    assert name_flow_run("retrain", "2026-08-21", "BTC/USD", "gru") == "retrain 2026-08-21 gru"
    assert name_flow_run("forecast", "2026-08-21", "ETH/USD") == "forecast 2026-08-21 ETH/USD"
