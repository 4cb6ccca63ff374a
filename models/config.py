"""Configuration: frozen, checked on construction, unknown keys refused."""

from __future__ import annotations

import datetime as dt
import difflib
import hashlib
import json
from collections.abc import Iterable
from typing import Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

Cell = Literal["rnn", "lstm", "gru", "bilstm", "bigru"]
Target = Literal["standardized_return", "log_return", "price"]

DEFAULT_FEATURES = (
    "standardized_return",
    "standardized_move",
    "log_volatility",
    "relative_range",
    "relative_garman_klass",
    "relative_garman_klass_mean",
    "distance_from_mean",
    "log_volume_ratio",
    "next_is_monday",
    "next_is_tuesday",
    "next_is_wednesday",
    "next_is_thursday",
    "next_is_friday",
    "next_is_saturday",
    "next_is_sunday",
)
DEFAULT_LEVELS = (0.025, 0.05, 0.1, 0.2, 0.25, 0.3, 0.4, 0.5, 0.6, 0.7, 0.75, 0.8, 0.9, 0.95, 0.975)


def nearest(word: str, known: Iterable[str]) -> str:
    """Return a hint for an unknown `word`: the closest of the `known` words and all of them."""
    words = sorted(known)
    close = difflib.get_close_matches(word, words, n=1, cutoff=0.5)
    hint = f"; did you mean {close[0]!r}?" if close else ""
    return f"{hint} (known: {', '.join(words)})"


# A bidirectional cell would see the days to come in a chunk, so it learns from windows.
ON_WINDOWS: dict[str, Any] = {
    "training": "windows",
    "members": 2,
    "epochs": 30,
    "patience": 4,
    "learning_rate": 3e-3,
}
ONE_POINT: dict[str, Any] = {"head": "point", "training": "windows", "members": 1, "blend": 0.0}

PRESETS: dict[str, dict[str, Any]] = {
    "default": {},
    "rnn": {"cell": "rnn", "blend": 0.0},
    "lstm": {"cell": "lstm", "blend": 0.0},
    "gru": {"cell": "gru", "blend": 0.0},
    "bilstm": {"cell": "bilstm", "blend": 0.0, **ON_WINDOWS},
    "bigru": {"cell": "bigru", "blend": 0.0, **ON_WINDOWS},
    "assignment": {
        "cell": "lstm",
        "units": 200,
        "dropout": 0.2,
        "dense_units": 100,
        "output_activation": "sigmoid",
        "lookback": 99,
        "horizon": 1,
        "target": "price",
        "features": ("close",),
        "scaler": "minmax",
        "scale_on": "all",
        "validation_share": 0.1,
        "epochs": 15,
        "batch_size": 32,
        "learning_rate": 1e-3,
        "patience": 0,
        "shuffle": False,
        "reproduction": True,
        **ONE_POINT,
    },
}
"""What each preset changes against the field defaults of `Recipe`."""

REPRODUCTION_LABEL = "reproduction: leaks the future, never promoted"


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    def digest(self) -> str:
        """Short content hash, 12 hex digits."""
        text = json.dumps(self.model_dump(mode="json"), sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:12]


class Recipe(_Frozen):
    """Everything that makes a forecaster from candles: features, target, network, training."""

    preset: str = "default"
    """Preset whose values stand wherever no other value is given here."""
    cell: Cell = "gru"
    """Recurrent cell: rnn, lstm, gru, or a bidirectional lstm or gru."""
    units: int = Field(32, ge=1, le=1024)
    """Recurrent units per layer (and per direction)."""
    layers: int = Field(1, ge=1, le=4)
    """Recurrent layers on top of each other."""
    dropout: float = Field(0.3, ge=0, lt=1)
    """Share of the recurrent output that is dropped while training, as a fraction."""
    dense_units: int = Field(0, ge=0, le=1024)
    """Width of the dense layer before the output; 0 leaves it out."""
    output_activation: Literal["linear", "sigmoid"] = "linear"
    """Activation of the output layer; sigmoid only for the classroom reproduction."""
    lookback: int = Field(40, ge=1, le=1000)
    """Input steps, in days."""
    horizon: int = Field(7, ge=1, le=60)
    """Days ahead; forecasts are made for every step from 1 to horizon."""
    head: Literal["student_t", "point"] = "student_t"
    """What the network puts out: a Student-t distribution for every step, or one number."""
    members: int = Field(5, ge=1, le=50)
    """Networks that differ in their seed alone; the forecast is the average of their quantiles."""
    blend: float = Field(0.5, ge=0, le=1)
    """Weight of the econometric forecast (EGARCH, fading into empirical quantiles) in the mean."""
    target: Target = "standardized_return"
    """What is learned: cumulative log return, over EWMA volatility times √step or plain; price."""
    features: tuple[str, ...] = DEFAULT_FEATURES
    """Inputs by name, in order; those that the candles cannot give are left out and named."""
    scaler: Literal["standard", "minmax"] = "standard"
    """scikit-learn scaler of features and target."""
    scale_on: Literal["train", "all"] = "train"
    """Rows that the scaler is fitted on; 'all' leaks the future, for the reproduction only."""
    validation_share: float = Field(0.1, ge=0.01, lt=0.5)
    """Last part of the training windows, held out for early stopping and error quantiles."""
    training: Literal["chunks", "windows"] = "chunks"
    """Chunks: long stretches, a forecast and its loss at every day. Windows: one for each."""
    chunk_days: int = Field(120, ge=2, le=2000)
    """Length of a chunk; its first `lookback` - 1 days carry no loss."""
    chunks_per_update: int = Field(16, ge=1, le=1024)
    """Chunks per gradient step, drawn at random."""
    companion_share: float = Field(0.6, ge=0, lt=1)
    """Share of the chunks that come from companions, where there are any."""
    updates_per_epoch: int = Field(10, ge=1, le=10_000)
    """Gradient steps that count as one epoch when training on chunks."""
    epochs: int = Field(6, ge=1, le=1000)
    """Epochs at most: passes over the training windows, or `updates_per_epoch` updates."""
    batch_size: int = Field(128, ge=1, le=4096)
    """Windows per gradient step."""
    learning_rate: float = Field(5e-3, gt=0, le=1)
    """Step size of Adam; on chunks it falls to zero along a cosine."""
    patience: int = Field(0, ge=0)
    """Epochs without a better validation loss before training stops; 0 trains them all."""
    shuffle: bool = True
    """Whether the training windows are drawn in random order."""
    seed: int = Field(7, ge=0, lt=2**31)
    """Seed of weights, dropout and order."""
    quantile_levels: tuple[float, ...] = DEFAULT_LEVELS
    """Sorted levels in (0, 1), 0.5 among them."""
    reproduction: bool = False
    """True for a recipe that is kept to show a known mistake: it is never promoted."""

    @model_validator(mode="before")
    @classmethod
    def _fill_from_preset(cls, data: Any) -> Any:
        if not isinstance(data, dict):
            return data
        name = data.get("preset", "default")
        if not isinstance(name, str) or name not in PRESETS:
            raise ValueError(f"unknown preset {name!r}{nearest(str(name), PRESETS)}")
        filled = {**PRESETS[name], **data}
        if filled.get("target") == "price":
            # A price level cannot be read off returns, and has no scale of its own.
            filled = {"features": ("close",), "head": "point"} | filled
        if filled.get("head") == "point":
            filled = {
                **ONE_POINT,
                "target": "log_return",
                "epochs": 40,
                "patience": 6,
                "learning_rate": 3e-3,
            } | filled
        if str(filled.get("cell")).startswith("bi"):
            filled = ON_WINDOWS | filled
        return filled

    @field_validator("features")
    @classmethod
    def _features_named_once(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        if not value or len(set(value)) != len(value):
            raise ValueError(f"expected at least one feature, each once, received {list(value)}")
        return value

    @field_validator("quantile_levels")
    @classmethod
    def _levels_sorted(cls, value: tuple[float, ...]) -> tuple[float, ...]:
        inside = all(0 < level < 1 for level in value)
        if not inside or list(value) != sorted(set(value)) or 0.5 not in value:
            raise ValueError(f"expected sorted levels in (0, 1) with 0.5, received {list(value)}")
        return value

    @model_validator(mode="after")
    def _leak_is_labelled(self) -> Self:
        if self.scale_on == "all" and not self.reproduction:
            raise ValueError("scale_on: 'all' leaks the future; only a reproduction may use it")
        return self

    @model_validator(mode="after")
    def _training_fits(self) -> Self:
        if self.head == "point" and (self.members > 1 or self.blend or self.training == "chunks"):
            raise ValueError(
                "head: 'point' takes members 1, blend 0 and training 'windows', received "
                f"{self.members}, {self.blend} and {self.training!r}"
            )
        if (self.head == "student_t", self.target) in {
            (True, "price"),
            (False, "standardized_return"),
        }:
            raise ValueError(
                "target: 'price' takes head 'point' and 'standardized_return' takes 'student_t', "
                f"received {self.target!r} with {self.head!r}"
            )
        if self.training == "chunks" and self.cell.startswith("bi"):
            raise ValueError(
                f"training: {self.cell!r} reads both ways and takes 'windows', received 'chunks'"
            )
        if self.training == "chunks" and (self.chunk_days <= self.lookback or self.dense_units):
            raise ValueError(
                "training: 'chunks' takes chunk_days above lookback and dense_units 0, received "
                f"chunk_days {self.chunk_days}, lookback {self.lookback}, "
                f"dense_units {self.dense_units}"
            )
        return self

    @property
    def name(self) -> str:
        """Name of the forecaster in tables, plots and JSON."""
        return self.preset if self.reproduction else self.cell


class RepairPolicy(_Frozen):
    """Which faults of the candles may be mended; what was mended is logged and tagged."""

    drop_identical_duplicates: bool = True
    """Whether a day given twice with the same values is kept once; otherwise it is refused."""
    max_missing_days: int = Field(2, ge=0, le=30)
    """Missing days, all together, that may be filled with the close before; more are refused."""


class Judging(_Frozen):
    """How the forecaster is measured against naive persistence."""

    test_share: float = Field(0.15, ge=0.01, lt=0.9)
    """Last part of the windows, seen by nothing before evaluation."""
    bootstrap_samples: int = Field(2000, ge=100, le=100_000)
    """Resamples of the block bootstrap for the interval of the skill."""
    block_days: int = Field(20, ge=1, le=365)
    """Length of a block, in days; longer than the memory of the daily errors."""


class Ingestion(_Frozen):
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


class Promotion(_Frozen):
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


class Watch(_Frozen):
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
    max_shift: float = Field(0.5, gt=0)
    """Population stability index of an input above which an alarm is raised."""


class RetrainConfig(_Frozen):
    """One retrain: where candles come from, what is trained, how it is judged."""

    source: str = "sample"
    """Where candles come from: exchange:ID, csv:PATH, sample, sample:random-walk, sample:planted;
    on the command line also auto, an exchange if it answers and else the sample."""
    symbol: str = Field("BTC/USD", pattern=r"^[A-Z0-9]{2,10}/[A-Z0-9]{2,10}(:[A-Z0-9-]{2,30})?$")
    """What is forecast, as BASE/QUOTE."""
    as_of: dt.date | None = None
    """UTC day of the newest candle that may be used; empty: the day before the scheduled start."""
    recipe: Recipe = Recipe()
    repair: RepairPolicy = RepairPolicy()
    judging: Judging = Judging()
    ingestion: Ingestion = Ingestion()
    promotion: Promotion = Promotion()
    watch: Watch = Watch()


BASELINE_NAMES = ("naive", "seasonal_naive", "drift", "ewma", "garch", "gjr", "egarch", "har")


class BacktestConfig(_Frozen):
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
    """Sources of other coins that share the training of networks on chunks, as in csv:PATH."""
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

    @model_validator(mode="after")
    def _something_in_order(self) -> Self:
        if not self.recipes and not self.baselines:
            raise ValueError("expected at least one recipe or baseline, received none")
        if self.start and self.end and self.end < self.start:
            raise ValueError(f"end: expected {self.start} or later, received {self.end}")
        return self


def _known_once(names: tuple[str, ...], known: Iterable[str], what: str) -> tuple[str, ...]:
    for name in names:
        if name not in known:
            raise ValueError(f"unknown {what} {name!r}{nearest(name, known)}")
    if len(set(names)) != len(names):
        raise ValueError(f"expected every {what} once, received {list(names)}")
    return names
