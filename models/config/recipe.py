"""The recipe: everything that makes a forecaster from candles, and the presets of it."""

from __future__ import annotations

from typing import Annotated, Any, Literal, Self

from pydantic import Field, field_validator, model_validator
from pydantic_core import PydanticKnownError

from models.config.base import Frozen, nearest

READS_BOTH_WAYS = {"rnn": False, "lstm": False, "gru": False, "bilstm": True, "bigru": True}
"""Every recurrent cell by name, and whether it reads its window backwards too; what a network needs
to know beside this is in models/learning/cells.py."""

Target = Literal["rescaled_return", "standardized_return", "log_return", "price"]

DEFAULT_FEATURES = (
    "standardized_return",
    "standardized_move",
    "log_volatility",
    "relative_range",
    "relative_garman_klass",
    "relative_garman_klass_mean",
    "distance_from_mean",
    "log_volume_ratio",
)
WEEKDAY_FEATURES = (
    "next_is_monday",
    "next_is_tuesday",
    "next_is_wednesday",
    "next_is_thursday",
    "next_is_friday",
    "next_is_saturday",
    "next_is_sunday",
)
DEFAULT_LEVELS = (0.025, 0.05, 0.1, 0.2, 0.25, 0.3, 0.4, 0.5, 0.6, 0.7, 0.75, 0.8, 0.9, 0.95, 0.975)

ALONE: dict[str, Any] = {
    "blend": 0.0,
    "target": "standardized_return",
    "features": (*DEFAULT_FEATURES, *WEEKDAY_FEATURES),
}
"""A network that does without the regression, and so must learn the weekdays itself."""

PRESETS: dict[str, dict[str, Any]] = {
    "default": {},
    "rnn": {"cell": "rnn", **ALONE},
    "lstm": {"cell": "lstm", **ALONE},
    "gru": {"cell": "gru", **ALONE},
    "bilstm": {"cell": "bilstm", **ALONE},
    "bigru": {"cell": "bigru", **ALONE},
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
        "training": {
            "kind": "windows",
            "epochs": 15,
            "batch_size": 32,
            "learning_rate": 1e-3,
            "patience": 0,
            "shuffle": False,
        },
        "reproduction": True,
    },
}
"""What each preset changes against the field defaults of `Recipe`."""

REPRODUCTION_LABEL = "reproduction: leaks the future, never promoted"


class Chunks(Frozen):
    """Training on long stretches of days, with a forecast and its loss at every day."""

    kind: Literal["chunks"] = "chunks"
    chunk_days: int = Field(120, ge=2, le=2000)
    """Length of a chunk; its first `lookback` - 1 days carry no loss."""
    chunks_per_update: int = Field(16, ge=1, le=1024)
    """Chunks per gradient step, drawn at random."""
    updates_per_epoch: int = Field(10, ge=1, le=10_000)
    """Gradient steps that count as one epoch."""
    epochs: int = Field(6, ge=1, le=1000)
    """Epochs at most."""
    learning_rate: float = Field(5e-3, gt=0, le=1)
    """Step size of Adam, which falls to zero along a cosine."""
    patience: int = Field(0, ge=0)
    """Epochs without a better validation loss before training stops; 0 trains them all."""


class Windows(Frozen):
    """Training on windows of `lookback` days, one forecast for each."""

    kind: Literal["windows"] = "windows"
    epochs: int = Field(30, ge=1, le=1000)
    """Passes over the training windows at most."""
    batch_size: int = Field(128, ge=1, le=4096)
    """Windows per gradient step."""
    learning_rate: float = Field(3e-3, gt=0, le=1)
    """Step size of Adam."""
    patience: int = Field(4, ge=0)
    """Epochs without a better validation loss before training stops; 0 trains them all."""
    shuffle: bool = True
    """Whether the windows are drawn in random order."""


def _may_leave_kind_out(schema: dict[str, Any]) -> None:
    # Prefect checks a deployment's parameters by the schema; without `kind`, which follows from the
    # other keys, they fit both, and `oneOf` refuses that.
    schema["anyOf"] = schema.pop("oneOf")


class Recipe(Frozen):
    """Everything that makes a forecaster from candles: features, target, network, training."""

    preset: str = "default"
    """Preset whose values stand wherever no other value is given here."""
    cell: Annotated[str, Field(json_schema_extra={"enum": list(READS_BOTH_WAYS)})] = "gru"
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
    """Share of the econometric forecast in the mean with the network's; naive quantiles take up to
    a third of both, the more the further ahead. 0: the network alone."""
    econometric: Literal["scale_regression", "egarch"] = "scale_regression"
    """What the network is blended with, fitted on 20 years at most: the scale regression, or
    EGARCH, as versions of earlier releases are."""
    target: Target = "rescaled_return"
    """What is learned: cumulative log return over the scale regression's scale, over EWMA
    volatility times √step, or plain; or the price."""
    features: tuple[str, ...] = DEFAULT_FEATURES
    """Inputs by name, in order; those that the candles cannot give are left out and named."""
    scaler: Literal["standard", "minmax"] = "standard"
    """scikit-learn scaler of features and target."""
    scale_on: Literal["train", "all"] = "train"
    """Rows that the scaler is fitted on; 'all' leaks the future, for the reproduction only."""
    validation_share: float = Field(0.1, ge=0.01, lt=0.5)
    """Last part of the training windows, at most 1,000 of them, held out for early stopping and
    error quantiles."""
    training: Annotated[
        Chunks | Windows, Field(discriminator="kind", json_schema_extra=_may_leave_kind_out)
    ] = Chunks()
    """How the network is trained: chunks or windows, and the settings of that kind. A bidirectional
    cell and the head 'point' train on windows."""
    seed: int = Field(7, ge=0, lt=2**31)
    """Seed of weights, dropout and order."""
    quantile_levels: tuple[float, ...] = DEFAULT_LEVELS
    """Sorted levels in (0, 1), 0.5 among them."""
    reproduction: bool = False
    """True for a recipe that is kept to show a known mistake: it is never promoted."""

    @classmethod
    def from_stored(cls, values: dict[str, Any]) -> Self:
        """Read the recipe of a registered version, also of an earlier release.

        Earlier releases blended with EGARCH, kept the settings of the training beside the others,
        and had two more (`warm_start`, `companion_share`) that no longer mean anything.
        """
        stored = {k: v for k, v in values.items() if k not in ("warm_start", "companion_share")}
        if stored.get("blend", 0.5):
            stored.setdefault("econometric", "egarch")
        if isinstance(kind := stored.get("training"), str):
            settings = Chunks if kind == "chunks" else Windows
            names = set(settings.model_fields) - {"kind"}
            stored["training"] = {"kind": kind} | {n: stored[n] for n in names if n in stored}
            for name in {*Chunks.model_fields, *Windows.model_fields}:
                stored.pop(name, None)
        return cls.model_validate(stored)

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
            filled = {"members": 1, "blend": 0.0, "target": "log_return"} | filled
        # A bidirectional cell would see the days to come in a chunk, so it learns from windows.
        both_ways = READS_BOTH_WAYS.get(str(filled.get("cell")), False)
        if both_ways:
            filled = {"members": 2} | filled
        training = filled.get("training", {})
        if isinstance(training, dict):
            kind = "windows" if both_ways or filled.get("head") == "point" else "chunks"
            own = PRESETS[name].get("training", {}) if "training" in data else {}
            filled["training"] = {"kind": kind} | own | training
        return filled

    @field_validator("cell")
    @classmethod
    def _cell_known(cls, value: str) -> str:
        if value not in READS_BOTH_WAYS:
            known = " or ".join(map(repr, READS_BOTH_WAYS))
            raise PydanticKnownError("literal_error", {"expected": known})
        return value

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
        on_chunks = isinstance(self.training, Chunks)
        if self.head == "point" and (self.members > 1 or self.blend or on_chunks):
            raise ValueError(
                "head: 'point' takes members 1, blend 0 and training 'windows', received "
                f"{self.members}, {self.blend} and {self.training.kind!r}"
            )
        if (self.head == "student_t", self.target) in {
            (True, "price"),
            (False, "standardized_return"),
            (False, "rescaled_return"),
        }:
            raise ValueError(
                "target: 'price' takes head 'point', a return over a scale takes 'student_t', "
                f"received {self.target!r} with {self.head!r}"
            )
        if on_chunks and READS_BOTH_WAYS[self.cell]:
            raise ValueError(
                f"training: {self.cell!r} reads both ways and takes 'windows', received 'chunks'"
            )
        if isinstance(self.training, Chunks) and (
            self.training.chunk_days <= self.lookback or self.dense_units
        ):
            raise ValueError(
                "training: 'chunks' takes chunk_days above lookback and dense_units 0, received "
                f"chunk_days {self.training.chunk_days}, lookback {self.lookback}, "
                f"dense_units {self.dense_units}"
            )
        return self

    @property
    def validates(self) -> bool:
        """Whether a fit needs its validation part: to stop early, or for the error quantiles."""
        return self.training.patience > 0 or self.head == "point"

    @property
    def name(self) -> str:
        """What the forecaster is, in tables, plots, runs and JSON: lstm + regression, or lstm."""
        if self.reproduction:
            return self.preset
        other = {"scale_regression": "regression", "egarch": "EGARCH"}[self.econometric]
        return f"{self.cell} + {other}" if self.blend else self.cell
