"""Configuration of the flows: source, repair, judging, ingestion, promotion, watch."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable
from typing import Any, Literal, Self

from pydantic import Field, ValidationInfo, field_validator, model_validator

from models.frozen import Frozen, nearest
from models.recipe import PRESETS, Recipe


class RepairPolicy(Frozen):
    """Which faults of the candles may be mended; what was mended is logged and tagged."""

    drop_identical_duplicates: bool = True
    """Whether a day given twice with the same values is kept once; otherwise it is refused."""
    max_missing_days: int = Field(2, ge=0, le=30)
    """Missing days, all together, that may be filled with the close before; more are refused."""


class Judging(Frozen):
    """How the forecaster is measured against naive persistence."""

    test_share: float = Field(0.15, ge=0.01, lt=0.9)
    """Last part of the windows, seen by nothing before evaluation."""
    bootstrap_samples: int = Field(2000, ge=100, le=100_000)
    """Resamples of the block bootstrap for the interval of the skill."""
    block_days: int = Field(20, ge=1, le=365)
    """Length of a block, in days; longer than the memory of the daily errors."""


class Ingestion(Frozen):
    """How candles are taken from an exchange into the store, and what is refused on the way."""

    start: dt.date = dt.date(2011, 1, 1)
    """First day that is asked for when the store is empty; venues answer from their own first."""
    refetch_days: int = Field(3, ge=1, le=365)
    """Newest stored days that are fetched again every time, because venues revise them."""
    max_revision: float = Field(0.05, gt=0)
    """Largest relative change of a stored price that a venue may make; a larger one is refused."""
    exchange_url: str = ""
    """Base address to use in place of the exchange's own; empty: BTC_EXCHANGE_URL, else its own."""
    cross_check: str = Field("", pattern=r"^(exchange:[a-z0-9]+)?$")
    """Second source that must agree on the closes of fetched days, as exchange:kraken; or none."""
    cross_check_symbol: str = ""
    """What to ask the second source for, such as BTC/USDT; empty: the same symbol."""
    cross_check_url: str = ""
    """Base address of the second source; empty: the one given for the first, else its own."""
    cross_check_since: dt.date = dt.date(2022, 1, 1)
    """First day whose closes are compared; early years differ between venues."""
    max_difference: float = Field(0.02, gt=0)
    """Largest relative difference of the two closes of a day, as a fraction."""
    on_disagreement: Literal["stop", "continue"] = "stop"
    """Whether days that differ, or a silent second source, stop the run; else they are warnings."""
    attempts: int = Field(5, ge=1, le=20)
    """Requests for one page before giving up."""
    backoff_s: float = Field(1.0, ge=0, le=60)
    """Wait before the second attempt, in seconds; it doubles with each attempt, with jitter."""
    max_wait_s: float = Field(300.0, gt=0, le=3600)
    """Longest wait between attempts, in seconds, also when the exchange asks for more."""
    timeout_s: float = Field(10.0, gt=0, le=300)
    """Seconds without a byte from the exchange before an attempt counts as failed."""
    secret_block: str = ""
    """Prefect Secret block with an API key as JSON (apiKey, secret); empty: public access."""


class Promotion(Frozen):
    """When a new version takes the champion's place."""

    judged_origins: int = Field(180, ge=20, le=5000)
    """Last test origins on which challenger and champion are compared, or as many as there are."""
    significance: float = Field(0.05, gt=0, lt=1)
    """Diebold-Mariano p-value below which another recipe counts as better than the champion's."""
    refresh_margin: float = Field(0.02, ge=0, le=1)
    """Relative CRPS by which a refitted recipe may be worse than its predecessor and serve."""
    coverage_significance: float = Field(0.01, gt=0, lt=1)
    """Probability at which the 90 % band's binomial interval rejects a calibrated model."""
    min_live_days: int = Field(60, ge=10, le=5000)
    """Scored live forecasts of the champion from which on they count in the decision too."""


class Watch(Frozen):
    """What the daily forecast looks out for."""

    max_age_days: int = Field(3, ge=0, le=365)
    """Age of the newest candle, in days behind the newest closed one, that still gives a forecast.
    """
    catch_up_days: int = Field(30, ge=0, le=3660)
    """Missed days at most that are forecast afterwards, labelled catch-up."""
    watch_days: int = Field(90, ge=30, le=3660)
    """Newest days that the drift watch looks at."""
    alarm_significance: float = Field(0.01, gt=0, lt=1)
    """Probability at which the live coverage of a calibrated model would raise an alarm."""
    max_crps_ratio: float = Field(1.1, gt=0)
    """Live CRPS over naive's above which an alarm is raised."""
    max_shift: float = Field(1.5, ge=1)
    """Stability index of an input, over the largest of its past windows, that raises an alarm."""
    retrain_on_drift: bool = False
    """Whether `forecast` retrains at once on an alarm of a kind not raised in the watched days."""


class Exogenous(Frozen):
    """A daily series beside the candles, such as an index of sentiment, that networks read too.

    In short, where the other keys keep their defaults: the text NAME=PATH.
    """

    name: str = Field(pattern=r"^[a-z][a-z0-9_]{0,39}$")
    """Name of the series, as it shows in the features."""
    path: str = Field(min_length=1)
    """CSV file with a column date, UTC days, one row a day."""
    column: str = "value"
    """Column with the numbers."""
    lag_days: int = Field(1, ge=1, le=365)
    """Days that a value is held back: a forecast from day t knows the value of day t - lag_days.
    At least one, since the value of a day is seldom public when its candle closes."""
    before: float | None = None
    """What stands for the days before the series begins, such as 50 for an index from 0 to 100;
    empty: those days teach nothing."""
    max_gap_days: int = Field(7, ge=0, le=366)
    """Missing days in a row, at the end too, over which the newest value before them is kept."""

    @model_validator(mode="before")
    @classmethod
    def _from_short_form(cls, data: Any) -> Any:
        if not isinstance(data, str):
            return data
        name, equals, path = data.partition("=")
        if not equals:
            raise ValueError("expected NAME=PATH, such as fear_greed=fear_greed.csv")
        return {"name": name.strip(), "path": path.strip()}

    @property
    def feature(self) -> str:
        """Name of the candles' column and of the feature."""
        return f"exogenous_{self.name}_lag{self.lag_days}"


def _with_exogenous(recipe: Recipe, series: tuple[Exogenous, ...]) -> Recipe:
    """Let a recipe read the series; a reproduction stays as it is, to the letter."""
    new = [s.feature for s in series if s.feature not in recipe.features]
    if recipe.reproduction or not new:
        return recipe
    return recipe.model_copy(update={"features": (*recipe.features, *new)})


class RetrainConfig(Frozen):
    """One retrain: where candles come from, what is trained, how it is judged."""

    source: str = "sample"
    """Where candles come from: exchange:ID, csv:PATH, sample, sample:random-walk, sample:planted;
    on the command line also auto, an exchange if it answers and else the sample."""
    symbol: str = Field("BTC/USD", pattern=r"^[A-Z0-9]{2,10}/[A-Z0-9]{2,10}(:[A-Z0-9-]{2,30})?$")
    """What is forecast, as BASE/QUOTE."""
    as_of: dt.date | None = None
    """UTC day of the newest candle that may be used; empty: the day before the scheduled start."""
    reason: str = Field("", max_length=2000)
    """Why this retrain was started, where not by the clock; kept with the version and its moves."""
    exogenous: tuple[Exogenous, ...] = ()
    """Daily series that the network reads beside the candles: NAME=PATH, or keys and values."""
    companions: tuple[str, ...] = ()
    """Sources of other coins that share the training on chunks, as in csv:PATH; of an exchange with
    the symbol, as in exchange:binance:ETH/USDT."""
    recipe: Recipe = Field(Recipe(), validate_default=True)
    repair: RepairPolicy = RepairPolicy()
    judging: Judging = Judging()
    ingestion: Ingestion = Ingestion()
    promotion: Promotion = Promotion()
    watch: Watch = Watch()

    @field_validator("exogenous")
    @classmethod
    def _series_named_once(cls, value: tuple[Exogenous, ...]) -> tuple[Exogenous, ...]:
        return _series_once(value)

    @field_validator("recipe")
    @classmethod
    def _recipe_reads_the_series(cls, value: Recipe, info: ValidationInfo) -> Recipe:
        series = info.data.get("exogenous", ())
        if series and value.reproduction:
            raise ValueError("a reproduction is kept to the letter and takes no exogenous series")
        return _with_exogenous(value, series)

    @model_validator(mode="after")
    def _companions_can_teach(self) -> Self:
        if self.companions and self.recipe.training != "chunks":
            raise ValueError(
                "companions: expected a recipe that trains on chunks, received training "
                f"{self.recipe.training!r}"
            )
        return self


BASELINE_NAMES = ("naive", "seasonal_naive", "drift", "ewma", "garch", "gjr", "egarch", "har")


class BacktestConfig(Frozen):
    """One walk-forward backtest: which recipes and baselines, over which days, how often refitted.

    Days are those that step 1 forecasts: the first origin is the day before `start`.
    """

    source: str = "sample"
    """Where candles come from: sample, sample:random-walk, sample:planted, or csv:PATH."""
    symbol: str = Field("BTC/USD", pattern=r"^[A-Z0-9]{2,10}/[A-Z0-9]{2,10}$")
    """What is forecast, as BASE/QUOTE."""
    start: dt.date | None = None
    """First day that is forecast; empty: the last two years."""
    end: dt.date | None = None
    """Last day that is forecast or scored; empty: the day of the newest candle."""
    refit_days: int = Field(365, ge=1, le=10_000)
    """Days from one fit of the recipes to the next."""
    baseline_refit_days: int = Field(30, ge=1, le=10_000)
    """Days from one fit of the baselines to the next."""
    rolling_days: int | None = Field(None, ge=250)
    """Days that a fit looks back; empty: all of them, an expanding window."""
    recipes: tuple[str, ...] = ("default",)
    """Presets, each with its own name."""
    baselines: tuple[str, ...] = ("naive", "garch")
    """Baselines by name."""
    horizon: int = Field(7, ge=1, le=60)
    """Days ahead; every step from 1 to horizon is forecast and scored."""
    companions: tuple[str, ...] = ()
    """Sources of other coins that share the training of networks on chunks, as in retrain."""
    exogenous: tuple[Exogenous, ...] = ()
    """Daily series that networks read beside the candles: NAME=PATH, or keys and values."""
    calibrate: bool = False
    """Whether quantiles are corrected by their own past errors (adaptive conformal)."""
    seed: int = Field(7, ge=0, lt=2**31)
    """Seed of networks and simulations."""
    repair: RepairPolicy = RepairPolicy()
    ingestion: Ingestion = Ingestion()

    @field_validator("recipes")
    @classmethod
    def _recipes_known(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        return _known_once(value, PRESETS, "preset")

    @field_validator("baselines")
    @classmethod
    def _baselines_known(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        return _known_once(value, BASELINE_NAMES, "baseline")

    @field_validator("exogenous")
    @classmethod
    def _series_named_once(cls, value: tuple[Exogenous, ...]) -> tuple[Exogenous, ...]:
        return _series_once(value)

    @model_validator(mode="after")
    def _something_in_order(self) -> Self:
        if not self.recipes and not self.baselines:
            raise ValueError("expected at least one recipe or baseline, received none")
        if self.start and self.end and self.end < self.start:
            raise ValueError(f"end: expected {self.start} or later, received {self.end}")
        return self

    def recipe(self, preset: str, levels: tuple[float, ...]) -> Recipe:
        """Return the recipe of a preset as this backtest asks for it."""
        own = Recipe(preset=preset)
        horizon = own.horizon if own.reproduction else self.horizon
        recipe = Recipe(preset=preset, horizon=horizon, seed=self.seed, quantile_levels=levels)
        return _with_exogenous(recipe, self.exogenous)


def _series_once(value: tuple[Exogenous, ...]) -> tuple[Exogenous, ...]:
    names = [series.feature for series in value]
    if len(set(names)) != len(names):
        raise ValueError(f"expected every series once, received {names}")
    return value


def _known_once(names: tuple[str, ...], known: Iterable[str], what: str) -> tuple[str, ...]:
    for name in names:
        if name not in known:
            raise ValueError(f"unknown {what} {name!r}{nearest(name, known)}")
    if len(set(names)) != len(names):
        raise ValueError(f"expected every {what} once, received {list(names)}")
    return names
