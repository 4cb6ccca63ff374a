"""Charts about the test days: skill by days ahead, calibration, lead over naive, and the losses."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd

from models.config.judging import Judging
from models.config.recipe import Recipe
from models.forecasters.frame import find_band, read_quantiles
from models.reporting.chart import END_SPACE, Axis, Chart, Layer, day_numbers, floats, padded, thin
from models.scoring.holdout import score_skill
from models.scoring.metrics import Z_95, with_crps
from models.wording import count_days, percent

# Looks of the references, in the order in which they are drawn.
LOOKS = {"naive": "naive", "garch": "garch"}
# Names too long for the end of a line.
SHORT = {"scale_regression": "regression"}


def holdout_charts(frame: pd.DataFrame, model: str, judging: Judging) -> list[Chart]:
    """Skill, calibration and error of `model` in a long frame that has naive, and others, too."""
    frame = with_crps(frame).sort_values(["origin", "step"])
    ours = frame[frame["model"] == model]
    first = ours[ours["step"] == 1].reset_index(drop=True)
    skills = {
        str(name): {
            int(str(step)): _skill(ours[ours["step"] == step], rows, judging)
            for step, rows in part.groupby("step")
        }
        for name, part in frame[frame["model"] != model].groupby("model", sort=False)
    }
    naive = frame[(frame["model"] == "naive") & (frame["step"] == 1)].reset_index(drop=True)
    return [
        skill_chart(skills, len(first)),
        calibration_chart(first, model),
        error_chart(first, naive, model),
    ]


def _skill(
    ours: pd.DataFrame, theirs: pd.DataFrame, judging: Judging
) -> tuple[float, float | None, float | None]:
    score = score_skill(ours, theirs, judging, seed=0)
    value, low, high = (score[f"skill_crps{end}"] for end in ("", "_low", "_high"))
    return float(value or 0), low, high


def skill_chart(
    skills: Mapping[str, Mapping[int, tuple[float, float | None, float | None]]],
    n_days: int,
    days: str = "test days",
) -> Chart:
    """Skill of the distribution by days ahead, against several references.

    `skills`: reference -> step -> (skill, low, high) as fractions; the interval is a 95 % one.
    """
    names = list(skills)
    width = 0.16
    layers = [Layer("across", "solid", y=(0.0,))]
    values: list[float] = []
    readouts: dict[int, list[str]] = {}
    for place, name in enumerate(names):
        shift = (place - (len(names) - 1) / 2) * width
        look = LOOKS.get(name, "best")
        steps = sorted(skills[name])
        x = tuple(step - 1 + shift for step in steps)
        y = floats(100 * skills[name][step][0] for step in steps)
        bounded = [step for step in steps if skills[name][step][1] is not None]
        low = floats(100 * float(skills[name][step][1] or 0) for step in bounded)
        high = floats(100 * float(skills[name][step][2] or 0) for step in bounded)
        at = tuple(step - 1 + shift for step in bounded)
        layers.append(Layer("whiskers", look, at, low=low, high=high))
        layers.append(Layer("dots", look, x, y))
        values += [*y, *low, *high]
        for step in steps:
            told = f"{percent(skills[name][step][0], signed=True)} against {name}"
            readouts.setdefault(step, []).append(told)
    # Labels stand at the right, beside each reference's last dot.
    layers += [
        Layer(
            "line",
            LOOKS.get(name, "best"),
            (0.0,),
            (100 * skills[name][max(skills[name])][0],),
            label=f"vs {SHORT.get(name, name)}",
        )
        for name in names
    ]
    n_steps = len(readouts)
    title = f"{_skill_title(skills)}, on {n_days:,} {days}"
    low_y, high_y = padded(values, around=0.0)
    return Chart(
        name="skill",
        title=title,
        alt=f"{title}. Skill by days ahead: "
        + "; ".join(f"{count_days(step)}: {', '.join(told)}" for step, told in readouts.items()),
        x=Axis(
            -0.5, n_steps - 0.5, "names", "days ahead", names=tuple(map(str, range(1, n_steps + 1)))
        ),
        y=Axis(low_y, high_y, unit="% better (above 0) or worse", spec="+,g"),
        layers=tuple(layers),
        note="Skill is how much smaller the error of the whole distribution (CRPS) is than the "
        "reference's, on the same days; lines are 95 % intervals.",
        readouts=tuple(
            (step - 1.0, f"{count_days(step)} ahead: {', '.join(told)}")
            for step, told in readouts.items()
        ),
        right=END_SPACE,
    )


def _skill_title(
    skills: Mapping[str, Mapping[int, tuple[float, float | None, float | None]]],
) -> str:
    reference = next(iter(skills))
    steps = skills[reference]
    first, last = min(steps), max(steps)

    def say(step: int) -> str:
        value, low, high = steps[step]
        text = f"{percent(value, signed=True)}"
        if low is None or high is None:
            return f"{text} (too few days for a test)"
        sure = low > 0 or high < 0
        return text if sure else f"{text} (could be chance)"

    told = f"Against {reference}: {say(first)} one day ahead"
    if last != first:
        told += f", {say(last)} {count_days(last)} ahead"
    return told


def calibration_chart(rows: pd.DataFrame, model: str) -> Chart:
    """Share of days below each quantile, less the share expected, beside what chance allows.

    `rows`: the long frame of one model at one step. On the zero line the forecasts are calibrated.
    """
    quantiles, levels = read_quantiles(rows)
    actual = rows["actual"].to_numpy(dtype=np.float64)
    n = len(rows)
    seen = (actual[:, None] <= quantiles).mean(axis=0)
    x = floats(100 * level for level in levels)
    y = floats(100 * (seen - np.asarray(levels)))
    grid = np.linspace(0.01, 0.99, 99)
    half = 100 * Z_95 * np.sqrt(grid * (1 - grid) / n)
    title = f"{n:,} days: how often the price fell below each quantile"
    if ends := find_band(0.9, levels):
        low, high = (quantiles[:, end] for end in ends)
        inside = int(((low <= actual) & (actual <= high)).sum())
        title = f"The 90 % band held {percent(inside / n)} of {n:,} days"
    low_y, high_y = padded([*y, *half, *-half])
    return Chart(
        name="calibration",
        title=title,
        alt=f"{title}. Largest difference at a quantile: {max(map(abs, y)):.1f} percentage points.",
        x=Axis(0, 100, unit="quantile, %"),
        y=Axis(low_y, high_y, unit="percentage points too many or few below", spec="+,g"),
        layers=(
            Layer(
                "band",
                "chance",
                floats(100 * grid),
                low=floats(-half),
                high=floats(half),
                label="chance",
            ),
            Layer("across", "solid", y=(0.0,)),
            Layer("line", "ours", x, y, label=model),
            Layer("dots", "ours", x, y),
        ),
        note="Inside the grey area the difference is what chance gives (95 % at each quantile).",
        readouts=tuple(
            (a, f"{a:g} % quantile: {100 * share:.1f} % of the days fell below")
            for a, share in zip(x, seen, strict=True)
        ),
        right=END_SPACE,
    )


def error_chart(ours: pd.DataFrame, naive: pd.DataFrame, model: str) -> Chart:
    """Running sum of naive's CRPS less ours, next day: rising where ours is better.

    Both are long frames at one step with `crps_bp`, on the same days.
    """
    gain = (naive["crps_bp"].to_numpy() - ours["crps_bp"].to_numpy()).cumsum()
    days = day_numbers(ours["target_date"])
    better = float((naive["crps_bp"].to_numpy() > ours["crps_bp"].to_numpy()).mean())
    whole = gain[-1] / naive["crps_bp"].sum()
    title = f"On {percent(better)} of {len(ours):,} test days the forecast was closer than naive's"
    low, high = padded([*gain], around=0.0)
    dates, shown = ours["target_date"].tolist(), thin(len(gain))
    return Chart(
        name="error",
        title=title,
        alt=f"{title}; over all of them its error was {percent(abs(whole))} "
        f"{'smaller' if whole >= 0 else 'larger'}. A line that rises where {model} was better.",
        x=Axis(days[0], days[-1], "day"),
        y=Axis(low, high, unit=f"lead over naive, summed (basis points); up: {model} better"),
        layers=(
            Layer("across", "solid", y=(0.0,), label="naive"),
            Layer("line", "ours", tuple(days[i] for i in shown), floats(gain[shown]), label=model),
        ),
        readouts=tuple(
            (days[i], f"{dates[i]:%Y-%m-%d}: lead over naive {gain[i]:+,.0f} bp in sum")
            for i in shown
        ),
        right=END_SPACE,
    )


def loss_chart(losses: Mapping[str, Sequence[float]], recipe: Recipe) -> Chart:
    """Losses by epoch, of training and validation."""
    n = max(len(values) for values in losses.values())
    measured = losses.get("val_loss") or losses["loss"]
    best = int(np.argmin(measured)) + 1
    kind = (
        "minus the log density of the scaled targets"
        if recipe.head == "student_t"
        else "mean squared error of the scaled targets"
    )
    title = f"The loss was lowest after epoch {best} of {n}"
    names = {"loss": ("training", "price"), "val_loss": ("validation", "ours")}
    low, high = padded([value for values in losses.values() for value in values])
    return Chart(
        name="loss",
        title=title,
        alt=f"{title}; {kind}, by epoch.",
        x=Axis(1, max(n, 2), unit="epoch", spec=",g"),
        y=Axis(low, high, unit=f"loss: {kind}", spec=",.3g"),
        layers=tuple(
            Layer(
                "line",
                look,
                floats(range(1, len(losses[key]) + 1)),
                floats(losses[key]),
                label=text,
            )
            for key, (text, look) in names.items()
            if losses.get(key)
        ),
        right=END_SPACE,
    )
