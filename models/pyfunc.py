"""The forecaster as an MLflow model: models-from-code, this file is the model's code.

`mlflow.pyfunc.load_model(...).predict(candles)` takes a frame of raw daily candles in order of time
and forecasts from the last of them.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import mlflow
import numpy as np
import pandas as pd
from mlflow.exceptions import MlflowException
from mlflow.models import ModelSignature
from mlflow.protos.databricks_pb2 import BAD_REQUEST
from mlflow.pyfunc.model import PythonModel, PythonModelContext
from mlflow.types import ColSpec, DataType, Schema, TensorSpec

from models.config.base import shorten
from models.config.data import RepairPolicy
from models.data.candles import COLUMNS, check_candles, is_exogenous
from models.errors import InputError
from models.forecasters.forecaster import Forecaster, load_forecaster
from models.forecasters.frame import quantile_column

LARGEST_LEAP = 1000


class ForecastModel(PythonModel):
    """Raw candles in, one row a day ahead out."""

    def load_context(self, context: PythonModelContext) -> None:
        """Load the forecaster from the artifact of that name."""
        self.forecaster = load_forecaster(Path(context.artifacts["forecaster"]))

    def predict(
        self,
        context: PythonModelContext,
        model_input: pd.DataFrame,
        params: dict[str, Any] | None = None,
    ) -> pd.DataFrame:
        """Forecast from the last candle: origin, target_date, step, q0.025…, q0.025_usd….

        Plain quantiles are cumulative log returns from the last close. Raises RefusedInput, which
        MLflow's server answers with 400, for candles that the checks of a retrain refuse, and for
        fewer than the lookback and the warm-up of the features need.
        """
        try:
            return forecast_table(self.forecaster, read_candles(self.forecaster, model_input))
        except InputError as error:
            raise RefusedInput(str(error)) from error


class RefusedInput(MlflowException):
    """Candles that cannot be forecast from; the message is one line.

    The server would put a print of the whole input before it.
    """

    def __init__(self, line: str) -> None:
        self._line = line
        super().__init__(line, error_code=BAD_REQUEST)

    @property
    def message(self) -> str:
        """Why, and what was expected."""
        return self._line

    @message.setter
    def message(self, _longer: str) -> None:
        pass


def read_candles(forecaster: Forecaster, given: pd.DataFrame) -> pd.DataFrame:
    """The candles that a forecaster reads, in order and checked as those of a retrain are.

    Raises InputError in one line.
    """
    columns = input_columns(forecaster.columns)
    if lacking := [name for name in columns if name not in given.columns]:
        raise InputError(f"expected columns {', '.join(columns)}; lacking {', '.join(lacking)}")
    if given.empty:
        raise InputError("expected daily candles, received no row")
    candles = given[list(columns)].copy()
    try:
        candles["open_time"] = pd.to_datetime(candles["open_time"], utc=True).dt.as_unit("us")
        prices = candles.columns.drop("open_time")
        candles = candles.astype(dict.fromkeys(prices, "float64"))
    except (ValueError, TypeError, OverflowError) as error:
        raise InputError(
            f"expected days and numbers: {shorten(error, 150, quoted=False)}"
        ) from error
    if candles["open_time"].isna().any():
        raise InputError("open_time: expected the start of each day, received none in some rows")
    last = candles["open_time"].max().date()
    checked = check_candles(candles, RepairPolicy(), as_of=last, newest_closed=last).candles
    _refuse_leaps(checked)
    return checked


def _refuse_leaps(candles: pd.DataFrame) -> None:
    """Raise InputError for a close that no market makes in a day, such as 1e308."""
    close = candles["close"].to_numpy()
    far = np.flatnonzero(np.abs(np.diff(np.log(close))) > np.log(LARGEST_LEAP))
    if len(far):
        day = candles["open_time"].iloc[far[0] + 1].date()
        raise InputError(
            f"close is {close[far[0] + 1]:g} on {day}, and {close[far[0]]:g} the day before: "
            f"expected less than {LARGEST_LEAP:,} times as much"
        )


def forecast_table(forecaster: Forecaster, candles: pd.DataFrame) -> pd.DataFrame:
    """Forecast from the last of `candles`, quantiles as log returns and as USD, a row a step."""
    forecast = forecaster.predict(candles)
    if not (np.isfinite(forecast.quantiles).all() and np.isfinite(forecast.quantiles_usd).all()):
        raise InputError("the forecast of these candles is no number: their values are too large")
    table = forecast.to_frame().drop(columns="close_origin")
    for i, level in enumerate(forecast.levels):
        table[f"{quantile_column(level)}_usd"] = forecast.quantiles_usd[0, :, i]
    # MLflow's time stamps have no zone; they are UTC.
    return table.assign(
        origin=table["origin"].dt.tz_localize(None),
        target_date=table["target_date"].dt.tz_localize(None),
    )


def input_columns(needed: set[str]) -> tuple[str, ...]:
    """Candle columns that a model reads, in the schema's order.

    The column of an exogenous series, as in exogenous_fear_greed_lag1, holds on each candle's row
    the value of as many days before.
    """
    joined = sorted(name for name in needed if is_exogenous(name))
    return (*(name for name in COLUMNS if name in needed), *joined)


def make_signature(needed: set[str], output: pd.DataFrame) -> ModelSignature:
    """Describe the model to MLflow: raw candle columns in, the columns of `output` out."""
    types = {"open_time": DataType.datetime}
    columns: list[ColSpec | TensorSpec] = [
        ColSpec(types.get(name, DataType.double), name) for name in input_columns(needed)
    ]
    types |= {"origin": DataType.datetime, "target_date": DataType.datetime, "step": DataType.long}
    outputs: list[ColSpec | TensorSpec] = [
        ColSpec(types.get(name, DataType.double), name) for name in output.columns
    ]
    return ModelSignature(inputs=Schema(columns), outputs=Schema(outputs))


mlflow.models.set_model(ForecastModel())
