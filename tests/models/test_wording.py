from __future__ import annotations

import pytest

from models.wording import join_names, percent, price, signed_skill, skill_kind, with_interval


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (77_312.4, "77.3k"),
        (104_160.0, "104.2k"),
        (3_021.4, "3,021"),
        (12.5, "12.50"),
        (0.12344, "0.1234"),
    ],
)
def test_price_is_as_short_as_it_stays_exact_enough(value: float, text: str) -> None:
    assert price(value) == text


@pytest.mark.parametrize(
    ("share", "signed", "text"),
    [
        (0.9, False, "90 %"),
        (0.9005, False, "90 %"),
        (0.908, False, "90.8 %"),
        (1.0, False, "100 %"),
        (0.0162, True, "+1.6 %"),
        (-0.0009, True, "−0.1 %"),
        (-0.0001, True, "+0.0 %"),
        (2.5, True, "+250 %"),
    ],
)
def test_percent(share: float, signed: bool, text: str) -> None:
    assert percent(share, signed=signed) == text


def test_a_skill_far_below_zero_is_told_as_times_the_error() -> None:
    assert signed_skill(-267.23) == "268 times naive's error"
    assert signed_skill(-0.5) == "−50.0 %"


def test_kinds_of_skill() -> None:
    assert skill_kind(0.1, 0.2) == "better"
    assert skill_kind(-0.2, -0.1) == "worse"
    assert skill_kind(-0.1, 0.1) == "unclear"
    assert skill_kind(None, None) == "untested"


def test_interval_is_told_where_there_is_one() -> None:
    assert with_interval(0.016, 0.005, 0.029) == "+1.6 % (95 % interval +0.5 % to +2.9 %)"
    assert with_interval(0.016, None, None) == "+1.6 % (too few days for an interval)"


def test_names_are_joined() -> None:
    assert join_names(["a", "b", "c"]) == "a, b and c"
    assert join_names(["a"]) == "a"
