"""Synthetic candles: `sample`, `sample:random-walk`, `sample:planted`."""

from __future__ import annotations

import datetime as dt
from difflib import get_close_matches
from typing import cast

from models.config.data import Reading
from models.data.sample import VARIANTS, Variant, make_sample
from models.errors import InputError
from tasks.sources.fetched import FetchedCandles


def fetch_sample(argument: str, reading: Reading, last_day: dt.date) -> FetchedCandles:
    """Make the sample of the variant `argument`, or the default, up to last_day.

    Raises InputError for a variant that is not known or a day before the sample has enough.
    """
    variant = argument or "default"
    if variant not in VARIANTS:
        near = get_close_matches(variant.lower(), VARIANTS, n=1)
        hint = f"did you mean 'sample:{near[0]}'?" if near else "expected one of"
        raise InputError(f"unknown sample {variant!r}: {hint} ({', '.join(VARIANTS)})")
    candles = make_sample(last_day, variant=cast(Variant, variant))
    label = "sample" if variant == "default" else f"sample:{variant}"
    return FetchedCandles(candles, f"{label} (SYNTHETIC)", synthetic=True)
