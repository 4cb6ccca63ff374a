"""What is asked of Prefect over plain HTTP."""

from __future__ import annotations

from uuid import UUID

import pytest
from prefect.client.orchestration import get_client
from prefect.client.schemas.actions import WorkPoolCreate
from prefect.settings import PREFECT_API_URL, temporary_settings

from tasks.service.runs import delete_renamed

pytestmark = pytest.mark.server


def test_deployments_under_their_earlier_names_go_and_no_other(prefect_api: str) -> None:
    with temporary_settings({PREFECT_API_URL: prefect_api}), get_client(sync_client=True) as client:
        client.create_work_pool(WorkPoolCreate(name="btc", type="process"), overwrite=True)
        flow = client.create_flow_from_name("retrain")

        def deploy(name: str, pool: str | None, entrypoint: str) -> UUID:
            return client.create_deployment(flow, name, work_pool_name=pool, entrypoint=entrypoint)

        ours = "flows/retrain.py:retrain"
        kept = deploy("daily-retrain", "btc", ours)
        deploy("daily", "btc", ours)
        for _ in range(2):
            delete_renamed(prefect_api)
            assert [found.id for found in client.read_deployments()] == [kept]
        client.delete_deployment(kept)
        # Those of somebody else, on a server that is shared.
        for pool, entrypoint in ((None, ours), ("btc", "x.py:retrain")):
            kept = deploy("daily", pool, entrypoint)
            delete_renamed(prefect_api)
            assert [found.id for found in client.read_deployments()] == [kept]
            client.delete_deployment(kept)
