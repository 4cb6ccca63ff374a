"""A series is joined with its lag, its gaps are told, and nothing of it is known too early."""

from __future__ import annotations

import io

import numpy as np
import pandas as pd
import pytest
from pydantic import ValidationError

from models.config.data import Exogenous
from models.config.flows import BacktestConfig, RetrainConfig
from models.config.overrides import make_config
from models.data.candles import digest_candles, is_exogenous
from models.data.exogenous import join_series
from models.data.files.parse import parse_series
from models.errors import InputError
from models.learning.features import first_complete_row, make_features, usable_features
from models.pyfunc import input_columns


def asked(**more) -> Exogenous:
    return Exogenous.model_validate({"name": "mood", "path": "mood.csv"} | more)


def series(first: str, values) -> pd.DataFrame:
    days = pd.date_range(first, periods=len(values), tz="UTC", unit="us")
    return pd.DataFrame({"open_time": days, "value": np.asarray(values, dtype=float)}).dropna()


def column(candles, values, **more):
    joined, found = join_series(candles, values, asked(**more))
    return joined.iloc[:, -1].tolist(), [finding.message for finding in found]


@pytest.fixture
def week(candles):
    """Seven candles, 2024-12-25 to 2024-12-31."""
    return candles.tail(7).reset_index(drop=True)


def test_each_day_carries_the_value_of_the_lag_before(week):
    given = series("2024-12-20", range(20, 32))
    assert column(week, given) == ([24, 25, 26, 27, 28, 29, 30], [])
    assert column(week, given, lag_days=3)[0] == [22, 23, 24, 25, 26, 27, 28]
    joined, _ = join_series(week, given, asked(lag_days=3))
    assert list(joined) == [*week, "exogenous_mood_lag3"]
    pd.testing.assert_frame_equal(joined[list(week)], week)


def test_gaps_keep_the_value_before_and_are_told_and_long_ones_are_refused(week):
    holes = series("2024-12-24", [24, np.nan, np.nan, 27, 28, 29])
    values, found = column(week, holes, max_gap_days=2)
    assert values == [24, 24, 24, 27, 28, 29, 29]
    assert found == [
        "mood is missing on 2024-12-25, 2024-12-26, 2024-12-30: the value before is kept"
    ]
    with pytest.raises(InputError, match="mood: no value after 2024-12-24 for more than 1 days"):
        column(week, holes, max_gap_days=1)


def test_a_late_start_teaches_nothing_or_carries_what_was_asked(week):
    late = series("2024-12-28", [28, 29, 30])
    values, found = column(week, late)
    assert np.isnan(values[:4]).all() and values[4:] == [28, 29, 30]
    assert found == ["mood begins on 2024-12-28: the 4 candles before it teach nothing"]
    joined, _ = join_series(week, late, asked())
    assert first_complete_row(make_features(joined, ("exogenous_mood_lag1",))) == 4
    values, found = column(week, late, before=50)
    assert values == [50, 50, 50, 50, 28, 29, 30]
    assert found == ["mood begins on 2024-12-28: the 4 candles before it carry 50"]


@pytest.mark.parametrize(
    ("values", "said"),
    [
        (series("2024-12-31", [1.0]), "no value up to 2024-12-30; give a series that begins"),
        (pd.concat([series("2024-12-26", [1.0])] * 2), "2024-12-26 is there twice"),
        (series("2024-12-24", [1.0, np.inf]), "inf on 2024-12-25, expected a finite number"),
    ],
)
def test_a_series_that_is_no_use_is_one_line(week, values, said):
    with pytest.raises(InputError, match=said) as error:
        join_series(week, values, asked())
    assert "\n" not in str(error.value)


def test_what_was_not_public_yet_is_not_even_read(candles):
    """Whatever stands in the file after origin - lag: rows up to the origin stay, bit for bit."""
    given = series("2023-11-01", np.arange(430.0))
    for lag in (1, 5):
        cut = candles["open_time"].iloc[-1] - lag * pd.Timedelta(days=1)
        late = given["open_time"] > cut
        assert late.any()
        changed = given.assign(value=given["value"].mask(late, np.inf))
        changed = pd.concat([changed, changed[late]]).sort_values("open_time")
        before, _ = join_series(candles, given, asked(lag_days=lag))
        after, _ = join_series(candles, changed, asked(lag_days=lag))
        pd.testing.assert_frame_equal(before, after, check_exact=True)
        nearer = given.assign(value=given["value"].mask(given["open_time"] >= cut, -1.0))
        again, _ = join_series(candles, nearer, asked(lag_days=lag))
        same = (again.iloc[:, -1] == before.iloc[:, -1]).tolist()
        assert same == [True] * (len(candles) - 1) + [False]


def test_the_hash_covers_the_series_and_its_missing_start(candles):
    late = series("2024-06-01", np.arange(213.0))
    joined, _ = join_series(candles, late, asked())
    digest = digest_candles(joined)
    assert digest != digest_candles(candles)
    assert digest == digest_candles(joined[sorted(joined)][::-1])
    assert digest != digest_candles(
        joined.rename(columns={"exogenous_mood_lag1": "exogenous_mood_lag2"})
    )
    other = joined.copy()
    other.iloc[-1, -1] += 1
    assert digest != digest_candles(other)
    odd = joined.copy()
    missing = odd.iloc[:, -1].isna()
    odd.loc[missing, odd.columns[-1]] = -np.float64("nan")
    assert digest == digest_candles(odd)
    with pytest.raises(ValueError, match="without missing values"):
        digest_candles(joined.assign(close=np.nan))


def test_the_column_is_a_feature_and_part_of_the_models_input(week):
    name = asked().feature
    assert is_exogenous(name) and not is_exogenous("exogenous_mood")
    joined, _ = join_series(week, series("2024-12-24", range(24, 31)), asked())
    assert make_features(joined, (name,))[:, 0].tolist() == [24, 25, 26, 27, 28, 29, 30]
    assert usable_features(("close", name), tuple(week)) == (("close",), (name,))
    assert input_columns({"open_time", "close", name}) == ("open_time", "close", name)
    with pytest.raises(InputError, match="expected candles with exogenous_mood_lag1"):
        make_features(week, ("close", name))


def test_configuration_in_every_form_lets_the_recipe_read_the_series():
    forms = [
        "fear_greed=f.csv",
        {"name": "fear_greed", "path": "f.csv"},
        Exogenous(name="fear_greed", path="f.csv"),
    ]
    configs = [RetrainConfig.model_validate({"exogenous": [form]}) for form in forms]
    configs.append(make_config({}, ["exogenous=[fear_greed=f.csv]"]))
    configs.append(make_config({"exogenous": [forms[1]]}, []))
    assert all(config == configs[0] for config in configs)
    features = configs[0].recipe.features
    assert features[:-1] == RetrainConfig().recipe.features
    assert features[-1] == "exogenous_fear_greed_lag1"
    again = RetrainConfig.model_validate_json(configs[0].model_dump_json())
    assert again == configs[0]
    backtest = BacktestConfig(exogenous=("fear_greed=f.csv",))
    assert backtest.recipe("default", (0.5,)).features == features
    assert backtest.recipe("assignment", (0.5,)).features == ("close",)


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (["mood.csv"], "expected NAME=PATH"),
        (["Mood=mood.csv"], "should match pattern"),
        (["mood="], "at least 1 character"),
        (["mood=a.csv", "mood=b.csv"], "every series once"),
        ([{"name": "mood", "path": "a.csv", "lag_days": 0}], "greater than or equal to 1"),
        ([{"name": "mood", "path": "a.csv", "lag": 2}], "Extra inputs"),
    ],
)
def test_wrong_configuration_is_refused(given, said):
    for kind in (RetrainConfig, BacktestConfig):
        with pytest.raises(ValidationError, match=said):
            kind.model_validate({"exogenous": given})


def test_a_reproduction_takes_none():
    with pytest.raises(ValidationError, match="takes no exogenous series"):
        RetrainConfig.model_validate(
            {"exogenous": ["mood=a.csv"], "recipe": {"preset": "assignment"}}
        )


CSV = "date,value,classification\n2018-02-02,15,Fear\n2018-02-01,30.5,Fear\n"


def read_column(text, column):
    return parse_series(lambda: io.BytesIO(text.encode()), "f.csv", column)


def test_a_column_of_numbers_is_read_by_day():
    frame = read_column(CSV, "Value")
    assert frame["open_time"].dt.strftime("%F").tolist() == ["2018-02-01", "2018-02-02"]
    assert frame["value"].tolist() == [30.5, 15]
    again = read_column(CSV.replace("15", '" 15"'), "value")
    pd.testing.assert_frame_equal(frame, again)


@pytest.mark.parametrize(
    ("text", "name", "said"),
    [
        (CSV, "mood", "f.csv: no column 'mood'; found 'date', 'value', 'classification'"),
        (CSV, "date", "column 'date' is a day"),
        (CSV, "classification", "line 2: classification is 'Fear', expected a number"),
        (CSV.replace("2018-02-01", "soon"), "value", "line 3: date is 'soon'"),
        (CSV.replace("15", ""), "value", "line 2: value is '', expected a number"),
        (CSV.replace("2018-02-01", "2018-02-01 05:00"), "value", "expected a UTC day"),
        (CSV.replace("date", "when"), "value", "no column 'date'"),
        ("date,value\n", "value", "no rows below the header"),
    ],
)
def test_a_file_that_is_no_series_is_one_line(text, name, said):
    with pytest.raises(InputError) as error:
        read_column(text, name)
    assert said in str(error.value) and "\n" not in str(error.value)
