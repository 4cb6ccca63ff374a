"""The forecaster as an MLflow model: models-from-code, this file is the model's code.

`mlflow.pyfunc.load_model(...).predict(candles)` takes a frame of raw daily candles in order of time
and forecasts from the last of them.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import mlflow
import pandas as pd
from mlflow.models import ModelSignature
from mlflow.pyfunc.model import PythonModel, PythonModelContext
from mlflow.types import ColSpec, DataType, Schema, TensorSpec

from models.data.candles import COLUMNS, is_exogenous
from models.forecasters.forecaster import Forecaster, load_forecaster
from models.forecasters.frame import quantile_column


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

        Plain quantiles are cumulative log returns from the last close. Raises InputError when there
        are fewer candles than the lookback and the warm-up of the features need.
        """
        candles = model_input.sort_values("open_time", ignore_index=True)
        candles["open_time"] = pd.to_datetime(candles["open_time"], utc=True)
        prices = candles.columns.drop("open_time")
        candles = candles.astype(dict.fromkeys(prices, "float64"))
        return forecast_table(self.forecaster, candles)


def forecast_table(forecaster: Forecaster, candles: pd.DataFrame) -> pd.DataFrame:
    """Forecast from the last of `candles`, quantiles as log returns and as USD, a row a step."""
    forecast = forecaster.predict(candles)
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
