"""Synthetic candles: `sample`, `sample:random-walk`, `sample:planted`."""

from __future__ import annotations

import datetime as dt
from difflib import get_close_matches
from typing import cast

import pandas as pd

from models.data.sample import VARIANTS, Variant, make_sample
from models.errors import InputError


def fetch_sample(argument: str, symbol: str, last_day: dt.date) -> tuple[pd.DataFrame, str]:
    """Make the sample of the variant `argument`, or the default, up to last_day.

    Raises InputError for a variant that is not known or a day before the sample has enough.
    """
    variant = argument or "default"
    if variant not in VARIANTS:
        near = get_close_matches(variant.lower(), VARIANTS, n=1)
        hint = f"did you mean 'sample:{near[0]}'?" if near else "expected one of"
        raise InputError(f"unknown sample {variant!r}: {hint} ({', '.join(VARIANTS)})")
    candles = make_sample(last_day, variant=cast(Variant, variant))
    return candles, "sample" if variant == "default" else f"sample:{variant}"
