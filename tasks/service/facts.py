"""The facts of this moment, for `btc status`, for the alarms and for `btc doctor`."""

from __future__ import annotations

import datetime as dt
import os
import shutil
from typing import Any

import yaml

from models.config.data import USUAL_SYMBOL
from models.decisions.alarms import REGISTRY, Facts, MoveFacts, RunFacts, SymbolFacts
from models.errors import InputError, ServiceError
from models.naming import model_name
from tasks.service.processes import is_running, read_state
from tasks.service.runs import OURS, answers, call, is_worker_online, recent_runs
from tasks.storage.home import home
from tasks.storage.snapshots import find_newest_candles

DAY = dt.timedelta(days=1)


def served_symbols(api: str = "") -> tuple[str, ...]:
    """The symbols that the scheduled runs forecast, by the deployments; else those in the ledger.

    `api`: address of a Prefect server that answers, whose deployments come before those that
    `btc up` wrote last.
    """
    asked = {"flows": {"name": {"any_": OURS}}}
    deployed = call(api, "/deployments/filter", asked) if api else []
    path = home() / "service" / "prefect.yaml"
    if not deployed and path.exists():
        deployed = yaml.safe_load(path.read_text(encoding="utf-8"))["deployments"]
    found: list[str] = []
    for deployment in deployed:
        config = deployment["parameters"].get("config") or {}
        found += config.get("symbols") or [config.get("symbol") or USUAL_SYMBOL]
    if not found and is_registry_there():
        from tasks.storage.ledger import known_symbols

        found = known_symbols()
    return tuple(dict.fromkeys(found)) or (USUAL_SYMBOL,)


def all_symbols() -> tuple[str, ...]:
    """The symbols that are served, and those that were forecast before."""
    forecast: list[str] = []
    if is_registry_there():
        from tasks.storage.ledger import known_symbols

        forecast = known_symbols()
    return tuple(dict.fromkeys([*served_symbols(), *forecast]))


def gather_facts() -> Facts:
    """Look at servers, runs, disk, and for every served symbol at registry, ledger and candles.

    Of what does not answer it says so among the servers; the other facts stay.
    """
    api, addresses = find_api()
    servers = look_at_servers()
    known: dict[str, Any] = {}
    if servers.get("prefect"):
        try:
            known = {"runs": _last_runs(api, addresses), "overdue": _overdue(api)}
            known["planned"] = _planned(api)
        except ServiceError:
            # It says that it is well, as where its database is gone; a worker it would know of.
            known, servers = {}, servers | {"prefect": False}
            if "worker" not in (read_state() or {}).get("children", {}):
                servers.pop("worker", None)
    symbols: tuple[str, ...] = (USUAL_SYMBOL,)
    told: dict[str, dict[str, Any]] = {}
    try:
        symbols = served_symbols(api if servers.get("prefect") else "")
        told = {symbol: _registry_facts(model_name(symbol, synthetic=False)) for symbol in symbols}
    except (InputError, ServiceError, OSError):
        servers = servers | {REGISTRY: False}
    newest = find_newest_candles()
    return Facts(
        at=dt.datetime.now(dt.UTC),
        servers=servers,
        symbols=tuple(
            _with_candle(symbol, newest.get(symbol), told.get(symbol, {})) for symbol in symbols
        ),
        disk_bytes=shutil.disk_usage(_existing()).free,
        link=addresses.get("mlflow", ""),
        **known,
    )


def _with_candle(symbol: str, newest: dt.date | None, told: dict[str, Any]) -> SymbolFacts:
    """The facts of a symbol; its newest candle may be one that another machine forecast from."""
    days = [day for day in (newest, told.get("last_forecast")) if day is not None]
    return SymbolFacts(symbol=symbol, newest_candle=max(days, default=None), **told)


def find_api() -> tuple[str, dict[str, str]]:
    """Address of the Prefect API and of all servers of `btc up`; empty where none is known."""
    addresses = dict((read_state() or {}).get("addresses", {}))
    own = f"{addresses['prefect']}/api" if "prefect" in addresses else ""
    return os.environ.get("PREFECT_API_URL") or own, addresses


def look_at_servers() -> dict[str, bool]:
    """Whether each server, and the worker, is there; empty where none is known."""
    api, addresses = find_api()
    if not api:
        return {}
    found = {"prefect": answers(api)}
    if addresses.get("mlflow", "").startswith("http"):
        found["mlflow"] = answers(addresses["mlflow"])
    if "worker" in (state := (read_state() or {}).get("children", {})):
        found["worker"] = is_running(state["worker"])
    elif found["prefect"]:
        found["worker"] = is_worker_online(api)
    return found


def _last_runs(api: str, addresses: dict[str, str]) -> tuple[RunFacts, ...]:
    """The newest ended run of each flow that a deployment started."""
    found: dict[str, RunFacts] = {}
    for run in recent_runs(api, watched=True):
        if run["flow"] in found:
            continue
        due = dt.datetime.fromisoformat(run["expected_start_time"])
        found[run["flow"]] = RunFacts(
            flow=run["flow"],
            run_id=run["id"],
            state=run["state"]["type"],
            name=run["state"]["name"],
            message=" ".join((run["state"].get("message") or "").split())[:500],
            day=due.date() - DAY,
            link=f"{addresses.get('prefect', api.removesuffix('/api'))}/runs/flow-run/{run['id']}",
        )
    return tuple(found.values())


def _overdue(api: str) -> dict[str, dt.datetime]:
    """The oldest start by flow of runs that were due and have not begun."""
    now = dt.datetime.now(dt.UTC)
    names = {flow["id"]: flow["name"] for flow in call(api, "/flows/filter", {})}
    asked = {
        "flows": {"name": {"any_": OURS}},
        "flow_runs": {
            "state": {"type": {"any_": ["SCHEDULED"]}},
            "expected_start_time": {"before_": now.isoformat()},
        },
        "sort": "EXPECTED_START_TIME_ASC",
    }
    found: dict[str, dt.datetime] = {}
    for run in call(api, "/flow_runs/filter", asked):
        start = dt.datetime.fromisoformat(run["expected_start_time"])
        found.setdefault(names.get(run["flow_id"], "?"), start)
    return found


def _planned(api: str) -> dict[str, dt.datetime | None]:
    """The next start by flow of every deployment that has a schedule; None where it has no run."""
    names = {flow["id"]: flow["name"] for flow in call(api, "/flows/filter", {})}
    found: dict[str, dt.datetime | None] = {}
    for deployment in call(api, "/deployments/filter", {"flows": {"name": {"any_": OURS}}}):
        if deployment["paused"] or not any(plan["active"] for plan in deployment["schedules"]):
            continue
        asked = {
            "deployments": {"id": {"any_": [deployment["id"]]}},
            "flow_runs": {"state": {"type": {"any_": ["SCHEDULED"]}}},
            "sort": "EXPECTED_START_TIME_ASC",
            "limit": 1,
        }
        runs = call(api, "/flow_runs/filter", asked)
        start = dt.datetime.fromisoformat(runs[0]["expected_start_time"]) if runs else None
        found[names.get(deployment["flow_id"], "?")] = start
    return found


def _registry_facts(name: str) -> dict[str, Any]:
    """Champion, decisions, moves and drift; nothing where there is no state yet."""
    if not is_registry_there():
        return {}
    from tasks.registry.aliases import find_champion, read_history
    from tasks.registry.connection import connect, told_in_one_line
    from tasks.registry.versions import find_versions, read_action
    from tasks.storage.ledger import forecast_days, read_last_look

    with told_in_one_line():
        client = connect()
        champion = find_champion(client, name)
        decided = [read_action(version) for version in find_versions(client, name, 3)]
    history = read_history(name)
    days, look = forecast_days(name), read_last_look(name)
    done = history[(history["state"] == "done") & ~history["action"].isin(["pin", "unpin"])]
    move = None
    if len(done):
        last = done.iloc[-1]
        move = MoveFacts(
            key=str(last["key"]),
            action=str(last["action"]),
            to_version=int(last["to_version"]),
            why=str(last["why"]),
            day=last["at"].date(),
        )
    return {
        "champion": None if champion is None else int(champion.version),
        "champion_as_of": None if champion is None else champion.tags["as_of"],
        "decisions": tuple(action for action in decided if action),
        "move": move,
        "last_forecast": max(days) if days else None,
        "drift": tuple(look["alarms"]) if look else (),
        "drift_day": look["as_of"] if look else None,
    }


def is_registry_there() -> bool:
    """Whether there are models to look for, so that a look makes no database."""
    return (home() / "mlflow.db").exists() or "MLFLOW_TRACKING_URI" in os.environ


def _existing() -> str:
    path = home()
    while not path.exists():
        path = path.parent
    return str(path)
