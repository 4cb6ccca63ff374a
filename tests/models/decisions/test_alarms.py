from __future__ import annotations

import datetime as dt
from typing import Any

import pytest

from models.decisions.alarms import (
    IN_PART,
    REGISTRY,
    Alarm,
    Facts,
    MoveFacts,
    RunFacts,
    SymbolFacts,
    find_alarms,
    find_unknown,
    select_untold,
)

NOW = dt.datetime(2026, 5, 10, 2, 0, tzinfo=dt.UTC)
TODAY = NOW.date()


def facts(**more: Any) -> Facts:
    """Facts in which all is well but for `more`, of the service or of its one symbol."""
    well: dict[str, Any] = {
        "at": NOW,
        "servers": {"prefect": True, "worker": True},
        "runs": (run("COMPLETED"),),
        "disk_bytes": 5_000_000_000,
    }
    own = {key: more.pop(key) for key in set(more) & set(SymbolFacts.model_fields)}
    return Facts(**{**well, "symbols": (of("BTC/USD", **own),), **more})


def of(symbol: str, **more: Any) -> SymbolFacts:
    """Facts of a symbol that is well but for `more`."""
    well: dict[str, Any] = {
        "newest_candle": dt.date(2026, 5, 9),
        "decisions": ("refresh", "reject", "reject"),
    }
    return SymbolFacts(symbol=symbol, **well | more)


def run(state: str, run_id: str = "a", name: str = "") -> RunFacts:
    return RunFacts(
        flow="retrain", run_id=run_id, state=state, name=name, message="it broke", day=TODAY,
        link="http://x",
    )  # fmt: skip


def move(key: str) -> MoveFacts:
    return MoveFacts(key=key, action="promote", to_version=3, why="better", day=TODAY)


def test_where_all_is_well_nothing_is_told():
    assert find_alarms(facts()) == []


@pytest.mark.parametrize(
    ("changed", "topic"),
    [
        ({"runs": (run("FAILED"),)}, "run retrain"),
        ({"runs": (run("CRASHED"),)}, "run retrain"),
        ({"runs": (run("COMPLETED", name=IN_PART),)}, "part retrain"),
        ({"overdue": {"retrain": NOW - dt.timedelta(minutes=61)}}, "overdue"),
        ({"planned": {"retrain": NOW + dt.timedelta(days=365)}}, "overdue"),
        ({"planned": {"retrain": None}}, "overdue"),
        ({"servers": {"worker": False}}, "server"),
        ({"newest_candle": dt.date(2026, 5, 7)}, "candle"),
        ({"disk_bytes": 999_999_999}, "disk"),
        ({"decisions": ("reject", "reject", "reject", "refresh")}, "rejected"),
        ({"drift": ("the 90 % band held 70 %",)}, "drift"),
        ({"move": move("k")}, "champion"),
    ],
)
def test_each_trouble_is_one_alarm_with_day_reason_and_remedy(changed, topic):
    [alarm] = find_alarms(facts(**changed))
    assert alarm.topic == topic
    assert alarm.text.startswith("2026-05-10: ")
    assert "Why: " in alarm.text and "What to do: " in alarm.text


@pytest.mark.parametrize(
    "changed",
    [
        {"overdue": {"retrain": NOW - dt.timedelta(minutes=59)}},
        {"planned": {"retrain": NOW + dt.timedelta(hours=47)}},
        {"newest_candle": dt.date(2026, 5, 8)},
        {"disk_bytes": 1_000_000_000},
        {"decisions": ("reject", "reject", "refresh")},
    ],
)
def test_just_inside_a_limit_nothing_is_told(changed):
    assert find_alarms(facts(**changed)) == []


def tell(alarms: list[Alarm], told: dict[str, list[str]]):
    new, well, after = select_untold(alarms, told)
    return [alarm.key for alarm in new], well, after


def test_the_same_is_told_once_and_its_end_once():
    failed = find_alarms(facts(runs=(run("FAILED"),)))
    new, well, told = tell(failed, {})
    assert (new, well) == (["a"], [])
    assert tell(failed, told) == ([], [], told)
    # Another failure is another thing, and the flow is not well in between.
    new, well, told = tell(find_alarms(facts(runs=(run("FAILED", "b"),))), told)
    assert (new, well) == (["b"], [])
    new, well, told = tell(find_alarms(facts()), told)
    assert (new, well) == ([], ["run retrain"])
    assert tell(find_alarms(facts()), told) == ([], [], told)


def test_a_move_of_the_champion_is_told_once_and_never_well_again():
    new, well, told = tell(find_alarms(facts(move=move("k"))), {})
    assert (new, well) == (["k"], [])
    assert tell(find_alarms(facts(move=move("k"))), told)[:2] == ([], [])
    assert tell(find_alarms(facts(move=move("l"))), told)[:2] == (["l"], [])
    assert tell(find_alarms(facts()), told)[:2] == ([], [])


def test_of_several_symbols_each_alarm_names_its_own_and_is_told_once():
    old, moved = dt.date(2026, 5, 1), move("k")
    bad = of("ETH/USD", newest_candle=old, decisions=("reject",) * 3, drift=("x",), move=moved)
    several = facts(symbols=(of("BTC/USD"), bad, of("XRP/USD", newest_candle=old)))
    found = find_alarms(several)
    topics = ["candle ETH/USD", "rejected ETH/USD", "drift ETH/USD", "champion ETH/USD"]
    assert [alarm.topic for alarm in found] == [*topics, "candle XRP/USD"]
    assert all(alarm.what.startswith(f"{alarm.topic.split()[1]}: ") for alarm in found)
    assert "btc ingest --symbol ETH/USD" in found[0].todo
    new, well, told = tell(found, {})
    assert (len(new), well) == (5, [])
    assert tell(found, told) == ([], [], told)
    mended = facts(symbols=(of("BTC/USD"), of("ETH/USD"), of("XRP/USD", newest_candle=old)))
    assert tell(find_alarms(mended), told)[:2] == ([], sorted(topics[:3]))
    blind = mended.model_copy(update={"servers": {REGISTRY: False, "prefect": True}})
    assert find_unknown(blind, told) == {*topics[:3], "candle XRP/USD"}


def test_nothing_is_well_again_while_nobody_can_say_so():
    told = {"run retrain": ["a"], "drift": ["x"], "overdue": ["y"], "disk": ["disk"]}
    blind = facts(servers={"prefect": False, REGISTRY: False}, runs=(), drift=())
    assert select_untold(find_alarms(blind), told, find_unknown(blind, told))[1] == ["disk"]
    assert find_unknown(facts(), told) == set()
