from __future__ import annotations

import subprocess
import sys

import numpy as np
import pandas as pd
import pytest
from matplotlib.figure import Figure
from scipy.stats import norm

from models.forecasters.frame import COLUMNS, quantile_column
from models.reporting import figures

LEVELS = (0.05, 0.25, 0.5, 0.75, 0.95)
TITLE = "SYNTHETIC BTC/USD to 2024-12-31"
N = 90


@pytest.fixture
def predictions():
    returns = np.random.default_rng(0).normal(0, 0.03, N + 1)
    closes = 30_000 * np.exp(np.cumsum(returns))
    days = pd.date_range("2024-10-01", periods=N + 1, freq="D", tz="UTC").as_unit("us")
    rows = []
    for model, shift in (("lstm", 0.01), ("naive", 0.0)):
        for i in range(N):
            actual = np.log(closes[i + 1] / closes[i])
            quantiles = shift + 0.03 * norm.ppf(LEVELS)
            known = (days[i], days[i + 1], 1, closes[i], actual, closes[i + 1])
            rows.append([model, *known, *quantiles])
    frame = pd.DataFrame(rows, columns=[*COLUMNS, *map(quantile_column, LEVELS)])
    return frame.sample(frac=1, random_state=0)


PLOTS = [
    figures.plot_prices,
    figures.plot_recent,
    figures.plot_residuals,
    figures.plot_reliability,
]


def lines_of(figure):
    return {line.get_label(): line for line in figure.axes[0].get_lines()}


@pytest.mark.parametrize("plot", PLOTS)
def test_every_plot_says_its_title_and_becomes_a_png_twice_the_same(plot, predictions):
    before = predictions.copy()
    pngs = []
    for _ in range(2):
        figure = plot(predictions, "lstm", title=TITLE)
        assert isinstance(figure, Figure)
        assert figure.get_suptitle() == TITLE
        pngs.append(figures.render_png(figure, dpi=60))
    assert pngs[0].startswith(b"\x89PNG")
    assert pngs[0] == pngs[1]
    pd.testing.assert_frame_equal(predictions, before)


@pytest.mark.parametrize("plot", PLOTS)
def test_unknown_model_is_refused(plot, predictions):
    with pytest.raises(ValueError, match="expected step 1 of model 'gru'"):
        plot(predictions, "gru", title=TITLE)


def test_prices_are_drawn_by_date_with_naive_and_band(predictions):
    axes = figures.plot_prices(predictions, "lstm", title=TITLE).axes[0]
    lines = {line.get_label(): line for line in axes.get_lines()}
    rows = predictions[predictions["model"] == "lstm"].sort_values("target_date")
    assert lines["actual"].get_ydata() == pytest.approx(rows["actual_usd"])
    assert lines["naive"].get_ydata() == pytest.approx(rows["close_origin"])
    expected = rows["close_origin"] * np.exp(rows["q0.5"])
    assert lines["lstm, predicted"].get_ydata() == pytest.approx(expected)
    assert [band.get_label() for band in axes.collections] == ["90 % band of lstm"]
    assert axes.get_yscale() == "linear"


def test_a_large_range_is_drawn_on_a_log_axis(predictions):
    wide = predictions.assign(
        actual_usd=predictions["actual_usd"] * np.where(predictions.index % N < 9, 10, 1)
    )
    assert figures.plot_prices(wide, "lstm", title=TITLE).axes[0].get_yscale() == "log"


def test_recent_shows_the_last_days(predictions):
    lines = lines_of(figures.plot_recent(predictions, "lstm", title=TITLE, n_days=20))
    newest = predictions["target_date"].drop_duplicates().nlargest(20).min()
    shown = lines["actual"].get_xdata()
    assert len(shown) == 20
    assert pd.Timestamp(shown[0], tz="UTC") == newest


def test_reliability_is_the_share_below_each_quantile(predictions):
    lines = lines_of(figures.plot_reliability(predictions, "lstm", title=TITLE))
    rows = predictions[predictions["model"] == "lstm"]
    shares = [(rows["actual"] <= rows[quantile_column(level)]).mean() for level in LEVELS]
    assert lines["lstm"].get_xdata() == pytest.approx(LEVELS)
    assert lines["lstm"].get_ydata() == pytest.approx(shares)


def test_residuals_count_every_day_once(predictions):
    histogram = figures.plot_residuals(predictions, "lstm", title=TITLE).axes[1]
    widths = [patch.get_width() for patch in histogram.patches if hasattr(patch, "get_width")]
    assert sum(widths) == N


def test_loss_marks_the_best_validation_epoch():
    losses = {"loss": [3.0, 2.0, 1.0], "val_loss": [3.0, 1.5, 2.0]}
    figure = figures.plot_loss(losses, title=TITLE)
    assert [text.get_text() for text in figure.axes[0].texts] == ["best: epoch 2"]
    assert lines_of(figure)["training"].get_ydata() == pytest.approx(losses["loss"])
    assert figures.plot_loss({"loss": [1.0]}, title=TITLE).axes[0].texts[:] == []
    with pytest.raises(ValueError, match="at least one epoch"):
        figures.plot_loss({"loss": []}, title=TITLE)


def test_no_global_state_is_loaded():
    code = "import sys, models.reporting.figures; sys.exit('matplotlib.pyplot' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
