from __future__ import annotations

import datetime as dt
from typing import Any

import pytest

from models.config.judging import Watch
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
    rename_told,
    select_untold,
)
from models.decisions.drift_watch import watch_inputs, watch_record
from tests.models.decisions.test_drift_watch import rows, shifted

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


def test_a_candle_is_not_called_old_while_the_ledger_does_not_answer():
    old = dt.date(2026, 5, 1)
    servers = {"prefect": True, REGISTRY: False}
    [alarm] = find_alarms(facts(servers=servers, newest_candle=old))
    assert alarm.topic == f"server {REGISTRY}"


@pytest.mark.parametrize(
    ("changed", "topic"),
    [
        ({"runs": (run("FAILED"),)}, "run retrain"),
        ({"runs": (run("CRASHED"),)}, "run retrain"),
        ({"runs": (run("COMPLETED", name=IN_PART),)}, "part retrain"),
        ({"overdue": {"retrain": NOW - dt.timedelta(minutes=61)}}, "overdue retrain"),
        ({"planned": {"retrain": NOW + dt.timedelta(days=365)}}, "overdue retrain"),
        ({"planned": {"retrain": None}}, "overdue retrain"),
        ({"servers": {"worker": False}}, "server worker"),
        ({"newest_candle": dt.date(2026, 5, 7)}, "candle BTC/USD"),
        ({"disk_bytes": 999_999_999}, "disk"),
        ({"decisions": ("reject", "reject", "reject", "refresh")}, "rejected BTC/USD"),
        ({"drift": ("the 90 % band held 70 %",)}, "drift BTC/USD"),
        ({"move": move("k")}, "champion BTC/USD"),
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
    told = {
        "run retrain": ["a"], "drift BTC/USD": ["x"], "overdue retrain": ["y"], "disk": ["disk"],
        "server worker": ["worker"],
    }  # fmt: skip
    blind = facts(servers={"prefect": False, REGISTRY: False}, runs=(), drift=())
    assert select_untold(find_alarms(blind), told, find_unknown(blind, told))[1] == ["disk"]
    assert find_unknown(facts(), told) == set()
    assert find_unknown(facts(symbols=(of("ETH/USD"),)), told) == {"drift BTC/USD"}
    assert "server worker" in find_unknown(facts(servers={}), told)


def test_that_btc_up_gave_up_is_told_each_time_and_well_again_when_all_servers_are():
    _, _, told = tell(find_alarms(facts(gave_up="mlflow ends again and again")), {})
    stopped = facts(servers={"prefect": False, "worker": False})
    new, well, told = select_untold(find_alarms(stopped), told, find_unknown(stopped, told))
    assert (len(new), well) == (2, [])
    assert select_untold([], told, find_unknown(facts(), told))[1] == [
        "server btc up", "server prefect", "server worker",
    ]  # fmt: skip


def drifts(*records: float) -> list[tuple[str, ...]]:
    """The texts that the drift watch writes on days whose scores and inputs differ."""
    return [
        tuple(
            breach.text
            for breach in (
                *watch_record(rows(ratio=ratio).assign(inside_90=rows().index < n - 85), Watch()),
                *watch_inputs(shifted(1500, n), ("log_return", "log_range"), Watch()),
            )
        )
        for n, ratio in enumerate(records, 85)
    ]


def test_drift_is_told_once_whatever_its_figures_and_by_what_is_breached():
    first, second = drifts(1.2, 1.31)
    assert len(first) == len(second) == 3 and not set(first) & set(second)
    new, _, told = tell(find_alarms(facts(drift=first)), {})
    assert new == ["the 90 % band held", "CRPS is", "log_range has shifted"]
    # A day that is done again leaves both texts.
    for drift in (second, first + second):
        assert tell(find_alarms(facts(drift=drift)), told) == ([], [], told)
    assert tell(find_alarms(facts(drift=second[1:])), told)[:2] == ([], [])
    assert tell(find_alarms(facts()), told)[1] == ["drift BTC/USD"]


@pytest.mark.parametrize("kind", ["servers", "planned"])
def test_what_fails_again_is_told_again_while_another_stays_down(kind):
    def look(told: dict[str, list[str]], *down: str):
        names = ("mlflow", "prefect", "worker")
        tomorrow = NOW + dt.timedelta(days=1)
        servers = {name: name not in down for name in names}
        planned = {name: None if name in down else tomorrow for name in names}
        known = {"servers": servers} if kind == "servers" else {"planned": planned}
        new, well, told = select_untold(find_alarms(facts(**known)), told)
        return [alarm.what.split()[0] for alarm in new], well, told

    topic = {"servers": "server", "planned": "overdue"}[kind]
    new, well, told = look({}, "mlflow", "worker")
    assert (new, well) == (["mlflow", "worker"], [])
    new, well, told = look(told, "worker")
    assert (new, well) == ([], [f"{topic} mlflow"])
    new, well, told = look(told, "mlflow", "worker")
    assert (new, well) == (["mlflow"], [])
    assert look(told)[:2] == ([], [f"{topic} mlflow", f"{topic} worker"])


def test_of_two_inputs_that_shifted_one_is_told_again_when_it_comes_back():
    both = ("log_range has shifted: a", "log_return has shifted: b")
    _, _, told = tell(find_alarms(facts(drift=both)), {})
    new, well, told = tell(find_alarms(facts(drift=both[:1])), told)
    assert (new, well) == ([], [])
    assert tell(find_alarms(facts(drift=both)), told)[0] == ["log_return has shifted"]


def test_a_remedy_names_every_symbol_but_the_usual_one_that_is_alone():
    bad = {"newest_candle": dt.date(2026, 5, 1), "drift": ("x",), "decisions": ("reject",) * 3}
    alone = find_alarms(facts(symbols=(of("ETH/USD", move=move("k"), **bad),)))
    assert len(alone) == 4
    for alarm in alone:
        assert alarm.what.startswith("ETH/USD: ")
        assert alarm.todo.count("--symbol ETH/USD") == alarm.todo.count("`btc "), alarm.todo
    usual = find_alarms(facts(move=move("k"), **bad))
    assert not any("USD" in alarm.what + alarm.todo for alarm in usual)


@pytest.mark.parametrize("symbol", ["BTC/USD", "ETH/USD"])
def test_a_second_symbol_and_an_upgrade_tell_nothing_twice(symbol):
    [drift] = drifts(1.2)
    bad = of(
        symbol, newest_candle=dt.date(2026, 5, 1), drift=drift, decisions=("reject",) * 3,
        move=move("k"),
    )  # fmt: skip
    more = {
        "servers": {"prefect": True, "worker": False, "mlflow": False},
        "overdue": {"retrain": NOW - dt.timedelta(hours=2)},
        "planned": {"forecast": None},
        "disk_bytes": 0,
        "runs": (run("FAILED"),),
    }
    alone = find_alarms(facts(symbols=(bad,), **more))
    several = find_alarms(facts(symbols=(of("XRP/USD"), bad), **more))
    _, _, told = tell(alone, {})
    assert tell(several, told)[:2] == ([], [])
    assert tell(alone, tell(several, {})[2])[:2] == ([], [])
    before = {
        "run retrain": ["a"],
        "overdue": [f"retrain{NOW - dt.timedelta(hours=2)}", "forecast unplanned"],
        "server": ["worker", "mlflow"],
        "disk": ["disk"],
    }
    of_symbol = {
        "candle": ["2026-05-01"],
        "rejected": ["rejected"],
        "drift": [text[:40] for text in drift],
        "champion": ["k"],
    }
    named = {f"{topic} {symbol}": keys for topic, keys in of_symbol.items()}
    for earlier in (before | of_symbol, before | named):
        read = rename_told(earlier, facts(symbols=(bad,)))
        assert tell(alone, read)[:2] == ([], [])
        assert rename_told(read, facts()) == read
