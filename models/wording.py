"""Numbers, days and skills as people read them, the same wherever they show."""

from __future__ import annotations

from collections.abc import Sequence


def price(value: float) -> str:
    """A price as short as it stays exact enough to act on: 77.3k, 3,021, 12.50, 0.1234."""
    size = abs(value)
    if size >= 10_000:
        return f"{value / 1000:,.1f}k"
    if size >= 1000:
        return f"{value:,.0f}"
    return f"{value:.2f}" if size >= 1 else f"{value:.4g}"


def percent(share: float, *, signed: bool = False) -> str:
    """A fraction in percent: 0.9 is 90 %, 0.0162 is 1.6 %."""
    value = 100 * share
    digits = 0 if abs(value) >= 99.5 or (not signed and abs(value - round(value)) < 0.05) else 1
    text = f"{value:+z.{digits}f}" if signed else f"{value:z.{digits}f}"
    return f"{text.replace('-', '−')} %"


def count_days(n: int) -> str:
    """1 day, 2 days."""
    return f"{n:,} day{'' if n == 1 else 's'}"


def signed_skill(value: float, reference: str = "naive") -> str:
    """A skill: +1.6 %, or how many times the error where a percentage misleads."""
    if value < -1:
        return f"{1 - value:,.0f} times {reference}'s error"
    return percent(value, signed=True)


def skill_kind(low: float | None, high: float | None) -> str:
    """What a 95 % interval of a skill says: better, worse, unclear, or untested without one."""
    if low is None or high is None:
        return "untested"
    return "better" if low > 0 else "worse" if high < 0 else "unclear"


def with_interval(value: float, low: float | None, high: float | None) -> str:
    """A skill with its 95 % interval."""
    if low is None or high is None:
        return f"{signed_skill(value)} (too few days for an interval)"
    if value < -1:
        return signed_skill(value)
    ends = f"{percent(low, signed=True)} to {percent(high, signed=True)}"
    return f"{signed_skill(value)} (95 % interval {ends})"


def join_names(names: Sequence[str]) -> str:
    """a, b and c."""
    if len(names) < 2:
        return "".join(names)
    return f"{', '.join(names[:-1])} and {names[-1]}"
