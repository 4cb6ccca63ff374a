"""compose.yaml as an engine would read it, and its services as processes of this machine."""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from tests.servers import REPO, environment, free_port

DEPLOY = REPO / "deploy"
REQUIRED = {
    "POSTGRES_PASSWORD": "made-up for a test",
    "PREFECT_AUTH": "admin:made-up for a test",
    "MLFLOW_PASSWORD": "made-up for a test",
    "MLFLOW_SECRET_KEY": "made-up for a test",
    "BTC_TAG": "0.1.0-3-gabc",
}


def read_compose(values: Mapping[str, str]) -> dict[str, Any]:
    """The file with its variables filled in; raises KeyError where one must be set and is not."""

    def fill(match: re.Match[str]) -> str:
        name, default, message = match.groups()
        if values.get(name):
            return values[name]
        if message is not None:
            raise KeyError(f"{name}: {message}")
        return default or ""

    def fill_all(value: Any) -> Any:
        if isinstance(value, dict):
            return {key: fill_all(inner) for key, inner in value.items()}
        if isinstance(value, list):
            return [fill_all(inner) for inner in value]
        pattern = r"\$\{(\w+)(?::-([^}]*)|:\?([^}]*))?\}"
        return re.sub(pattern, fill, value) if isinstance(value, str) else value

    # An engine too reads the file first, so that no value can change its structure.
    filled: dict[str, Any] = fill_all(yaml.safe_load((DEPLOY / "compose.yaml").read_text()))
    return filled


def image_environment() -> dict[str, str]:
    """What the image's last stage sets."""
    stage = (DEPLOY / "Dockerfile").read_text().replace("\\\n", " ").rpartition("\nFROM ")[2]
    lines = [line for line in stage.splitlines() if line.startswith("ENV ")]
    return dict(pair.split("=", 1) for line in lines for pair in shlex.split(line)[1:])


def image_health() -> list[str]:
    """The image's health check."""
    text = (DEPLOY / "Dockerfile").read_text()
    found = re.search(r"HEALTHCHECK.*?CMD (\[.*?\])\n", text, re.S)
    assert found
    check: list[str] = json.loads(found.group(1))
    return check


class Machine:
    """Where the services' names, ports and folders are on this machine."""

    def __init__(
        self, folder: Path, postgres_url: str, values: Mapping[str, str] = REQUIRED
    ) -> None:
        self.folder = folder
        self.prefect, self.mlflow = free_port(), free_port()
        postgres = postgres_url.rpartition("@")[2]
        self._names = {
            "http://prefect:4200": f"http://127.0.0.1:{self.prefect}",
            "http://localhost:4200": f"http://127.0.0.1:{self.prefect}",
            "http://127.0.0.1:4200": f"http://127.0.0.1:{self.prefect}",
            '"4200"': f'"{self.prefect}"',
            "http://mlflow:5000": f"http://127.0.0.1:{self.mlflow}",
            "http://127.0.0.1:5000": f"http://127.0.0.1:{self.mlflow}",
            "--port=5000": f"--port={self.mlflow}",
            "0.0.0.0": "127.0.0.1",
            '"postgres"': '"127.0.0.1"',
            '"5432"': f'"{postgres.partition(":")[2].partition("/")[0]}"',
            "/app/": f"{REPO}/",
            "=/artifacts": f"={folder}/artifacts",
        }
        hosts = {"MLFLOW_HOSTS": f"127.0.0.1:{self.mlflow}"}
        self._services = read_compose(dict(values) | hosts)["services"]

    def command(self, service: str) -> list[str]:
        """A service's command line."""
        found: list[str] = self._here(self._services[service]["command"])
        return found

    def environment(self, service: str, home: str) -> dict[str, str]:
        """Its environment, with the folder of state that stands for its volume."""
        data = self.folder / home
        data.mkdir(exist_ok=True)
        image = {
            key: value.replace("/data", str(data))
            for key, value in image_environment().items()
            if key not in ("PATH", "MPLCONFIGDIR", "BTC_CODE_VERSION")
        }
        port = free_port()
        image["HEALTH_URL"] = image["HEALTH_URL"].replace("8080", str(port))
        own = image | self._here(self._services[service]["environment"])
        return environment(data, **(own | {"PREFECT_WORKER_WEBSERVER_PORT": str(port)}))

    def _here(self, value: Any) -> Any:
        text = json.dumps(value)
        for there, here in self._names.items():
            text = text.replace(there, here)
        return json.loads(text)
