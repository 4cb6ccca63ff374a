"""What is read: where candles come from, exogenous series, what may be repaired, ingestion."""

from __future__ import annotations

import datetime as dt
from typing import Any, Literal

from pydantic import Field, field_validator, model_validator

from models.config.base import Frozen
from models.masking import mask


class RepairPolicy(Frozen):
    """Which faults of the candles may be mended; what was mended is logged and tagged."""

    drop_identical_duplicates: bool = True
    """Whether a day given twice with the same values is kept once; otherwise it is refused."""
    max_missing_days: int = Field(2, ge=0, le=30)
    """Missing days, all together, that may be filled with the close before; more are refused."""


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

    @field_validator("exchange_url", "cross_check_url")
    @classmethod
    def _address_without_secrets(cls, value: str) -> str:
        if mask(value) != value:
            raise ValueError(
                "an address with a password or key would be kept with the run; leave them out"
            )
        return value


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


class PriceFile(Frozen):
    """How a file of prices is read, where nothing in it tells."""

    date_order: Literal["", "dmy", "mdy", "ymd"] = ""
    """Order of day, month and year in dates such as 03/04/2024; empty: what the file proves."""
    decimal: Literal["", ".", ","] = ""
    """Decimal mark of its numbers; empty: what the file shows."""


SYMBOL = r"^[A-Z0-9]{2,10}/[A-Z0-9]{2,10}(:[A-Z0-9-]{2,30})?$"
"""BASE/QUOTE, and for a derivative what it is settled in, as in BTC/USDT:USDT."""
SYMBOL_LENGTH = 32
USUAL_SYMBOL = "BTC/USD"
"""What the ledger's column holds."""


class Reading(Frozen):
    """What is read: shared by everything that takes candles in."""

    source: str = "sample"
    """Where candles come from: exchange:ID, csv:PATH, sample, sample:random-walk, sample:planted;
    on the command line also auto, an exchange if it answers and else the sample."""
    symbol: str = Field(USUAL_SYMBOL, pattern=SYMBOL, max_length=SYMBOL_LENGTH)
    """What is forecast, as BASE/QUOTE."""
    exogenous: tuple[Exogenous, ...] = ()
    """Daily series that networks read beside the candles: NAME=PATH, or keys and values."""
    file: PriceFile = PriceFile()
    repair: RepairPolicy = RepairPolicy()
    ingestion: Ingestion = Ingestion()

    @field_validator("exogenous")
    @classmethod
    def _series_named_once(cls, value: tuple[Exogenous, ...]) -> tuple[Exogenous, ...]:
        names = [series.feature for series in value]
        if len(set(names)) != len(names):
            raise ValueError(f"expected every series once, received {names}")
        return value
