"""Plots of one retrain, as matplotlib figures that no global state knows.

Each takes a `title`, which carries the symbol, the day and, where so, SYNTHETIC. `predictions` is
the frame that `models.evaluation` describes; what is plotted is step 1. Colours are those
of Okabe and Ito, which colour-blind readers can tell apart.
"""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib.dates as mdates
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import (
    FuncFormatter,
    LogLocator,
    MaxNLocator,
    NullFormatter,
    PercentFormatter,
)

from models.forecasters.frame import central_band, levels_of, quantile_column
from models.scoring.metrics import Z_95

INK, MODEL, NAIVE, GRID = "#222222", "#0072B2", "#D55E00", "#D9D9D9"
BAND_LEVEL = 0.9
# Prices that span more than this factor are read as ratios, on a log axis.
LOG_RANGE = 3.0


def plot_loss(losses: Mapping[str, Sequence[float]], *, title: str) -> Figure:
    """Losses by epoch, one line a name (`loss`, `val_loss`); the best validation epoch is marked.

    Raises ValueError where no epoch is given.
    """
    if not any(len(values) for values in losses.values()):
        raise ValueError("losses: expected at least one epoch, received none")
    figure, (axes,) = _figure(title)
    labels = {"loss": "training", "val_loss": "validation"}
    colours = {"loss": INK, "val_loss": MODEL}
    for name, values in losses.items():
        epochs = np.arange(1, len(values) + 1)
        axes.plot(epochs, values, color=colours.get(name), label=labels.get(name, name), marker=".")
    if losses.get("val_loss"):
        best = int(np.argmin(losses["val_loss"]))
        lowest = losses["val_loss"][best]
        axes.plot(best + 1, lowest, "o", mfc="none", mec=MODEL, ms=11)
        axes.annotate(
            f"best: epoch {best + 1}", (best + 1, lowest), (0, 12), textcoords="offset points",
            ha="center", color=MODEL,
        )  # fmt: skip
    axes.margins(y=0.15)
    axes.set(xlabel="epoch", ylabel="loss")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    _legend(axes)
    return figure


def plot_prices(predictions: pd.DataFrame, model: str, *, title: str) -> Figure:
    """Actual and predicted price over the test days, with the naive line and the 90 % band."""
    figure, (axes,) = _figure(title)
    _draw_prices(axes, predictions, model, line_width=1.0, marker=None)
    return figure


def plot_recent(predictions: pd.DataFrame, model: str, *, title: str, n_days: int = 60) -> Figure:
    """The last `n_days` test days of `plot_prices`, enlarged."""
    dates = predictions.loc[predictions["step"] == 1, "target_date"].drop_duplicates()
    kept = predictions[predictions["target_date"].isin(dates.nlargest(n_days))]
    figure, (axes,) = _figure(title)
    _draw_prices(axes, kept, model, line_width=1.6, marker=".")
    return figure


def plot_residuals(predictions: pd.DataFrame, model: str, *, title: str) -> Figure:
    """Errors of the next day's log return, actual minus median: over time and as a histogram."""
    rows, naive = _first_step(predictions, model), _first_step(predictions, "naive")
    error, naive_error = (
        (part["actual"] - part["q0.5"]).to_numpy(np.float64) for part in (rows, naive)
    )
    figure, (left, right) = _figure(title, widths=(3, 1))
    left.vlines(_days(rows), 0, error, color=MODEL, lw=0.8, alpha=0.7)
    left.axhline(0, color=INK, lw=0.8)
    bins = np.histogram_bin_edges(np.concatenate([error, naive_error]), bins=40)
    flat: dict[str, Any] = {"bins": bins, "orientation": "horizontal"}
    right.hist(error, color=MODEL, alpha=0.45, label=model, **flat)
    right.hist(naive_error, color=NAIVE, histtype="step", lw=1.2, label="naive", **flat)
    right.axhline(0, color=INK, lw=0.8)
    left.set_ylabel("actual minus predicted log return")
    right.set_xlabel("days")
    right.sharey(left)
    right.tick_params(labelleft=False)
    _date_axis(left)
    _legend(right)
    return figure


def plot_reliability(predictions: pd.DataFrame, model: str, *, title: str) -> Figure:
    """Share of days below each quantile against its level, for the next day.

    On the diagonal the distribution is honest; the grey area is where 95 % of honest forecasts
    would fall by chance, day by day independent (normal approximation of the binomial).
    """
    levels = np.asarray(levels_of(predictions))
    columns = [quantile_column(level) for level in levels]
    figure, (axes,) = _figure(title, size=(6.4, 6.0))
    for name, colour, marker in (("naive", NAIVE, "s"), (model, MODEL, "o")):
        rows = _first_step(predictions, name)
        below = rows["actual"].to_numpy()[:, None] <= rows[columns].to_numpy(np.float64)
        axes.plot(levels, below.mean(axis=0), color=colour, marker=marker, ms=5, lw=1.4, label=name)
        n_days = len(rows)
    grid = np.linspace(0, 1, 201)
    half = Z_95 * np.sqrt(grid * (1 - grid) / n_days)
    axes.fill_between(
        grid, grid - half, grid + half, color=GRID, alpha=0.7, lw=0, label="chance, 95 %"
    )
    axes.plot([0, 1], [0, 1], color=INK, lw=0.8, ls=(0, (4, 3)))
    axes.set(xlim=(0, 1), ylim=(0, 1), aspect="equal")
    axes.set(xlabel="quantile level", ylabel=f"share of {n_days} days at or below the quantile")
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_formatter(PercentFormatter(1, decimals=0))
    _legend(axes)
    return figure


def render_png(figure: Figure, *, dpi: int = 150) -> bytes:
    """The figure as PNG bytes, the same for the same figure."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=dpi, metadata={"Software": None})
    return buffer.getvalue()


def _draw_prices(
    axes: Axes, predictions: pd.DataFrame, model: str, *, line_width: float, marker: str | None
) -> None:
    rows, naive = _first_step(predictions, model), _first_step(predictions, "naive")
    days, close = _days(rows), rows["close_origin"].to_numpy(np.float64)
    band = central_band(BAND_LEVEL, levels_of(predictions))
    if band is not None:
        low, high = (close * np.exp(rows[name].to_numpy(np.float64)) for name in band)
        axes.fill_between(
            days, low, high, color=MODEL, alpha=0.18, lw=0, label=f"90 % band of {model}"
        )
    price = close * np.exp(rows["q0.5"].to_numpy(np.float64))
    naive_price = naive["close_origin"] * np.exp(naive["q0.5"])
    style: dict[str, Any] = {"lw": line_width, "marker": marker, "ms": 4}
    axes.plot(days, rows["actual_usd"], color=INK, label="actual", zorder=3, **style)
    axes.plot(days, price, color=MODEL, label=f"{model}, predicted", zorder=2, **style)
    # Broad and pale beneath the prediction, which would hide it: the two are often a hair apart.
    broad: dict[str, Any] = {"lw": 2.6 * line_width, "alpha": 0.45, "zorder": 1.8}
    axes.plot(_days(naive), naive_price, color=NAIVE, label="naive", **broad)
    actual = rows["actual_usd"]
    if actual.max() > LOG_RANGE * actual.min():
        axes.set_yscale("log")
        axes.yaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 3.0, 4.0, 5.0, 7.0)))
        axes.yaxis.set_minor_formatter(NullFormatter())
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.0f}"))
    axes.set_ylabel("price of the next day, USD")
    axes.margins(x=0.01)
    _date_axis(axes)
    _legend(axes)


def _first_step(predictions: pd.DataFrame, model: str) -> pd.DataFrame:
    """Step 1 of one model by target date; ValueError where there is none."""
    chosen = (predictions["model"] == model) & (predictions["step"] == 1)
    if not chosen.any():
        known = sorted(set(predictions["model"]))
        raise ValueError(f"predictions: expected step 1 of model {model!r}, received {known}")
    return predictions[chosen].sort_values("target_date")


def _days(rows: pd.DataFrame) -> np.ndarray:
    # Matplotlib's dates know no time zone of pandas; all of ours are UTC.
    return rows["target_date"].dt.tz_localize(None).to_numpy()


def _figure(
    title: str, *, size: tuple[float, float] = (9.0, 4.6), widths: tuple[int, ...] = (1,)
) -> tuple[Figure, tuple[Axes, ...]]:
    figure = Figure(figsize=size, layout="constrained", facecolor="white")
    figure.suptitle(title, x=0.012, ha="left", fontsize=12, fontweight="bold", color=INK)
    grid = figure.add_gridspec(1, len(widths), width_ratios=widths)
    all_axes = tuple(figure.add_subplot(grid[0, place]) for place in range(len(widths)))
    for axes in all_axes:
        axes.grid(color=GRID, lw=0.6)
        axes.set_axisbelow(True)
        axes.spines[["top", "right"]].set_visible(False)
        axes.tick_params(colors=INK, labelsize=10)
    return figure, all_axes


def _date_axis(axes: Axes) -> None:
    locator = mdates.AutoDateLocator(minticks=4, maxticks=8)
    axes.xaxis.set_major_locator(locator)
    axes.xaxis.set_major_formatter(mdates.ConciseDateFormatter(locator))


def _legend(axes: Axes) -> None:
    """One row above the axes, where it hides no data."""
    axes.legend(
        loc="lower left", bbox_to_anchor=(0, 1), ncols=4, frameon=False, fontsize=10,
        borderaxespad=0.1, handlelength=1.6, columnspacing=1.4,
    )  # fmt: skip
