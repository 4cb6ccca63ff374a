"""Plots of a backtest, from its long frame; colours as in figures.py."""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from models.forecasters.frame import central_band, levels_of, probability_below, read_quantiles
from models.reporting.figures import GRID, INK, MODEL, NAIVE
from models.scoring.backtest import PIT_BINS

COLOURS = (MODEL, NAIVE, "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#F0E442", INK)
COVERAGE_DAYS = 180
N_FANS = 6


def backtest_figures(
    frame: pd.DataFrame, recipes: tuple[str, ...], baselines: tuple[str, ...]
) -> dict[str, Figure]:
    """All plots of a backtest, by name; those that compare need a baseline."""
    first = frame[frame["step"] == 1]
    figures = {
        "pit": _plot_pit(first, (*recipes, *baselines)),
        "coverage": _plot_coverage(first, (*recipes, *baselines)),
    }
    if baselines:
        reference = "garch" if "garch" in baselines else baselines[0]
        names = [name for name in (*recipes, *baselines) if name != reference]
        figures["crps_difference"] = _plot_difference(first, names, reference)
    if recipes:
        figures["fan"] = _plot_fan(frame[frame["model"] == recipes[0]], recipes[0])
    return figures


def _plot_difference(first: pd.DataFrame, names: list[str], reference: str) -> Figure:
    """Cumulative CRPS less the reference's over time: falling is better than the reference."""
    figure, axes = _figure(f"Next day: cumulative CRPS less that of {reference} (down is better)")
    scores = first.pivot_table(index="target_date", columns="model", values="crps_bp")
    for name, colour in zip(names, COLOURS * len(names), strict=False):
        axes.plot((scores[name] - scores[reference]).cumsum(), color=colour, label=name)
    axes.axhline(0, color=INK, lw=0.8)
    axes.set(ylabel="basis points of log return")
    axes.legend(frameon=False)
    return figure


def _plot_pit(first: pd.DataFrame, names: tuple[str, ...]) -> Figure:
    """Histogram of the levels at which outcomes came: flat where calibrated."""
    figure, axes = _figure("Next day: levels at which the outcomes came (flat is calibrated)")
    edges = np.linspace(0, 1, PIT_BINS + 1)
    for name, colour in zip(names, COLOURS * len(names), strict=False):
        rows = first[first["model"] == name]
        pit = probability_below(rows["actual"], *read_quantiles(rows))
        share, _ = np.histogram(pit, bins=edges)
        axes.stairs(share / len(rows) * PIT_BINS, edges, color=colour, label=name)
    axes.axhline(1, color=INK, lw=0.8)
    axes.set(xlabel="level", ylabel="density", ylim=(0, None))
    axes.legend(frameon=False)
    return figure


def _plot_coverage(first: pd.DataFrame, names: tuple[str, ...]) -> Figure:
    """Coverage of the 90 % band over the last 180 days, over time."""
    figure, axes = _figure(f"Next day: coverage of the 90 % band, last {COVERAGE_DAYS} days")
    low, high = central_band(0.9, levels_of(first)) or ("q0.05", "q0.95")
    for name, colour in zip(names, COLOURS * len(names), strict=False):
        rows = first[first["model"] == name].set_index("target_date")
        inside = rows["actual"].between(rows[low], rows[high]).astype(float)
        axes.plot(inside.rolling(min(COVERAGE_DAYS, len(rows))).mean(), color=colour, label=name)
    axes.axhline(0.9, color=INK, lw=0.8)
    axes.set(ylabel="share of days inside")
    axes.legend(frameon=False)
    return figure


def _plot_fan(rows: pd.DataFrame, name: str) -> Figure:
    """Forecasts of a few origins, evenly spread over time, and what came."""
    figure = Figure(figsize=(9, 5), layout="constrained")
    figure.suptitle(f"{name}: 50 % and 90 % bands, and the price that came")
    whole = rows.groupby("origin").filter(lambda part: len(part) == rows["step"].max())
    origins = whole["origin"].drop_duplicates().to_numpy()
    chosen = origins[np.linspace(0, len(origins) - 1, min(N_FANS, len(origins))).astype(int)]
    grid = figure.subplots(2, -(-len(chosen) // 2), squeeze=False).ravel()
    for axes, origin in zip(grid, chosen, strict=False):
        part = whole[whole["origin"] == origin].sort_values("step")
        for band, alpha in ((0.9, 0.2), (0.5, 0.4)):
            columns = central_band(band, levels_of(part))
            if columns is None:
                continue
            low, high = (part["close_origin"] * np.exp(part[column]) for column in columns)
            axes.fill_between(part["step"], low, high, color=MODEL, alpha=alpha, lw=0)
        axes.plot(part["step"], part["actual_usd"], color=INK, marker=".")
        axes.set_title(f"{pd.Timestamp(origin):%Y-%m-%d}", fontsize=9)
        axes.set(xlabel="days ahead")
        axes.grid(color=GRID, lw=0.5)
    return figure


def _figure(title: str):  # type: ignore[no-untyped-def]
    figure = Figure(figsize=(9, 4.5), layout="constrained")
    axes = figure.subplots()
    axes.set_title(title, loc="left")
    axes.grid(color=GRID, lw=0.5)
    return figure, axes
