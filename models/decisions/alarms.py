"""What somebody must be told of: alarms from the facts of a moment, each told once."""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Collection, Iterable

from pydantic import BaseModel, ConfigDict

from models.config.data import USUAL_SYMBOL

LATE = dt.timedelta(hours=1)
FAR = dt.timedelta(days=2)
"""How far the next run of a schedule may be before somebody is told."""
STALE_DAYS = 2
"""Age of the newest candle, in days, from which it is an alarm; yesterday's is the normal one."""
LEAST_DISK_BYTES = 1_000_000_000
REJECTED_DAYS = 3
IN_PART = "Done in part"
"""Name of the state of a run whose day is done, and beside it something failed."""
SKIPPED = "Skipped"
"""Name of the state of a run that left its day to another run."""
UP = "btc up"
"""Its name among the servers; there only where it has given up."""
REGISTRY = "registry and ledger"
"""Their name among the servers; there only where they do not answer."""


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True)


class RunFacts(_Frozen):
    """The newest ended run of a flow."""

    flow: str
    run_id: str
    state: str
    name: str = ""
    """Name of the state, such as `IN_PART`."""
    message: str
    day: dt.date
    link: str


class MoveFacts(_Frozen):
    """The newest move of the champion's alias."""

    key: str
    action: str
    to_version: int
    why: str
    day: dt.date


class SymbolFacts(_Frozen):
    """What is known of a symbol that is served; None or empty where it is not known."""

    symbol: str
    newest_candle: dt.date | None = None
    champion: int | None = None
    champion_as_of: dt.date | None = None
    last_forecast: dt.date | None = None
    move: MoveFacts | None = None
    decisions: tuple[str, ...] = ()
    drift: tuple[str, ...] = ()
    drift_day: dt.date | None = None


class Facts(_Frozen):
    """What is known of a service at a moment; None or empty where it is not known."""

    at: dt.datetime
    servers: dict[str, bool] = {}
    runs: tuple[RunFacts, ...] = ()
    overdue: dict[str, dt.datetime] = {}
    planned: dict[str, dt.datetime | None] = {}
    symbols: tuple[SymbolFacts, ...] = ()
    gave_up: str = ""
    """Why `btc up` ends by itself; empty where it does not."""
    disk_bytes: int | None = None
    link: str = ""


class Alarm(_Frozen):
    """One thing to be told.

    `topic` is what it is about: when no alarm of a topic is left, that is told too, if it `lasts`.
    `key` tells two alarms of a topic apart; the same key is told once.
    """

    topic: str
    key: str
    day: dt.date
    what: str
    why: str
    todo: str
    link: str = ""
    lasts: bool = True

    @property
    def text(self) -> str:
        """The alarm as lines of a message."""
        lines = [f"{self.day}: {self.what}", f"Why: {self.why}", f"What to do: {self.todo}"]
        return "\n".join([*lines, f"See: {self.link}"] if self.link else lines)


def find_alarms(facts: Facts) -> list[Alarm]:
    """Every alarm that stands at this moment."""
    today = facts.at.date()
    found = [_failed(run) for run in facts.runs if run.state in ("FAILED", "CRASHED")]
    found += [_in_part(run) for run in facts.runs if run.name == IN_PART]
    found += [
        _alarm(f"overdue {flow}", today, f"{flow} has not run", f"it was due at {due:%H:%M} UTC",
               "`btc status` shows whether the worker runs; `btc up` starts it", key=f"{flow}{due}")
        for flow, due in facts.overdue.items()
        if facts.at - due > LATE
    ]  # fmt: skip
    found += [
        _alarm(f"overdue {flow}", today, f"{flow} is not planned",
               f"its next run is of {due:%Y-%m-%d}" if due else "its schedule has no next run",
               "`btc down`, then `btc up`, plan anew", key=f"{flow} unplanned")
        for flow, due in facts.planned.items()
        if due is None or due - facts.at > FAR
    ]  # fmt: skip
    found += [
        _alarm(f"server {name}", today, f"{name} does not answer", "its process is gone or hangs",
               "`btc down` and `btc up`", key=name)
        for name, well in facts.servers.items()
        if not well
    ]  # fmt: skip
    if facts.gave_up:
        found.append(
            _alarm(f"server {UP}", today, "`btc up` has ended", facts.gave_up,
                   "mend what the log names, then `btc up`", key=UP)
        )  # fmt: skip
    if facts.disk_bytes is not None and facts.disk_bytes < LEAST_DISK_BYTES:
        found.append(
            _alarm("disk", today, "the disk is nearly full",
                   f"{facts.disk_bytes / 1e6:,.0f} MB are left, at least 1,000 are wanted",
                   "`btc clean --dry-run` shows what can go")
        )  # fmt: skip
    for known in facts.symbols:
        if not facts.servers.get(REGISTRY, True):  # The ledger may know of a newer one.
            known = known.model_copy(update={"newest_candle": None})
        found += _of_symbol(known, today, facts.link, several=len(facts.symbols) > 1)
    return [
        alarm if alarm.link else alarm.model_copy(update={"link": facts.link}) for alarm in found
    ]


def _of_symbol(known: SymbolFacts, today: dt.date, link: str, *, several: bool) -> list[Alarm]:
    """The alarms of one symbol; the text names it where there are `several`, or an unusual one."""
    found = []
    named = several or known.symbol != USUAL_SYMBOL
    option = f" --symbol {known.symbol}" if named else ""
    if known.newest_candle and (today - known.newest_candle).days > STALE_DAYS:
        found.append(
            _alarm("candle", today, "no fresh candle",
                   f"the newest is of {known.newest_candle}",
                   f"`btc ingest{option}` says what the source answers",
                   key=str(known.newest_candle))
        )  # fmt: skip
    if len(known.decisions) >= REJECTED_DAYS and set(known.decisions[:REJECTED_DAYS]) == {"reject"}:
        found.append(
            _alarm("rejected", today, "new versions are rejected",
                   f"the last {REJECTED_DAYS} retrains made none that is good enough",
                   f"`btc models{option}` shows the reasons; the champion goes on serving")
        )  # fmt: skip
    found += [
        _alarm("drift", known.drift_day or today, "drift", text,
               f"`btc ledger{option}` shows the record; `btc retrain{option}` learns the newest "
               "days",
               key=breached)
        for breached, text in {_breached(text): text for text in known.drift}.items()
    ]  # fmt: skip
    if known.move is not None:
        found.append(_moved(known.move, link, option))
    return [
        alarm.model_copy(
            update={
                "topic": f"{alarm.topic} {known.symbol}",
                "what": f"{known.symbol}: {alarm.what}" if named else alarm.what,
            }
        )
        for alarm in found
    ]


def _breached(text: str) -> str:
    """What a text of the drift watch is about, without its figures, which change every day."""
    return re.split(r":| \d[\d.]* (?!%)", text)[0]


def find_unknown(facts: Facts, topics: Iterable[str]) -> set[str]:
    """The topics of which nobody can say whether they are well.

    What would know does not answer, or what they are about is not looked at any more.
    """
    served = {known.symbol for known in facts.symbols if facts.servers.get(REGISTRY, True)}
    looked_at = {"server": {*facts.servers, REGISTRY}}
    if facts.servers and all(facts.servers.values()):
        looked_at["server"].add(UP)  # There is no other sign that it was started again.
    looked_at |= dict.fromkeys(("candle", "rejected", "drift"), served)
    unknown: set[str] = set()
    for topic in topics:
        kind, _, about = topic.partition(" ")
        asleep = kind in ("overdue", "run", "part") and not facts.servers.get("prefect")
        if asleep or about not in looked_at.get(kind, {about}):
            unknown.add(topic)
    return unknown


def rename_told(told: dict[str, list[str]], facts: Facts) -> dict[str, list[str]]:
    """What was told, by the topics and keys of this release; earlier ones are read as well.

    They named no server, no flow that is overdue and no symbol that is alone in a topic, and kept
    the figures of drift in its keys.
    """
    served = [known.symbol for known in facts.symbols] or [USUAL_SYMBOL]
    symbol = USUAL_SYMBOL if USUAL_SYMBOL in served else served[0]
    renamed: dict[str, list[str]] = {}
    for topic, keys in told.items():
        kind, _, about = topic.partition(" ")
        for key in keys:
            unnamed = {"server": key, "overdue": re.split(r"[ \d]", key)[0], "disk": ""}
            name = f"{kind} {about or unnamed.get(kind, symbol)}".strip()
            kept = renamed.setdefault(name, [])
            if (key := _breached(key) if kind == "drift" else key) not in kept:
                kept.append(key)
    return renamed


def _failed(run: RunFacts) -> Alarm:
    return Alarm(
        topic=f"run {run.flow}",
        key=run.run_id,
        day=run.day,
        what=f"{run.flow} {run.state.lower()}",
        why=run.message or "no reason is known",
        todo="mend what the reason names; the next run does the work, or start one by "
        f"`prefect deployment run '{run.flow}/daily-{run.flow}'`",
        link=run.link,
    )


def _in_part(run: RunFacts) -> Alarm:
    return Alarm(
        topic=f"part {run.flow}",
        key=run.flow,  # Each run says it again until it is mended.
        day=run.day,
        what=f"{run.flow} is done in part",
        why=run.message,
        todo="mend what the reason names; `btc clean` and `btc retrain` do the rest by hand",
        link=run.link,
    )


def _moved(move: MoveFacts, link: str, option: str) -> Alarm:
    verb = {"rollback": "rolled back to", "manual": "set by hand to"}.get(move.action, "is now")
    return Alarm(
        topic="champion",
        key=move.key,
        day=move.day,
        what=f"the champion {verb} version {move.to_version} ({move.action})",
        why=move.why,
        todo=f"nothing; `btc rollback{option} --why …` goes back",
        link=link,
        lasts=False,
    )


def _alarm(topic: str, day: dt.date, what: str, why: str, todo: str, key: str = "") -> Alarm:
    """An alarm without its link, which `find_alarms` adds."""
    return Alarm(topic=topic, key=key or topic, day=day, what=what, why=why, todo=todo, link="")


def select_untold(
    alarms: list[Alarm], told: dict[str, list[str]], unknown: Collection[str] = ()
) -> tuple[list[Alarm], list[str], dict[str, list[str]]]:
    """Alarms that were not told yet, topics that are well again, and what is told after both.

    `told`: the keys told, by topic; one that does not stand any more is forgotten, so that it is
    told when it comes again. Topics that do not last keep their keys and are never well.
    `unknown`: topics of which nobody can say now whether they are well, see `find_unknown`.
    """
    new = [alarm for alarm in alarms if alarm.key not in told.get(alarm.topic, [])]
    standing: dict[str, list[str]] = {}
    for alarm in alarms:
        standing.setdefault(alarm.topic, []).append(alarm.key)
    passed = {topic for topic in told if topic.partition(" ")[0] == "champion"}
    well = sorted(set(told) - set(standing) - passed - set(unknown))
    return new, well, {topic: told[topic] for topic in told if topic not in well} | standing
