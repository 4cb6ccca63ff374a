"""What the flows are asked: one retrain or forecast, one backtest."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable
from typing import Annotated, Any, Literal, Self

from pydantic import Field, ValidationInfo, field_validator, model_validator

from models.config.base import Frozen, nearest, shorten
from models.config.data import SYMBOL, SYMBOL_LENGTH, Exogenous, Reading
from models.config.judging import Judging, Promotion, Retention, Watch
from models.config.recipe import PRESETS, Recipe


def _with_exogenous(recipe: Recipe, series: tuple[Exogenous, ...]) -> Recipe:
    """Let a recipe read the series; a reproduction stays as it is, to the letter."""
    new = [s.feature for s in series if s.feature not in recipe.features]
    if recipe.reproduction or not new:
        return recipe
    return recipe.model_copy(update={"features": (*recipe.features, *new)})


class Fitting(Reading):
    """What a recipe is fitted on, and how it is measured: of one retrain, or of a tuning."""

    as_of: dt.date | None = None
    """UTC day of the newest candle that may be used; empty: the day before the scheduled start."""
    recipe: Recipe = Field(Recipe(), validate_default=True)
    judging: Judging = Judging()

    @field_validator("recipe")
    @classmethod
    def _recipe_reads_the_series(cls, value: Recipe, info: ValidationInfo) -> Recipe:
        series = info.data.get("exogenous", ())
        if series and value.reproduction:
            raise ValueError("a reproduction is kept to the letter and takes no exogenous series")
        return _with_exogenous(value, series)


class Workers(Frozen):
    """Where the symbols of a run, or the folds of a backtest, are worked on side by side."""

    jobs: int = Field(1, ge=1, le=1000)
    """How many at a time; 1 without an address: one after another, in the run's own process."""
    runner: Literal["processes", "dask"] = "processes"
    """Processes of this machine, or Dask: here, or at an address."""
    address: str | None = Field(None, pattern=r"^[a-z]+://\S+$", max_length=200)
    """Dask scheduler, as tcp://HOST:PORT; it decides how many at a time. Empty: one made here."""

    @model_validator(mode="after")
    def _address_is_dasks(self) -> Self:
        if self.address and self.runner != "dask":
            raise ValueError("an address is that of a Dask scheduler: expected runner dask with it")
        return self

    @property
    def alone(self) -> bool:
        """Whether all is done in the run's own process."""
        return self.jobs == 1 and not self.address


class RetrainConfig(Fitting):
    """One retrain: where candles come from, what is trained, how it is scored."""

    symbols: tuple[Annotated[str, Field(pattern=SYMBOL, max_length=SYMBOL_LENGTH)], ...] = ()
    """Several symbols, each with a run, model, ledger and report of its own; empty: `symbol`."""
    reason: str = Field("", max_length=2000)
    """Why this retrain was started, where not by the clock; kept with the version and its moves."""
    promotion: Promotion = Promotion()
    watch: Watch = Watch()
    retention: Retention = Retention()
    workers: Workers = Workers()

    @model_validator(mode="before")
    @classmethod
    def _source_of_the_one_symbol(cls, data: Any) -> Any:
        if not isinstance(data, dict) or data.get("symbols") or "source" not in data:
            return data
        symbol = data.get("symbol")
        if not isinstance(symbol, str):
            return data
        return data | {"source": _source_of(data["source"], symbol)}

    @field_validator("symbols")
    @classmethod
    def _symbols_once(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        if len(set(value)) != len(value):
            raise ValueError(f"expected every symbol once, received {shorten(list(value))}")
        return value

    @property
    def subject(self) -> str:
        """What the run is about, for its name: a symbol, or how many."""
        return f"{len(self.symbols)} symbols" if self.symbols else self.symbol

    def for_symbol(self, symbol: str) -> Self:
        """The same for one symbol; {base} and {quote} in the source become its parts."""
        source = _source_of(self.source, symbol)
        new = {"symbol": symbol, "symbols": (), "source": source, "workers": Workers()}
        return self.model_copy(update=new)


def _source_of(source: Any, symbol: str) -> Any:
    """A source in which {base} and {quote} are those of a symbol; what is no text as it is."""
    base, _, quote = symbol.partition("/")
    if not isinstance(source, str):
        return source
    return source.replace("{base}", base).replace("{quote}", quote.partition(":")[0])


class Search(Frozen):
    """How far a tuning looks: how many recipes it tries, and on which days each is scored."""

    trials: int = Field(30, ge=2, le=10_000)
    """Recipes tried in all, with those of an earlier start; the first is the one to begin with."""
    folds: int = Field(3, ge=1, le=50)
    """Times that each recipe is fitted; a poor one is given up after fewer."""
    fold_days: int = Field(180, ge=30, le=3660)
    """Days that each fit forecasts, the last of them before the first test day."""
    search_seed: int = Field(7, ge=0, lt=2**31)
    """Seed of the search; the networks have the recipe's."""


class TuneConfig(Fitting):
    """One tuning: the recipe to begin with, and how far to look for a better one."""

    search: Search = Search()

    @field_validator("recipe")
    @classmethod
    def _no_reproduction(cls, value: Recipe) -> Recipe:
        if value.reproduction:
            raise ValueError("a reproduction is kept to the letter and is not tuned")
        return value


BASELINE_NAMES = (
    "naive",
    "seasonal_naive",
    "mean_return",
    "ewma",
    "garch",
    "gjr",
    "egarch",
    "har",
    "garch_weekday",
    "egarch_weekday",
    "scale_regression",
)


class BacktestConfig(Reading):
    """One walk-forward backtest: which recipes and baselines, over which days, how often refitted.

    Days are those that step 1 forecasts: the first origin is the day before `start`.
    """

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
    calibrate: bool = False
    """Whether quantiles are corrected by their own past errors (adaptive conformal)."""
    seed: int = Field(7, ge=0, lt=2**31)
    """Seed of networks and simulations."""

    @field_validator("recipes")
    @classmethod
    def _recipes_known(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        return _known_once(value, PRESETS, "preset")

    @field_validator("baselines")
    @classmethod
    def _baselines_known(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        return _known_once(value, BASELINE_NAMES, "baseline")

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


def _known_once(names: tuple[str, ...], known: Iterable[str], what: str) -> tuple[str, ...]:
    for name in names:
        if name not in known:
            raise ValueError(f"unknown {what} {name!r}{nearest(name, known)}")
    if len(set(names)) != len(names):
        raise ValueError(f"expected every {what} once, received {list(names)}")
    return names
