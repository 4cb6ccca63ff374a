"""What is asked of Prefect over plain HTTP."""

from __future__ import annotations

import pytest
from prefect.client.orchestration import get_client
from prefect.settings import PREFECT_API_URL, temporary_settings

from tasks.service.runs import delete_renamed

pytestmark = pytest.mark.server


def test_deployments_under_their_earlier_names_go_and_no_other(prefect_api: str) -> None:
    with temporary_settings({PREFECT_API_URL: prefect_api}), get_client(sync_client=True) as client:
        flow = client.create_flow_from_name("retrain")
        kept = client.create_deployment(flow, "daily-retrain")
        client.create_deployment(flow, "daily")
        for _ in range(2):
            delete_renamed(prefect_api)
            assert [found.id for found in client.read_deployments()] == [kept]
        client.delete_deployment(kept)
