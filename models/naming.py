"""Names in MLflow: experiment, registered model, metrics, params."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from models.config.data import SYMBOL, SYMBOL_LENGTH
from models.config.recipe import REPRODUCTION_LABEL
from models.errors import InputError

if TYPE_CHECKING:
    from models.scoring.holdout import Evaluation


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


def flatten(values: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """Flatten nested dictionaries to dotted keys."""
    flat: dict[str, Any] = {}
    for key, value in values.items():
        path = f"{prefix}{key}"
        flat |= flatten(value, f"{path}.") if isinstance(value, dict) else {path: value}
    return flat


def metric_values(evaluation: Evaluation) -> dict[str, float]:
    """Metrics under their stable names; those that are not defined are left out.

    The network's are `test_…`, naive's `naive_…`, then `skill_…` and `echo_…`. They are about the
    next day; further days carry a suffix, as in `test_rmse_usd_step7`.
    """
    prefixes = {evaluation.model: "test", evaluation.reference: evaluation.reference}
    named: dict[str, Any] = {}
    for model, steps in evaluation.metrics.items():
        for step, scores in steps.items():
            named |= {f"{prefixes[model]}_{key}{_suffix(step)}": v for key, v in scores.items()}
    for step, scores in evaluation.skill.items():
        named |= {f"{key}{_suffix(step)}": value for key, value in scores.items()}
    named["echo_correlation_today"] = evaluation.echo.correlation_today
    named["echo_correlation_yesterday"] = evaluation.echo.correlation_yesterday
    return {key: float(value) for key, value in named.items() if value is not None}


def _suffix(step: str) -> str:
    return "" if step == "1" else f"_step{step}"
