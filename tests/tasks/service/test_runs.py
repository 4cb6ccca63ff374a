"""What is asked of Prefect over plain HTTP."""

from __future__ import annotations

from typing import Any
from uuid import UUID

import pytest
import requests
from prefect.client.orchestration import get_client
from prefect.client.schemas.actions import WorkPoolCreate
from prefect.settings import PREFECT_API_URL, temporary_settings

from models.decisions.alarms import SKIPPED
from tasks.service.runs import delete_renamed, recent_runs

pytestmark = pytest.mark.server


def test_deployments_under_their_earlier_names_go_and_no_other(prefect_api: str) -> None:
    with temporary_settings({PREFECT_API_URL: prefect_api}), get_client(sync_client=True) as client:
        client.create_work_pool(WorkPoolCreate(name="btc", type="process"), overwrite=True)
        flow = client.create_flow_from_name("retrain")

        def deploy(name: str, pool: str | None, entrypoint: str) -> UUID:
            return client.create_deployment(flow, name, work_pool_name=pool, entrypoint=entrypoint)

        def left() -> list[UUID]:
            names = ("daily", "daily-retrain")  # other tests have theirs on the same server
            return [found.id for found in client.read_deployments() if found.name in names]

        ours = "flows/retrain.py:retrain"
        kept = deploy("daily-retrain", "btc", ours)
        deploy("daily", "btc", ours)
        for _ in range(2):
            delete_renamed(prefect_api)
            assert left() == [kept]
        client.delete_deployment(kept)
        # Those of somebody else, on a server that is shared.
        for pool, entrypoint in ((None, ours), ("btc", "x.py:retrain")):
            kept = deploy("daily", pool, entrypoint)
            delete_renamed(prefect_api)
            assert left() == [kept]
            client.delete_deployment(kept)


def test_alarms_look_at_whole_runs_of_deployments_that_were_not_skipped(prefect_api: str) -> None:
    def post(path: str, body: dict[str, Any]) -> str:
        reply = requests.post(f"{prefect_api}/{path}", json=body, timeout=30)
        reply.raise_for_status()
        return str(reply.json()["id"])

    flow = post("flows/", {"name": "retrain"})
    deployment = post("deployments/", {"name": "watched", "flow_id": flow})

    def run(name: str = "Failed", kind: str = "FAILED", **more: Any) -> str:
        made = post("flow_runs/", {"flow_id": flow, **more})
        for state in ({"type": "RUNNING", "name": "Running"}, {"type": kind, "name": name}):
            asked = {"state": state, "force": True}
            requests.post(
                f"{prefect_api}/flow_runs/{made}/set_state", json=asked, timeout=30
            ).raise_for_status()
        return made

    failed = run(deployment_id=deployment)
    task = {"flow_run_id": failed, "task_key": "symbol", "dynamic_key": "0"}
    others = [
        run("Completed", "COMPLETED"),  # by hand
        run(SKIPPED, "COMPLETED", deployment_id=deployment),
        run(deployment_id=deployment, parent_task_run_id=post("task_runs/", task)),
        run("Running", "RUNNING", deployment_id=deployment),
    ]
    assert {*others, failed} <= {found["id"] for found in recent_runs(prefect_api)}
    watched = [found["id"] for found in recent_runs(prefect_api, watched=True)]
    assert failed in watched and not {*others} & {*watched}
    for made in (*others, failed):
        requests.delete(f"{prefect_api}/flow_runs/{made}", timeout=30).raise_for_status()
    requests.delete(f"{prefect_api}/deployments/{deployment}", timeout=30).raise_for_status()
