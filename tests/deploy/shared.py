"""One set-up that machines share: PostgreSQL for all three, MLflow's artifacts in a bucket."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import boto3
import psycopg

from tests.deploy.compose import DEPLOY, Machine
from tests.planted import planted
from tests.servers import BIN, environment, free_port, running, wait_for

BUCKET = "btc"
# A password of each kind, to be searched for afterwards.
PLANTED = {
    "POSTGRES_PASSWORD": planted("postgres"),
    "PREFECT_AUTH": f"admin:{planted('prefect')}",
    "MLFLOW_PASSWORD": planted("mlflow"),
    "MLFLOW_SECRET_KEY": planted("flask"),
    "AWS_ACCESS_KEY_ID": planted("aws-id"),
    "AWS_SECRET_ACCESS_KEY": planted("aws-secret"),
    "BTC_TAG": "0.1.0-3-gabc",
    "BTC_STORE": f"s3://{BUCKET}/candles",
    "BTC_ARCHIVE": f"s3://{BUCKET}/archive",
    "BTC_ARTIFACTS": f"s3://{BUCKET}/mlflow",
}


class SharedServers:
    """The servers of the compose file as processes, and the machines that use them."""

    def __init__(self, folder: Path, postgres_url: str, bucket_url: str) -> None:
        self.folder, self.bucket_url, self.postgres_url = folder, bucket_url, postgres_url
        self.more: dict[str, str] = {}
        values = PLANTED | {"AWS_ENDPOINT_URL": bucket_url}
        self.services = Machine(folder, postgres_url, values)

    @property
    def bucket(self) -> boto3.client:
        """A client of the bucket's server."""
        return boto3.client(
            "s3",
            endpoint_url=self.bucket_url,
            aws_access_key_id="made-up",
            aws_secret_access_key="made-up",
            region_name="us-east-1",
        )

    def environment(self, name: str, **more: str) -> dict[str, str]:
        """Environment of the machine of that name, with a home of its own."""
        env = self.services.environment("worker", name)
        return env | {"BTC_EXCHANGE_KEY": planted("exchange-key"), **self.more, **more}

    def command(self, name: str, *arguments: str) -> list[str]:
        """A command line of `btc` on the machine of that name, which the host has too if it can."""
        command = [str(BIN / "btc"), *arguments]
        if os.geteuid() or not shutil.which("unshare"):
            return command
        return ["unshare", "-u", "sh", "-c", f'hostname {name} && exec "$@"', "sh", *command]

    def btc(
        self, name: str, *arguments: str, timeout: float = 300, **more: str
    ) -> subprocess.CompletedProcess[str]:
        """Run `btc` on the machine of that name to its end."""
        return subprocess.run(
            self.command(name, *arguments),
            env=self.environment(name, **more),
            cwd=self.folder,
            capture_output=True,
            text=True,
            timeout=timeout,
        )

    @contextmanager
    def begin(self, name: str, *arguments: str, **more: str) -> Iterator[subprocess.Popen[str]]:
        """Start `btc` on the machine of that name; killed at the end of the block."""
        process = subprocess.Popen(
            self.command(name, *arguments),
            env=self.environment(name, **more),
            cwd=self.folder,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        try:
            yield process
        finally:
            process.kill()
            process.wait()


@contextmanager
def bucket_server(folder: Path) -> Iterator[str]:
    """A real S3 API on loopback (moto's server); gives its address."""
    port = free_port()
    command = [sys.executable, "-m", "moto.server", "-p", str(port)]
    with running(command, env=environment(folder), cwd=folder, log=folder / "s3.log"):
        wait_for(f"http://127.0.0.1:{port}/moto-api/", folder / "s3.log")
        yield f"http://127.0.0.1:{port}"


@contextmanager
def shared_servers(folder: Path, postgres_url: str) -> Iterator[SharedServers]:
    """PostgreSQL's databases, the bucket, Prefect's server and MLflow's, all started."""
    with psycopg.connect(postgres_url, autocommit=True) as connection:
        connection.execute("CREATE DATABASE btc")
        for line in (DEPLOY / "databases.sql").read_text().splitlines():
            if line.startswith("CREATE"):
                connection.execute(line)
    with ExitStack() as stack:
        bucket_url = stack.enter_context(bucket_server(folder))
        servers = SharedServers(folder, postgres_url, bucket_url)
        servers.bucket.create_bucket(Bucket=BUCKET)
        for name in ("prefect", "mlflow"):
            command = servers.services.command(name)
            command[0] = str(BIN / command[0])
            # Asked for a password, it hashes that at every request, and a day is 400 of them.
            command = [part for part in command if part != "--app-name=basic-auth"]
            env, log = servers.services.environment(name, name), folder / f"{name}.log"
            stack.enter_context(running(command, env=env, cwd=folder, log=log))
        wait_for(f"http://127.0.0.1:{servers.services.prefect}/api/health", folder / "prefect.log")
        wait_for(f"http://127.0.0.1:{servers.services.mlflow}/health", folder / "mlflow.log")
        yield servers
