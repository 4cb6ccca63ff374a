"""Names in MLflow: experiment, registered model, labels."""

from __future__ import annotations

import re

from models.config.data import SYMBOL, SYMBOL_LENGTH, USUAL_SYMBOL
from models.config.recipe import REPRODUCTION_LABEL
from models.errors import InputError


def model_name(symbol: str, synthetic: bool) -> str:
    """Name of the experiment and the registered model: BTC/USD gives btc-usd.

    A derivative's BTC/USDT:USDT gives btc-usdt--usdt. Generated candles have a name of their own,
    so that they never mix with real ones. Raises InputError for what is no symbol, since the name
    becomes a part of paths and queries.
    """
    if not (
        len(symbol) <= SYMBOL_LENGTH and symbol.isascii() and re.fullmatch(SYMBOL, symbol.upper())
    ):
        raise InputError(f"symbol: expected BASE/QUOTE such as BTC/USD, received {symbol[:80]!r}")
    name = symbol.lower().replace("/", "-").replace(":", "--")
    return f"{name}-synthetic" if synthetic else name


def run_labels(synthetic: bool, reproduction: bool) -> list[str]:
    """What must be said wherever a run shows: that it is made up, that it leaks."""
    labels = ["SYNTHETIC"] if synthetic else []
    return labels + ([REPRODUCTION_LABEL] if reproduction else [])


def name_flow_run(flow: str, day: object, symbol: str, model: str = "") -> str:
    """A flow run's name; the symbol is told where it is not the usual one."""
    told = "" if symbol == USUAL_SYMBOL else symbol
    return " ".join(part for part in (flow, str(day), told, model) if part)
