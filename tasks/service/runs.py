"""Flow runs as the Prefect server knows them, over plain HTTP: light enough for `btc status`."""

from __future__ import annotations

import datetime as dt
import os
from http import HTTPStatus
from typing import Any

import requests
from requests.adapters import HTTPAdapter
from urllib3.util import Retry

from models.decisions.alarms import SKIPPED
from models.errors import ServiceError
from tasks.secrets import hide
from tasks.service.life import is_alive
from tasks.storage.lock import shares_locks

# The flows whose runs hold a lock in their name, see life.py.
OURS = ["retrain", "forecast"]
# The runs that alarms look at: they have ended, a deployment started them, they are not part of
# another run, which says how its parts ended, and did not leave their day to another.
WATCHED = {
    "state": {
        "type": {"any_": ["COMPLETED", "FAILED", "CRASHED"]},
        "name": {"not_any_": [SKIPPED]},
    },
    "deployment_id": {"is_null_": False},
    "parent_task_run_id": {"is_null_": True},
}
POOL = "btc"
ANSWER_SECONDS = 10
# A new run needs seconds from Running to its lock; from Pending to Running it imports TensorFlow.
GRACE = {"RUNNING": 60, "CANCELLING": 60, "PENDING": 180}


def call(api: str, path: str, body: dict[str, Any] | None = None) -> Any:
    """Ask the Prefect API, with POST where there is a body; raises ServiceError in one line."""
    try:
        with _session() as session:
            method = "GET" if body is None else "POST"
            reply = session.request(method, f"{api}{path}", json=body, timeout=ANSWER_SECONDS)
            reply.raise_for_status()
        return reply.json()
    except (requests.RequestException, ValueError) as error:
        reason = " ".join(hide(error).split())[:200]
        raise ServiceError(f"Prefect at {api} did not answer {path} ({reason})") from error


def delete_renamed(api: str) -> None:
    """Delete our deployments under their names of earlier releases, which would run as well.

    Ours are told by work pool and entrypoint; another one of the same name stays.
    """
    with _session() as session:
        for flow in OURS:
            name = f"{flow}/daily"
            try:
                found = session.get(f"{api}/deployments/name/{name}", timeout=ANSWER_SECONDS)
                if found.status_code == HTTPStatus.NOT_FOUND:
                    continue
                found.raise_for_status()
                old = found.json()
                ours = (POOL, f"flows/{flow}.py:{flow}")
                if (old.get("work_pool_name"), old.get("entrypoint")) != ours:
                    continue
                address = f"{api}/deployments/{old['id']}"
                session.delete(address, timeout=ANSWER_SECONDS).raise_for_status()
            except (requests.RequestException, ValueError) as error:
                reason = " ".join(hide(error).split())[:200]
                raise ServiceError(f"Prefect at {api} did not delete {name} ({reason})") from error


def _session() -> requests.Session:
    """With our login; tries again where the server answers 503, as it does while it is busy."""
    retries = Retry(5, backoff_factor=0.5, status_forcelist=[503], allowed_methods=None)
    session = requests.Session()
    session.auth = _login()
    session.mount("http", HTTPAdapter(max_retries=retries))
    return session


def _login() -> tuple[str, str] | None:
    """User and password of PREFECT_API_AUTH_STRING, where it is set."""
    user, colon, password = os.environ.get("PREFECT_API_AUTH_STRING", "").partition(":")
    return (user, password) if colon else None


def answers(url: str) -> bool:
    """Whether a server says that it is well."""
    try:
        return requests.get(f"{url}/health", timeout=ANSWER_SECONDS).ok
    except requests.RequestException:
        return False


def find_dead_runs(api: str, *, at_start: bool = False) -> list[dict[str, Any]]:
    """The runs that the server believes to be at work and whose process is gone.

    `at_start`: no worker of ours runs yet, so a run without a lock is dead however young it is,
    unless other machines share the locks, whose workers may just have begun it.
    """
    asked = {
        "flows": {"name": {"any_": OURS}},
        "flow_runs": {"state": {"type": {"any_": list(GRACE)}}},
    }
    now = dt.datetime.now(dt.UTC)
    dead = []
    for run in call(api, "/flow_runs/filter", asked):
        since = dt.datetime.fromisoformat(run["state"]["timestamp"])
        alone = at_start and not shares_locks()
        grace = 0 if alone else GRACE[run["state"]["type"]]
        # A state of the future is of a clock that was wrong.
        young = 0 <= (now - since).total_seconds() < grace
        if not young and not is_alive(run["id"]):
            dead.append(run)
    return dead


def crash_dead_runs(api: str, *, at_start: bool = False) -> list[str]:
    """Mark dead runs as Crashed, see `find_dead_runs`; returns their names."""
    state = {
        "type": "CRASHED",
        "name": "Crashed",
        "message": "its process is gone, as after a power cut; the next run does its work",
    }
    dead = find_dead_runs(api, at_start=at_start)
    for run in dead:
        call(api, f"/flow_runs/{run['id']}/set_state", {"state": state, "force": True})
    return [str(run["name"]) for run in dead]


def recent_runs(api: str, *, watched: bool = False) -> list[dict[str, Any]]:
    """The runs of ours that have begun, the newest first, with the name of their flow (`flow`).

    `watched`: those alone that alarms look at, see `WATCHED`.
    """
    begun: dict[str, Any] = {"state": {"type": {"not_any_": ["SCHEDULED"]}}}
    names = {flow["id"]: flow["name"] for flow in call(api, "/flows/filter", {})}
    asked = {
        "flows": {"name": {"any_": OURS}},
        "flow_runs": WATCHED if watched else begun,
        "sort": "START_TIME_DESC",
        "limit": 50,
    }
    runs = call(api, "/flow_runs/filter", asked)
    return [run | {"flow": names.get(run["flow_id"], "?")} for run in runs]


def next_run(api: str) -> tuple[str, dt.datetime] | None:
    """Flow and start of the next scheduled run, None where nothing is scheduled."""
    asked = {
        "flows": {"name": {"any_": OURS}},
        "flow_runs": {"state": {"type": {"any_": ["SCHEDULED"]}}},
        "sort": "EXPECTED_START_TIME_ASC",
        "limit": 1,
    }
    found = call(api, "/flow_runs/filter", asked)
    if not found:
        return None
    names = {flow["id"]: flow["name"] for flow in call(api, "/flows/filter", {})}
    start = dt.datetime.fromisoformat(found[0]["expected_start_time"])
    return names.get(found[0]["flow_id"], "?"), start


def delete_old_runs(api: str, before: dt.date) -> int:
    """Delete ended runs of days before that one, fifty at most at a time; returns how many."""
    moment = dt.datetime.combine(before, dt.time(), dt.UTC).isoformat()
    asked = {"flow_runs": {"end_time": {"before_": moment}}, "limit": 50}
    return len(call(api, "/flow_runs/bulk_delete", asked)["deleted"])


def is_worker_online(api: str) -> bool:
    """Whether a worker of the pool has been heard of lately."""
    try:
        found = call(api, f"/work_pools/{POOL}/workers/filter", {})
    except ServiceError:
        return False
    return any(worker["status"] == "ONLINE" for worker in found)
