"""Real servers for tests: started on a free port of this machine, stopped at the end."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import requests
from filelock import FileLock
from matplotlib import get_configdir

REPO = Path(__file__).parent.parent
BIN = Path(sys.executable).parent


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextmanager
def running(command: list[str], *, env: dict[str, str], cwd: Path, log: Path) -> Iterator[None]:
    """Run a command in the background, in a process group of its own that is ended afterwards."""
    with log.open("w") as out:
        process = subprocess.Popen(
            command, env=env, cwd=cwd, stdout=out, stderr=subprocess.STDOUT, start_new_session=True
        )
    try:
        yield
    finally:
        os.killpg(process.pid, 15)
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, 9)
            process.wait()


def wait_for(url: str, log: Path, seconds: float = 120) -> None:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        try:
            if requests.get(url, timeout=2).ok:
                return
        except requests.RequestException:
            pass
        time.sleep(0.3)
    raise TimeoutError(f"{url} did not answer in {seconds} s:\n{log.read_text()[-3000:]}")


def environment(home: Path, **more: str) -> dict[str, str]:
    """Environment of a user with an empty home: nothing of the tests' own settings."""
    inherited = {
        key: value
        for key, value in os.environ.items()
        if not key.startswith(("PREFECT_", "MLFLOW_", "BTC_"))
    }
    path = f"{BIN}{os.pathsep}{inherited.get('PATH', '')}"
    own = {"BTC_HOME": str(home), "PATH": path, "HOME": str(home), "MPLCONFIGDIR": get_configdir()}
    return inherited | own | more


@contextmanager
def prefect_server(folder: Path, **more: str) -> Iterator[str]:
    """A Prefect server with a database of its own and `more` settings; gives its API address."""
    folder.mkdir(parents=True, exist_ok=True)
    port, log = free_port(), folder / "server.log"
    command = [str(BIN / "prefect"), "server", "start", "--port", str(port)]
    with running(command, env=prefect_environment(folder) | more, cwd=folder, log=log):
        wait_for(f"http://127.0.0.1:{port}/api/health", log)
        yield f"http://127.0.0.1:{port}/api"


@contextmanager
def shared_prefect_server(root: Path) -> Iterator[str]:
    """One Prefect server for all that share the folder `root`; the last one to leave stops it.

    Each user keeps a file in `root/users` as long as it needs the server.
    """
    users, lock = root / "users", FileLock(root / "prefect.lock")
    address, mine = root / "address", users / str(os.getpid())
    with lock:
        users.mkdir(parents=True, exist_ok=True)
        if not address.exists():
            port, log = free_port(), root / "server.log"
            # What its pages ask; Prefect believes to be at port 4200.
            ui = {"PREFECT_SERVER_UI_API_URL": f"http://127.0.0.1:{port}/api"}
            env = prefect_environment(root) | ui
            command = [str(BIN / "prefect"), "server", "start", "--port", str(port)]
            with log.open("w") as out:
                process = subprocess.Popen(
                    command, env=env, cwd=root, stdout=out, stderr=out, start_new_session=True
                )
            wait_for(f"http://127.0.0.1:{port}/api/health", log)
            address.write_text(f"{process.pid} http://127.0.0.1:{port}/api")
        mine.touch()
        group, _, url = address.read_text().partition(" ")
    try:
        yield url
    finally:
        with lock:
            mine.unlink()
            if not list(users.iterdir()):
                os.killpg(int(group), signal.SIGTERM)
                address.unlink()


def prefect_environment(folder: Path) -> dict[str, str]:
    return environment(folder, PREFECT_HOME=str(folder), PREFECT_SERVER_ANALYTICS_ENABLED="false")


def btc(
    *arguments: str, env: dict[str, str], cwd: Path, timeout: float = 300
) -> subprocess.CompletedProcess[str]:
    """Run `btc` as a user does."""
    return subprocess.run(
        [str(BIN / "btc"), *arguments],
        env=env,
        cwd=cwd,
        capture_output=True,
        text=True,
        timeout=timeout,
    )


class Postgres:
    """A PostgreSQL server that can be stopped and started again on its data."""

    def __init__(self, control: list[str], folder: Path, port: int) -> None:
        self.control, self.folder = control, folder
        self.url = f"postgresql://btc@127.0.0.1:{port}/postgres"
        self.options = f"-p {port} -k {folder} -c listen_addresses=127.0.0.1 -c fsync=off"

    def start(self) -> None:
        self._call("-w", "-l", f"{self.folder}/log", "-o", self.options, "start")

    def stop(self) -> None:
        """End it at once, with every connection."""
        self._call("-m", "immediate", "stop")

    def _call(self, *arguments: str) -> None:
        call(*self.control, *arguments, cwd=self.folder)


def call(*command: str, cwd: Path) -> None:
    """Run a command of a server to its end."""
    done = subprocess.run(command, cwd=cwd, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stdout + done.stderr


@contextmanager
def postgres_server() -> Iterator[Postgres | None]:
    """A PostgreSQL server from the system's packages, started; None without them."""
    found = _find_postgres()
    if found is None:
        yield None
        return
    # Not in pytest's folders, which are closed to the user that the server runs as.
    folder = Path(tempfile.mkdtemp(prefix="btc-daily-postgres-"))
    prefix: list[str] = []
    if os.geteuid() == 0:
        # The server refuses to run as root.
        prefix = ["setpriv", "--reuid=nobody", "--regid=nogroup", "--clear-groups"]
        shutil.chown(folder, "nobody", "nogroup")
    data = folder / "data"
    initdb = [f"{found}/initdb", "-D", str(data), "-U", "btc", "--auth=trust", "--no-sync"]
    call(*prefix, *initdb, cwd=folder)
    server = Postgres([*prefix, f"{found}/pg_ctl", "-D", str(data)], folder, free_port())
    server.start()
    try:
        yield server
    finally:
        server.stop()
        shutil.rmtree(folder)


def _find_postgres() -> Path | None:
    on_path = shutil.which("initdb")
    candidates = [Path(on_path).resolve().parent] if on_path else []
    candidates += sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True)
    return next((path for path in candidates if (path / "pg_ctl").exists()), None)


def fill_disk(folder: Path) -> Path:
    """Fill the file system of a folder to the last byte; returns the file that does."""
    path = folder / "filler"
    with path.open("wb", buffering=0) as filler, suppress(OSError):
        while filler.write(bytes(65536)):
            pass
    with path.open("ab", buffering=0) as filler, suppress(OSError):
        while filler.write(bytes(512)):
            pass
    return path
