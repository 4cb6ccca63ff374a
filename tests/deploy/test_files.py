"""What can be known of deploy/ without a container engine or a cluster: real tools read it."""

from __future__ import annotations

import asyncio
import json
import re
import subprocess
import uuid
from pathlib import Path
from typing import Any

import pytest
import yaml
from compose_spec import PyCompose
from prefect.settings import PREFECT_FLOWS_HEARTBEAT_FREQUENCY, Settings, temporary_settings

from tasks.sources.exchange import read_keys
from tasks.storage.home import THREADS
from tests.deploy.compose import DEPLOY, REQUIRED, read_compose
from tests.servers import BIN, REPO


def test_dockerfile_has_no_finding_of_its_linter() -> None:
    done = subprocess.run(
        [str(BIN / "hadolint"), str(DEPLOY / "Dockerfile")], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_compose_follows_the_specification() -> None:
    read = PyCompose.from_yaml(yaml.safe_dump(read_compose(REQUIRED)))
    assert set(read.service_names()) == {"postgres", "prefect", "mlflow", "deployments", "worker"}


@pytest.mark.parametrize("name", sorted(REQUIRED))
def test_compose_starts_with_no_password_and_no_version_of_the_code_missing(name: str) -> None:
    with pytest.raises(KeyError, match=name):
        read_compose({**REQUIRED, name: ""})


def test_prefect_takes_the_settings_that_compose_gives_it(monkeypatch: pytest.MonkeyPatch) -> None:
    services = read_compose(REQUIRED)["services"]
    for service in ("prefect", "worker"):
        for name, value in services[service]["environment"].items():
            monkeypatch.setenv(name, value)
    settings = Settings()
    assert settings.flows.heartbeat_frequency == 30
    assert {"events", "flow_runs"} <= settings.server.services.db_vacuum.enabled_vacuum_types


def test_workers_are_given_the_key_of_an_exchange(monkeypatch: pytest.MonkeyPatch) -> None:
    given = {"BTC_EXCHANGE_KEY": "made-up-key", "BTC_EXCHANGE_SECRET": "made-up-secret"}
    for values, keys in (({}, {}), (given, {"apiKey": "made-up-key", "secret": "made-up-secret"})):
        services = read_compose(REQUIRED | values)["services"]
        for name in given:
            monkeypatch.setenv(name, services["worker"]["environment"][name])
        assert read_keys("") == keys


def test_only_this_machine_reaches_the_ports_and_nothing_runs_as_root() -> None:
    services = read_compose(REQUIRED)["services"]
    ports = [port for service in services.values() for port in service.get("ports", ())]
    assert ports and all(port.startswith("127.0.0.1:") for port in ports)
    ours = [service for name, service in services.items() if name != "postgres"]
    assert all(service["read_only"] and service["cap_drop"] == ["ALL"] for service in ours)
    lines = (DEPLOY / "Dockerfile").read_text().splitlines()
    assert [line for line in lines if line.startswith("USER")] == ["USER 10001:10001"]


def test_the_image_s_lock_is_part_of_the_lock_that_is_tested() -> None:
    tested, image = (
        set(re.findall(r"^[^ #\n][^\n]*?\n(?:    --hash[^\n]*\n?)+", path.read_text(), re.M))
        for path in (REPO / "requirements.lock", DEPLOY / "requirements.lock")
    )
    assert len(image) > 150
    assert image <= tested
    names = {block.partition("==")[0] for block in image}
    assert {"mlflow", "prefect", "tensorflow", "flask-wtf", "prefect-kubernetes"} <= names
    assert not names & {"pytest", "ruff", "mypy", "hatchling", "moto"}


def test_all_that_the_image_copies_is_let_through_and_no_secret() -> None:
    allowed = {
        line[1:]
        for line in (REPO / ".dockerignore").read_text().splitlines()
        if line.startswith("!")
    }
    copied = set()
    for line in (DEPLOY / "Dockerfile").read_text().splitlines():
        if line.startswith("COPY ") and "--from" not in line:
            copied |= {name.partition("/")[0] for name in line.split()[1:-1]}
    assert copied == allowed
    assert all((REPO / name).exists() for name in allowed)
    assert "deploy/*.env" in (REPO / ".dockerignore").read_text()
    empty = re.findall(r"^#?([A-Z_]*(?:PASSWORD|AUTH|KEY|KEY_ID)\w*)=(.*)$", _example(), re.M)
    assert len(empty) >= 5 and not any(value for _, value in empty)


def _example() -> str:
    return (DEPLOY / "example.env").read_text()


def test_every_variable_of_compose_is_in_the_example_or_has_a_default() -> None:
    needed = set(re.findall(r"\$\{(\w+):\?", (DEPLOY / "compose.yaml").read_text()))
    assert needed == set(REQUIRED)
    assert needed <= set(re.findall(r"^([A-Z_]+)=", _example(), re.M))


def test_the_work_pool_s_template_makes_a_job_that_runs_without_rights() -> None:
    from prefect.client.schemas.objects import FlowRun
    from prefect_kubernetes.worker import KubernetesWorkerJobConfiguration

    template: dict[str, Any] = json.loads((DEPLOY / "work-pool.json").read_text())
    variables = yaml.safe_load((REPO / "prefect.yaml").read_text())["deployments"][0]["work_pool"]
    made = asyncio.run(
        KubernetesWorkerJobConfiguration.from_template_and_values(
            template, variables["job_variables"]
        )
    )
    [worker] = _resources("Deployment")[0]["spec"]["template"]["spec"]["containers"]
    [beat] = [e["value"] for e in worker["env"] if e["name"] == "PREFECT_FLOWS_HEARTBEAT_FREQUENCY"]
    with temporary_settings({PREFECT_FLOWS_HEARTBEAT_FREQUENCY: int(beat)}):
        made.prepare_for_flow_run(FlowRun(id=uuid.uuid4(), flow_id=uuid.uuid4(), name="daily"))
    assert made.job_manifest["kind"] == "Job"
    pod = made.job_manifest["spec"]["template"]["spec"]
    container = pod["containers"][0]
    assert container["image"] == _images().pop()
    assert container["envFrom"] == [{"secretRef": {"name": "btc-daily"}}]
    given = {e["name"]: e.get("value") for e in container["env"]}
    assert "PREFECT__FLOW_RUN_ID" in given and given["TF_ENABLE_ONEDNN_OPTS"] == "0"
    assert {given[name] for name in THREADS} == {"1"}
    assert given["PREFECT_FLOWS_HEARTBEAT_FREQUENCY"] == "30"  # handed on by the worker
    assert pod["securityContext"]["runAsNonRoot"]
    assert container["securityContext"]["readOnlyRootFilesystem"]
    assert not pod["automountServiceAccountToken"]
    claims = [volume["persistentVolumeClaim"]["claimName"] for volume in pod["volumes"][:1]]
    named = [item["metadata"]["name"] for item in _resources("PersistentVolumeClaim")]
    assert claims == named


def test_the_cluster_s_worker_runs_what_is_run_elsewhere() -> None:
    pod = _resources("Deployment")[0]["spec"]["template"]["spec"]
    assert len(_images()) == 1
    assert pod["initContainers"][0]["command"][:2] == ["sh", "/app/deploy/deployments"]
    worker = pod["containers"][0]
    assert worker["command"][:5] == ["prefect", "worker", "start", "--pool", "btc"]
    role = _resources("Role")[0]
    assert {resource for rule in role["rules"] for resource in rule["resources"]} == {
        "jobs", "pods", "pods/log", "pods/status", "events",
    }  # fmt: skip


def _resources(kind: str) -> list[dict[str, Any]]:
    items = yaml.safe_load_all(Path(DEPLOY / "kubernetes.yaml").read_text())
    return [item for item in items if item["kind"] == kind]


def _images() -> set[str]:
    pod = _resources("Deployment")[0]["spec"]["template"]["spec"]
    return {container["image"] for container in pod["initContainers"] + pod["containers"]}
