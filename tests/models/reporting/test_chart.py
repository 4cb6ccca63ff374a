from __future__ import annotations

import datetime as dt
import re
from itertools import pairwise
from xml.etree import ElementTree

import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.reporting.chart import (
    Axis,
    Chart,
    Layer,
    day_number,
    day_ticks,
    draw,
    nice_ticks,
    padded,
    thin,
)
from models.reporting.render import render_chart


def chart(**changes: object) -> Chart:
    given = {
        "name": "one",
        "title": "The finding & its <numbers>",
        "alt": "What is seen",
        "x": Axis(0, 10),
        "y": Axis(-1, 1, unit="%"),
        "layers": (
            Layer("line", "ours", (0, 5, 10), (-1, 0, 1), label="ours"),
            Layer("line", "naive", (0, 5, 10), (-1, 0, 1), label="naive"),
            Layer("band", "band90", (0, 10), low=(-1, -1), high=(1, 0), label="band"),
            Layer("dots", "ours", (5,), (0,)),
            Layer("across", "solid", y=(0,)),
        ),
        "readouts": ((5, "five"),),
    }
    return Chart(**(given | changes))  # type: ignore[arg-type]


@given(st.floats(-1e6, 1e6), st.floats(1e-3, 1e6), st.integers(2, 9))
def test_ticks_are_round_in_order_and_inside(low: float, span: float, n: int) -> None:
    ticks = nice_ticks(low, low + span, n)
    assert ticks == sorted(ticks)
    assert all(low - 1e-6 * span <= tick <= low + span * (1 + 1e-6) for tick in ticks)
    assert 1 <= len(ticks) + 1 <= 2 * n + 2


def test_day_ticks_name_the_year_where_it_begins() -> None:
    low, high = (day_number(dt.date(2023, month, 15)) for month in (2, 12))
    named = [text for _, text in day_ticks(low, high + 120, 8)]
    assert named == ["Mar", "May", "Jul", "Sep", "Nov", "2024", "Mar"]
    assert day_ticks(0, 3, 8)[0] == (0.0, "1 Jan")


def test_a_line_goes_where_the_numbers_say() -> None:
    drawing = draw(chart(layers=(Layer("line", "ours", (0, 10), (-1, 1)),)), 720)
    path = next(d for look, d in drawing.paths if look == "line ours")
    (x0, y0), (x1, y1) = ((float(a), float(b)) for a, b in re.findall(r"([\d.]+) ([\d.]+)", path))
    assert (x0, y0) == (54, drawing.bottom)
    assert (x1, y1) == (720 - 12, drawing.top)


def test_a_gap_in_the_numbers_is_a_gap_in_the_line() -> None:
    nan = float("nan")
    drawing = draw(chart(layers=(Layer("line", "ours", (0, 1, 2, 3), (0, nan, 1, 1)),)), 720)
    assert sum(look == "line ours" for look, _ in drawing.paths) == 2


def test_labels_at_the_end_do_not_lie_on_one_another() -> None:
    labels = [text for text in draw(chart(), 720).texts if text.look.startswith("label")]
    heights = sorted(text.y for text in labels)
    assert len(heights) == 3
    assert all(b - a >= 15 for a, b in pairwise(heights))
    assert heights[-1] <= draw(chart(), 720).bottom


def test_a_wider_future_is_drawn_wider_and_nothing_else_moves() -> None:
    axis = Axis(0, 20, wider=(10, 3.0))
    assert axis.place(0) == 0
    assert axis.place(20) == 1
    assert axis.place(10) == pytest.approx(10 / 40)


def test_padding_takes_in_zero_and_survives_nothing() -> None:
    assert padded([1.0, 2.0], around=0.0)[0] < 0
    low, high = padded([])
    assert low < high


def test_a_chart_file_is_one_whole_svg_with_its_own_colours() -> None:
    text = render_chart(chart())
    root = ElementTree.fromstring(text)
    assert root.tag.endswith("svg")
    assert "The finding &amp; its &lt;numbers&gt;" in text
    assert "prefers-color-scheme: dark" in text


def test_ten_years_of_days_are_drawn_by_no_more_points_than_one():
    assert thin(5) == [0, 1, 2, 3, 4]
    places = thin(3650)
    assert len(places) == 366 and places[0] == 0 and places[-1] == 3649
    assert places == sorted(set(places))
