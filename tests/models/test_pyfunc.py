"""The MLflow model: raw candles in any order and number type, a row a day ahead out."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest

from models.data.candles import COLUMNS
from models.pyfunc import (
    ForecastModel,
    RefusedInput,
    forecast_table,
    input_columns,
    make_signature,
)


@pytest.fixture
def model(fitted, tmp_path):
    fitted()[1].save(tmp_path)
    loaded = ForecastModel()
    context: Any = SimpleNamespace(artifacts={"forecaster": str(tmp_path)})
    loaded.load_context(context)
    return loaded


def test_table_has_a_row_a_step_in_log_returns_and_usd(fitted, candles):
    forecaster = fitted()[1]
    table = forecast_table(forecaster, candles)
    levels = forecaster.recipe.quantile_levels
    names = [f"q{level:g}" for level in levels]
    assert list(table) == ["origin", "target_date", "step", *names, *[f"{n}_usd" for n in names]]
    assert table["step"].tolist() == [1, 2, 3]
    assert table["origin"].dt.strftime("%F").tolist() == ["2024-12-31"] * 3
    assert table["target_date"].dt.strftime("%F").tolist() == [
        "2025-01-01", "2025-01-02", "2025-01-03",
    ]  # fmt: skip
    close = candles["close"].iloc[-1]
    for name in names:
        np.testing.assert_allclose(table[f"{name}_usd"], close * np.exp(table[name]), rtol=1e-12)


def test_raw_candles_may_come_in_any_order_zone_and_number_type(model, fitted, candles):
    expected = forecast_table(fitted()[1], candles)
    raw = candles[::-1].assign(open_time=candles["open_time"].dt.tz_localize(None))
    before = raw.copy(deep=True)
    pd.testing.assert_frame_equal(model.predict(None, raw), expected, check_exact=True)
    pd.testing.assert_frame_equal(raw, before)
    texts = raw.assign(open_time=raw["open_time"].dt.strftime("%Y-%m-%dT%H:%M:%S"))
    pd.testing.assert_frame_equal(model.predict(None, texts), expected, check_exact=True)
    columns = list(raw.columns.drop("open_time"))
    whole = raw.assign(**{name: raw[name].round() for name in columns})
    integers = whole.astype(dict.fromkeys(columns, "int64"))
    pd.testing.assert_frame_equal(
        model.predict(None, integers), model.predict(None, whole), check_exact=True
    )


def test_columns_that_no_feature_reads_are_not_asked_for(model, candles):
    needed = list(input_columns(model.forecaster.columns))
    assert needed == list(COLUMNS)
    pd.testing.assert_frame_equal(
        model.predict(None, candles[needed]), model.predict(None, candles), check_exact=True
    )
    assert input_columns({"close", "open_time"}) == ("open_time", "close")
    assert input_columns({"low", "high", "close", "open_time"}) == (
        "open_time",
        "high",
        "low",
        "close",
    )
    assert set(needed) <= set(COLUMNS)


def test_too_few_candles_are_refused(model, candles):
    with pytest.raises(RefusedInput, match="too few candles"):
        model.predict(None, candles.tail(36))


def test_signature_names_every_column_and_its_type(fitted, candles):
    table = forecast_table(fitted()[1], candles)
    signature = make_signature({"open_time", "close", "volume"}, table)
    inputs = {column.name: column.type.name for column in signature.inputs}
    assert inputs == {"open_time": "datetime", "close": "double", "volume": "double"}
    outputs = {column.name: column.type.name for column in signature.outputs}
    assert list(outputs) == list(table)
    special = {"origin": "datetime", "target_date": "datetime", "step": "long"}
    assert {name: kind for name, kind in outputs.items() if kind != "double"} == special
