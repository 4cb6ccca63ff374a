"""The charts of a day's page: what is expected, and how good such forecasts have been."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

from models.forecasters.baselines import naive_quantiles
from models.forecasters.frame import BANDS, Forecast, find_band
from models.reporting.chart import (
    END_SPACE,
    Axis,
    Chart,
    Layer,
    day_number,
    day_numbers,
    floats,
    padded,
    thin,
)
from models.scoring.metrics import Z_95
from models.wording import count_days, percent, price

PAST_DAYS = 90
ROLLING_DAYS = 60
# A share of fewer days than this is not drawn.
SETTLED_DAYS = 10
# A day ahead is drawn so many times as wide as a day of the past.
AHEAD_WIDER = 8.0


def fan_chart(candles: pd.DataFrame, forecast: Forecast, unit: str) -> Chart:
    """The last 90 closes and the days ahead with their bands; naive's 90 % band is a dashed line.

    `forecast` has one origin, the last candle.
    """
    close = candles["close"].to_numpy(dtype=np.float64)
    past = candles.iloc[-PAST_DAYS:]
    origin = day_number(past["open_time"].iloc[-1])
    quantiles = forecast.quantiles_usd[0]
    horizon, levels = len(quantiles), forecast.levels
    last = len(close) - 1
    x = tuple(origin + step for step in range(horizon + 1))
    layers = []
    for band in sorted(BANDS, reverse=True):
        if ends := find_band(band, levels):
            low, high = (floats([close[-1], *quantiles[:, end]]) for end in ends)
            name = f"band{100 * band:.0f}"
            layers.append(
                Layer("band", name, x, low=low, high=high, label=f"{100 * band:.0f} % band")
            )
    edges: list[float] = []
    naive_ends = find_band(0.9, levels)
    if last >= 260 and naive_ends:
        naive = close[-1] * np.exp(
            naive_quantiles(close, range(last, last + 1), horizon, levels)[0]
        )
        for at, label in zip(naive_ends, ("", "naive 90 %"), strict=True):
            y = floats([close[-1], *naive[:, at]])
            layers.append(Layer("line", "naive dashed", x, y, label=label))
            edges += y
    median = floats([close[-1], *quantiles[:, levels.index(0.5)]])
    layers += [
        Layer("line", "price", day_numbers(past["open_time"]), floats(past["close"])),
        Layer("line", "median", x, median),
        Layer("down", "", x=(origin,), label="last close"),
    ]
    low_y, high_y = padded([*past["close"], *quantiles.ravel(), *edges])
    return Chart(
        name="fan",
        title=_fan_title(quantiles, levels, unit),
        alt=_fan_alt(past, quantiles, levels, unit),
        x=Axis(
            day_number(past["open_time"].iloc[0]),
            origin + horizon,
            "day",
            wider=(origin, AHEAD_WIDER),
        ),
        y=Axis(low_y, high_y, "price", unit),
        layers=tuple(layers),
        note=f"Dotted: the median. The days ahead are drawn {AHEAD_WIDER:.0f} times as wide.",
        readouts=_fan_readouts(past, quantiles, levels, unit),
        right=END_SPACE,
        height=300,
    )


def _fan_title(quantiles: np.ndarray, levels: Sequence[float], unit: str) -> str:
    ends = find_band(0.9, levels)
    if ends is None:
        return f"The last {PAST_DAYS} days and the {len(quantiles)} ahead"
    low, high = (price(quantiles[-1, end]) for end in ends)
    days = count_days(len(quantiles))
    return f"In {days} the price is between {low} and {high} {unit} with 90 %"


def _fan_alt(past: pd.DataFrame, quantiles: np.ndarray, levels: Sequence[float], unit: str) -> str:
    closes = past["close"]
    text = (
        f"Price of the last {len(past)} days, between {price(closes.min())} and "
        f"{price(closes.max())} {unit}, last {price(closes.iloc[-1])}, and the forecast. "
    )
    return text + _fan_title(quantiles, levels, unit) + ", drawn as bands that widen day by day."


def _fan_readouts(
    past: pd.DataFrame, quantiles: np.ndarray, levels: Sequence[float], unit: str
) -> tuple[tuple[float, str], ...]:
    known = [
        (day_number(day), f"{day:%Y-%m-%d}: {price(close)} {unit}")
        for day, close in zip(past["open_time"], past["close"], strict=True)
    ]
    origin = past["open_time"].iloc[-1]
    for step, row in enumerate(quantiles, 1):
        day = origin + pd.Timedelta(days=step)
        text = f"{day:%Y-%m-%d}: median {price(row[levels.index(0.5)])} {unit}"
        for band in (0.5, 0.9):
            if ends := find_band(band, levels):
                low, high = (price(row[end]) for end in ends)
                text += f", {low} to {high} with {band:.0%}"
        known.append((day_number(day), text))
    return tuple(known)


def record_chart(live: pd.DataFrame) -> Chart:
    """Share of the last 60 live days inside the 90 % band, day by day, and what chance allows.

    `live`: scored next-day rows of the ledger with target_date and inside_90, in order of time.
    """
    inside = live["inside_90"].astype(bool).to_numpy()
    n = len(live)
    share = pd.Series(inside, dtype=float).rolling(ROLLING_DAYS, min_periods=1).mean().to_numpy()
    counted = np.minimum(np.arange(1, n + 1), ROLLING_DAYS)
    half = Z_95 * np.sqrt(0.9 * 0.1 / counted)
    lowest, highest = np.maximum(0.9 - half, 0), np.minimum(0.9 + half, 1)
    days = np.array(day_numbers(live["target_date"]))
    dates = live["target_date"].tolist()
    title = f"Live, the 90 % band held {int(inside.sum())} of {count_days(n)}"
    settled = min(SETTLED_DAYS, n) - 1
    low = 100 * min(share[settled:].min(), lowest[settled:].min())
    shown = np.array(thin(n - settled)) + settled
    return Chart(
        name="record",
        title=title,
        alt=f"{title}; of the last {min(n, ROLLING_DAYS)}: {percent(float(share[-1]))}.",
        x=Axis(days[shown][0] - 0.5, days[-1] + 0.5, "day"),
        y=Axis(max(0.0, low - 5), 100.0, unit=f"% of the last {ROLLING_DAYS} days inside"),
        layers=(
            Layer(
                "band",
                "chance",
                floats(days[shown]),
                low=floats(100 * lowest[shown]),
                high=floats(100 * highest[shown]),
                label="chance",
            ),
            Layer("across", "", y=(90.0,), label="90 %"),
            Layer("line", "ours", floats(days[shown]), floats(100 * share[shown]), label="live"),
            Layer("dots", "ours", floats(days[-1:]), floats(100 * share[-1:])),
        ),
        readouts=tuple(
            (float(days[i]), f"{dates[i]}: {percent(float(share[i]))} of the days before it inside")
            for i in shown
        ),
        right=END_SPACE,
    )


def lead_chart(live: pd.DataFrame) -> Chart:
    """Running sum of naive's live CRPS less ours: rising where ours is better.

    `live`: scored rows of the ledger, all steps; a day's CRPS is the mean over its steps.
    """
    known = live.dropna(subset=["naive_crps_bp"])
    means = known.groupby("as_of")[["crps_bp", "naive_crps_bp"]].mean()
    gain = (means["naive_crps_bp"] - means["crps_bp"]).to_numpy(dtype=np.float64).cumsum()
    skill = 1 - means["crps_bp"].mean() / means["naive_crps_bp"].mean()
    days = day_numbers(means.index)
    side = "below" if skill >= 0 else "above"
    side_of = percent(abs(skill))
    title = f"Live, its CRPS is {side_of} {side} naive's, all steps, {count_days(len(days))}"
    low, high = padded([*gain], around=0.0)
    shown = thin(len(gain))
    return Chart(
        name="lead",
        title=title,
        alt=f"{title}, as a running sum of the daily differences.",
        x=Axis(days[0] - 0.5, days[-1] + 0.5, "day"),
        y=Axis(low, high, unit="lead over naive, summed (basis points)"),
        layers=(
            Layer("across", "solid", y=(0.0,), label="naive"),
            Layer("line", "ours", tuple(days[i] for i in shown), floats(gain[shown]), label="live"),
        ),
        readouts=tuple(
            (days[i], f"forecast of {means.index[i]}: lead over naive {gain[i]:+,.0f} bp in sum")
            for i in shown
        ),
        right=END_SPACE,
    )
