"""MLflow's artifacts in a bucket that is busy, forbids, or cuts connections off."""

from __future__ import annotations

import os
import socket
import struct
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import boto3
import pytest
import requests
from mlflow import MlflowClient

from flows.forecast import forecast
from flows.retrain import retrain
from models.errors import RegistryError
from tasks.registry import model_files
from tasks.storage.ledger import read_ledger
from tests.deploy.shared import bucket_server
from tests.flows.conftest import empty_state, run  # noqa: F401  # fixtures
from tests.flows.states import Run, champion
from tests.servers import BIN, environment, free_port, running, wait_for
from tests.simulation.days import NAME

pytestmark = [pytest.mark.server, pytest.mark.soak, pytest.mark.timeout(900)]
KEYS = {
    "AWS_ACCESS_KEY_ID": "made-up",
    "AWS_SECRET_ACCESS_KEY": "made-up-secret",
    "AWS_DEFAULT_REGION": "us-east-1",
    "AWS_MAX_ATTEMPTS": "1",
}
ANSWERS = {"busy": (503, "SlowDown"), "forbidden": (403, "AccessDenied")}
FAULTS = [*ANSWERS, "cut off"]


class Proxy(ThreadingHTTPServer):
    """Passes requests on to a bucket; while there is a `fault`, those after the first `passing`."""

    daemon_threads = True

    def __init__(self, bucket: str) -> None:
        super().__init__(("127.0.0.1", 0), _Passing)
        self.bucket, self.fault, self.passing = bucket, "", 0
        self.url = f"http://127.0.0.1:{self.server_port}"


class _Passing(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Proxy

    def log_message(self, *_: object) -> None:
        pass

    def pass_on(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        self.server.passing -= 1
        if self.server.fault and self.server.passing < 0:
            self.spoil()
            return
        answer = requests.request(
            self.command,
            self.server.bucket + self.path,
            data=body,
            headers={key: value for key, value in self.headers.items() if key != "Host"},
            timeout=30,
        )
        self.answer(answer.status_code, answer.content, dict(answer.headers))

    do_GET = do_PUT = do_POST = do_HEAD = do_DELETE = pass_on

    def spoil(self) -> None:
        if self.server.fault in ANSWERS:
            status, code = ANSWERS[self.server.fault]
            self.answer(
                status, f"<Error><Code>{code}</Code><Message>{code}</Message></Error>".encode(), {}
            )
            return
        linger = struct.pack("ii", 1, 0)
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
        self.connection.close()
        self.close_connection = True

    def answer(self, status: int, content: bytes, headers: dict[str, str]) -> None:
        self.send_response(status)
        kept = {"etag", "content-type", "last-modified", "x-amz-request-id"}
        for key, value in headers.items():
            if key.lower() in kept:
                self.send_header(key, value)
        length = headers.get("Content-Length", "0") if self.command == "HEAD" else len(content)
        self.send_header("Content-Length", str(length))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content)


@pytest.fixture(scope="module")
def proxy(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Proxy]:
    """A bucket behind a proxy that misbehaves on request."""
    with bucket_server(tmp_path_factory.mktemp("s3")) as bucket:
        client = boto3.client(
            "s3",
            endpoint_url=bucket,
            aws_access_key_id="made-up",
            aws_secret_access_key="made-up",
            region_name="us-east-1",
        )
        client.create_bucket(Bucket="btc")
        server = Proxy(bucket)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server
        server.shutdown()
        server.server_close()


@pytest.fixture(params=["a server", "the database"])
def registry(
    request: pytest.FixtureRequest,
    proxy: Proxy,
    run: Run,  # noqa: F811
    empty_state: Path,  # noqa: F811
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> Iterator[MlflowClient]:
    """MLflow with day 0, its artifacts in the bucket: by its server, or with the database named."""
    proxy.fault = ""
    store = f"sqlite:///{tmp_path / 'runs.db'}"
    bucket = {"AWS_ENDPOINT_URL": proxy.url, "MLFLOW_S3_ENDPOINT_URL": proxy.url} | KEYS
    folder = f"s3://btc/{os.urandom(4).hex()}"
    monkeypatch.setattr(model_files, "_fetched", {})
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "1")
    if request.param == "the database":
        for key, value in bucket.items():
            monkeypatch.setenv(key, value)
        monkeypatch.setenv("MLFLOW_DEFAULT_ARTIFACT_ROOT", folder)
        monkeypatch.setenv("MLFLOW_TRACKING_URI", store)
        run(retrain, 0)
        yield MlflowClient(store, store)
        return
    port, log = free_port(), tmp_path / "mlflow.log"
    command = [str(BIN / "mlflow"), "server", "--port", str(port), "--workers", "1"]
    command += ["--backend-store-uri", store, "--artifacts-destination", folder]
    env = environment(tmp_path, MLFLOW_SERVER_ENABLE_JOB_EXECUTION="false", **bucket)
    with running(command, env=env, cwd=tmp_path, log=log):
        url = f"http://127.0.0.1:{port}"
        wait_for(f"{url}/health", log)
        monkeypatch.setenv("MLFLOW_TRACKING_URI", url)
        run(retrain, 0)
        yield MlflowClient(url, url)


@pytest.mark.parametrize("fault", FAULTS)
def test_a_bucket_that_fails_ends_the_run_in_one_line_and_no_half_version_serves(
    fault: str,
    registry: MlflowClient,
    proxy: Proxy,
    run: Run,  # noqa: F811
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("prefect.task_engine.exponential_backoff", lambda _: [0], raising=False)
    before = len(read_ledger(NAME))
    # The upload of a version, after some of its files are there.
    upload = monkeypatch.context()
    with upload as patch, pytest.raises(RegistryError, match="run again to finish") as told:
        import tasks.register

        logged = tasks.register._log_model

        def log_model(*arguments: object) -> tuple[str, str]:
            proxy.fault, proxy.passing = fault, 20
            return logged(*arguments)  # type: ignore[arg-type]

        patch.setattr(tasks.register, "_log_model", log_model)
        run(retrain, 1)
    assert "\n" not in str(told.value) and "made-up-secret" not in str(told.value)
    assert [str(v.version) for v in registry.search_model_versions(f"name = '{NAME}'")] == ["1"]
    # Nor can another process, which has not fetched it, forecast with the champion now.
    model_files._fetched.clear()
    proxy.passing = 0
    with pytest.raises(RegistryError, match="run again to finish") as told:
        run(forecast, 1)
    assert "\n" not in str(told.value)
    assert (champion(registry), len(read_ledger(NAME))) == ("1", before)
    proxy.fault = ""
    made = run(retrain, 1)
    assert made["model_version"] == "2" and made["forecast"]["ledger"]["new"] == 3
