"""Names of flow runs, as Prefect's UI lists them: what, which day, which model."""

from __future__ import annotations

import datetime as dt
from typing import TypeVar

from prefect.runtime import flow_run

from models.config.flows import BacktestConfig, RetrainConfig, TuneConfig
from models.data.calendar import newest_closed_day
from models.naming import name_flow_run
from tasks.turns import read_due

C = TypeVar("C", RetrainConfig, BacktestConfig, TuneConfig)


def name_retrain() -> str:
    """Such as retrain 2026-08-21 gru + regression."""
    config = _asked(RetrainConfig)
    return name_flow_run("retrain", _day(config.as_of), config.subject, config.recipe.name)


def name_forecast() -> str:
    """Such as forecast 2026-08-21."""
    config = _asked(RetrainConfig)
    return name_flow_run("forecast", _day(config.as_of), config.subject)


def name_backtest() -> str:
    """Such as backtest 2026-08-21 default, gru."""
    config = _asked(BacktestConfig)
    return name_flow_run("backtest", _day(config.end), config.symbol, ", ".join(config.recipes))


def name_tune() -> str:
    """Such as tune 2026-08-21 gru + regression."""
    config = _asked(TuneConfig)
    return name_flow_run("tune", _day(config.as_of), config.symbol, config.recipe.name)


def _asked(kind: type[C]) -> C:
    return kind.model_validate(flow_run.parameters.get("config") or {})


def _day(asked: dt.date | None) -> dt.date:
    """The day of the newest candle that the run may use."""
    return asked or newest_closed_day(read_due())
