"""Charts as plain shapes that a template writes as SVG; every colour is the stylesheet's.

A chart is a title that states the finding, two axes and layers in data units. `draw` places it on
a canvas of some width: the same chart is drawn wide for a desk and narrow for a telephone.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal

import numpy as np
import pandas as pd

EPOCH = dt.date(1970, 1, 1)
# Space around the plot, in pixels: above for the unit, below for the ticks.
TOP, BOTTOM, LEFT = 26, 30, 54
LINE_HEIGHT = 15
# Space for labels at the right end of lines.
END_SPACE = 74
CHARACTER = 6.6
# More points than a year of days cannot be told apart on a screen.
MOST_POINTS = 366


@dataclass(frozen=True)
class Axis:
    """Range, unit and text of one axis; `names` makes it one of categories at 0, 1, 2, ….

    `wider`: from this value on, values are drawn so many times as far apart; the chart must say so.
    """

    low: float
    high: float
    kind: Literal["number", "price", "day", "names"] = "number"
    unit: str = ""
    spec: str = ",.0f"
    names: tuple[str, ...] = ()
    wider: tuple[float, float] | None = None

    def place(self, value: float) -> float:
        """Where a value lies between the ends, 0 to 1."""
        return (self._stretch(value) - self._stretch(self.low)) / (
            self._stretch(self.high) - self._stretch(self.low)
        )

    def _stretch(self, value: float) -> float:
        if self.wider is None or value <= self.wider[0]:
            return value
        return self.wider[0] + (value - self.wider[0]) * self.wider[1]

    def ticks(self, n: int) -> list[tuple[float, str]]:
        """About `n` ticks as (value, text)."""
        if self.kind == "day" and self.wider:
            share = self.place(self.wider[0])
            ahead = day_ticks(self.wider[0] + 1, self.high, max(2, round(n * (1 - share))))
            return day_ticks(self.low, self.wider[0] - 4, max(2, round(n * share))) + ahead
        if self.kind == "day":
            return day_ticks(self.low, self.high, n)
        if self.kind == "names":
            every = -(-len(self.names) // max(n, 1))
            return [(float(i), name) for i, name in enumerate(self.names) if i % every == 0]
        if self.kind == "price":
            return [(value, price_tick(value)) for value in nice_ticks(self.low, self.high, n)]
        return [(v, format(v, self.spec) if v else "0") for v in nice_ticks(self.low, self.high, n)]


@dataclass(frozen=True)
class Layer:
    """Marks of one look (a class of the stylesheet): x (n,), y (n,), and low and high where used.

    kind: line, band (low to high), dots, whiskers (low to high at x), bars (low to high at x),
    across (a horizontal rule at y[0]) or down (a vertical one at x[0]). `label` is written at the
    right end of a line or a band, and at a rule.
    """

    kind: Literal["line", "band", "dots", "whiskers", "bars", "across", "down"]
    look: str
    x: tuple[float, ...] = ()
    y: tuple[float, ...] = ()
    low: tuple[float, ...] = ()
    high: tuple[float, ...] = ()
    label: str = ""


@dataclass(frozen=True)
class Chart:
    """A chart in data units; `readouts` are (x, text) for a pointer, `alt` says what is seen."""

    name: str
    title: str
    alt: str
    x: Axis
    y: Axis
    layers: tuple[Layer, ...]
    note: str = ""
    readouts: tuple[tuple[float, str], ...] = ()
    right: int = 12
    height: int = 260


@dataclass(frozen=True)
class Text:
    """One text of a drawing, in pixels."""

    look: str
    x: float
    y: float
    anchor: str
    text: str


@dataclass(frozen=True)
class Drawing:
    """A placed chart: paths (look, d), dots (look, x, y), texts, in pixels."""

    width: int
    height: int
    paths: list[tuple[str, str]] = field(default_factory=list)
    dots: list[tuple[str, float, float]] = field(default_factory=list)
    texts: list[Text] = field(default_factory=list)
    readouts: list[tuple[float, str]] = field(default_factory=list)
    top: int = TOP
    bottom: int = 0


def day_number(day: dt.date | pd.Timestamp) -> float:
    """Days since 1970, the unit of a day axis."""
    plain = day.date() if isinstance(day, dt.datetime) else day
    return float((plain - EPOCH).days)


def day_numbers(days: Iterable[dt.date | pd.Timestamp]) -> tuple[float, ...]:
    """Days since 1970 of several days."""
    return tuple(day_number(day) for day in days)


def thin(n: int, most: int = MOST_POINTS) -> list[int]:
    """Places of `most` of n points, evenly spread, the first and the last among them; or of all."""
    return [int(place) for place in np.linspace(0, n - 1, min(n, most)).round()]


def floats(values: Iterable[float] | np.ndarray | pd.Series) -> tuple[float, ...]:
    """Plain floats of any row of numbers."""
    return tuple(float(value) for value in values)


def nice_ticks(low: float, high: float, n: int) -> list[float]:
    """About `n` round values (1, 2, 2.5 or 5 times a power of ten apart) from low to high."""
    span = high - low
    if not span > 0:
        return [low]
    raw = span / max(n, 1)
    power = 10.0 ** np.floor(np.log10(raw))
    step = next(power * m for m in (1, 2, 2.5, 5, 10) if power * m >= raw * 0.999)
    first = np.ceil(low / step - 1e-9) * step
    return [float(round(v, 12)) + 0.0 for v in np.arange(first, high + step * 1e-6, step)]


def day_ticks(low: float, high: float, n: int) -> list[tuple[float, str]]:
    """About `n` first days of weeks, months or years, with the year where it begins."""
    start, end = (EPOCH + dt.timedelta(days=int(value)) for value in (np.ceil(low), high))
    text = "%-d %b"
    for frequency in ("D", "W-MON", "SMS", "MS"):
        text = "%b" if frequency == "MS" else text
        days = list(pd.date_range(start, end, freq=frequency))
        strides = (1, 2, 3) if frequency == "D" else (1,)
        if fitting := [days[::every] for every in strides if len(days[::every]) <= n]:
            days = fitting[0]
            break
    else:
        months = next((m for m in (2, 3, 6, 12, 24, 48) if (high - low) / 30.4 / m <= n), 96)
        days = list(pd.date_range(start, end, freq="MS"))
        days = [day for day in days if (12 * day.year + day.month - 1) % months == 0]
        text = "%b" if months < 12 else "%Y"
    return [
        (day_number(day), f"{day:%Y}" if text == "%b" and day.month == 1 else f"{day:{text}}")
        for day in days
    ]


def price_tick(value: float) -> str:
    """A round price: 80k, 2,500, 0.25."""
    return f"{value / 1000:,g}k" if abs(value) >= 10_000 else f"{value:,g}"


def padded(
    values: Iterable[float], *, share: float = 0.06, around: float | None = None
) -> tuple[float, float]:
    """Lowest and highest finite value, and `around`, with a margin on both sides."""
    known = [value for value in values if np.isfinite(value)]
    known += [] if around is None else [around]
    low, high = (min(known), max(known)) if known else (0.0, 1.0)
    margin = share * (high - low) or abs(high) * share or 1.0
    return low - margin, high + margin


def draw(chart: Chart, width: int) -> Drawing:
    """Place a chart on a canvas of `width` pixels."""
    height = chart.height
    longest = max((len(layer.label) for layer in chart.layers if layer.kind != "down"), default=0)
    right = max(min(chart.right, width // 4), min(round(CHARACTER * longest) + 8, width // 3))
    drawing = Drawing(width, height, bottom=height - BOTTOM)

    def px(value: float) -> float:
        return round(LEFT + chart.x.place(value) * (width - LEFT - right), 1)

    def py(value: float) -> float:
        kept = min(max(value, chart.y.low), chart.y.high)
        return round(drawing.bottom - chart.y.place(kept) * (drawing.bottom - TOP), 1)

    _draw_axes(drawing, chart, px, py, right)
    labels: list[Text] = []
    for layer in chart.layers:
        labels += _draw_layer(drawing, layer, px, py, right)
    drawing.texts.extend(_spread(labels, drawing.bottom))
    drawing.readouts.extend((px(x), text) for x, text in chart.readouts)
    return drawing


def _draw_axes(drawing: Drawing, chart: Chart, px, py, right: int) -> None:  # type: ignore[no-untyped-def]
    end = drawing.width - right
    for value, text in chart.y.ticks(max(2, (drawing.bottom - TOP) // 48)):
        drawing.paths.append(("grid", f"M{LEFT} {py(value)}H{end}"))
        drawing.texts.append(Text("tick", LEFT - 6, py(value) + 4, "end", text))
    for value, text in chart.x.ticks(max(2, (end - LEFT) // 72)):
        drawing.paths.append(("tick", f"M{px(value)} {drawing.bottom}v4"))
        anchor = "end" if px(value) > drawing.width - CHARACTER * len(text) / 2 else "middle"
        drawing.texts.append(Text("tick", px(value), drawing.bottom + 17, anchor, text))
    drawing.texts.append(Text("unit", 4, 13, "start", chart.y.unit))
    if chart.x.unit:
        drawing.texts.append(Text("unit", end, drawing.bottom + 29, "end", chart.x.unit))


def _draw_layer(drawing: Drawing, layer: Layer, px, py, right: int) -> list[Text]:  # type: ignore[no-untyped-def]
    end = drawing.width - right
    look = f"{layer.kind} {layer.look}"
    if layer.kind == "across":
        y = py(layer.y[0])
        drawing.paths.append((look, f"M{LEFT} {y}H{end}"))
        return [Text(f"label {layer.look}", end + 5, y + 4, "start", layer.label)]
    if layer.kind == "down":
        x = px(layer.x[0])
        drawing.paths.append((look, f"M{x} {TOP - 4}V{drawing.bottom}"))
        return [Text(f"label {layer.look}", x - 5, TOP + 6, "end", layer.label)]
    if layer.kind == "dots":
        drawing.dots.extend(
            (layer.look, px(x), py(y)) for x, y in zip(layer.x, layer.y, strict=True)
        )
        return []
    if layer.kind in ("whiskers", "bars"):
        parts = [
            f"M{px(x)} {py(low)}V{py(high)}"
            for x, low, high in zip(layer.x, layer.low, layer.high, strict=True)
        ]
        drawing.paths.append((look, "".join(parts)))
        return []
    if layer.kind == "band":
        ahead = _trace(layer.x, layer.low, px, py)
        back = _trace(layer.x[::-1], layer.high[::-1], px, py)
        drawing.paths.append((look, f"M{ahead}L{back}Z"))
        middle = py((layer.low[-1] + layer.high[-1]) / 2)
        at_end = py(layer.high[-1]) + 10 if layer.look.startswith("band") else middle
        return [Text(f"label {layer.look}", end + 5, at_end, "start", layer.label)]
    for x, y in _runs(layer.x, layer.y):
        drawing.paths.append((look, f"M{_trace(x, y, px, py)}"))
    return [Text(f"label {layer.look}", end + 5, py(layer.y[-1]) + 4, "start", layer.label)]


def _trace(x: Sequence[float], y: Sequence[float], px, py) -> str:  # type: ignore[no-untyped-def]
    return "L".join(f"{px(a)} {py(b)}" for a, b in zip(x, y, strict=True))


def _runs(
    x: Sequence[float], y: Sequence[float]
) -> Iterable[tuple[Sequence[float], Sequence[float]]]:
    """Stretches of a line between values that are not finite."""
    known = np.isfinite(np.asarray(y, dtype=np.float64))
    edges = np.flatnonzero(np.diff(np.concatenate([[0], known.astype(int), [0]])))
    for start, stop in zip(edges[::2], edges[1::2], strict=True):
        yield x[start:stop], y[start:stop]


def _spread(labels: list[Text], bottom: int) -> list[Text]:
    """Labels at the right end, pushed apart where they would lie on one another."""
    placed: list[Text] = []
    wanted = sorted((label for label in labels if label.text), key=lambda label: label.y)
    for label in wanted:
        same = [other for other in placed if abs(other.x - label.x) < 1]
        least = same[-1].y + LINE_HEIGHT if same else TOP
        placed.append(replace(label, y=round(max(label.y, least), 1)))
    if placed and (over := placed[-1].y - bottom) > 0:
        placed = [replace(label, y=round(label.y - over, 1)) for label in placed]
    return placed
