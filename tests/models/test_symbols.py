"""A symbol becomes a part of paths, queries and names: whatever comes, it stays harmless."""

from __future__ import annotations

import re

import pytest
from pydantic import ValidationError

from models.config.flows import RetrainConfig
from models.errors import InputError
from models.naming import model_name

HOSTILE = [
    "", " ", "/", "//", ".", "..", "../", "../..", "../../etc/passwd", "/etc/passwd", "BTC", "BTC/",
    "/USD", "BTC//USD", "BTC/USD/", "BTC/USD/EUR", "BTC USD", "BTC-USD", "BTC\\USD", "BTC/..",
    "../USD", "BTC/../USD", "./BTC/USD", "~/USD", "BTC/USD\0", "\0BTC/USD", "BTC\0/USD",
    "BTC/USD\n", "\nBTC/USD", "BTC/USD\r\n", "BTC\t/USD", "BTC/USD ", " BTC/USD", "B/USD", "BTC/U",
    "A" * 300, "A" * 300 + "/USD", "BTC/" + "A" * 300, "BTC/USD:" + "A" * 300, "BTC/USD:",
    "BTC/USD::USD", "BTC/USD:USD:USD", "BTC/USD:../..", "BTC/USD:A/B", "\uff22\uff34\uff23/USD",
    "\u0412\u0422\u0421/USD",
    "₿TC/USD", "ß" * 5 + "/USD", "ﬁ" * 3 + "/USD", "BTC/ÜSD", "BTC\u200b/USD", "BTC/USD\u202e",
    "🙂🙂/USD", "BTC/USD'--", "BTC/USD'; DROP TABLE forecasts; --", "$(id)/USD", "{base}/USD",
    "%2e%2e/USD",
]  # fmt: skip


@pytest.mark.parametrize("symbol", HOSTILE)
def test_a_hostile_symbol_is_refused_everywhere(symbol: str) -> None:
    for values in ({"symbol": symbol}, {"symbols": [symbol]}, {"symbols": ["BTC/USD", symbol]}):
        with pytest.raises(ValidationError):
            RetrainConfig.model_validate(values)
    with pytest.raises(InputError) as caught:
        model_name(symbol, synthetic=False)
    assert len(str(caught.value).splitlines()) == 1
    assert str(caught.value).isprintable()


def test_names_are_safe_and_differ_wherever_symbols_do() -> None:
    symbols = [
        "BTC/USD", "BTC/USDT", "BTC/USDT:USDT", "BTC/USDT:BTC", "BTC/USDT:USDT-240628",
        "1INCH/USD", "BTC/SYNTHETIC", "BTC/USD:SYNTHETIC",
    ]  # fmt: skip
    names = [model_name(symbol, made_up) for symbol in symbols for made_up in (False, True)]
    assert len(set(names)) == len(names)
    # What Prefect takes as the key of an artifact, which is the strictest of all.
    assert all(re.fullmatch(r"[a-z0-9-]{3,60}", name) for name in names)


def test_each_symbol_is_asked_for_once_and_its_parts_go_into_the_source() -> None:
    with pytest.raises(ValidationError, match="every symbol once"):
        RetrainConfig(symbols=("BTC/USD", "BTC/USD"))
    config = RetrainConfig(symbols=("BTC/USD", "ETH/USDT:USDT"), source="csv:{base}/{quote}.csv")
    found = [config.for_symbol(symbol) for symbol in config.symbols]
    assert [one.source for one in found] == ["csv:BTC/USD.csv", "csv:ETH/USDT.csv"]
    assert [(one.symbol, one.symbols) for one in found] == [("BTC/USD", ()), ("ETH/USDT:USDT", ())]
    assert (config.subject, found[0].subject) == ("2 symbols", "BTC/USD")
