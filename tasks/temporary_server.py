"""A Prefect server for one command, where the user names none.

It starts while the command still imports TensorFlow, and ends with the command, however that ends.
"""

from __future__ import annotations

import atexit
import contextlib
import os
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from functools import cache

from models.errors import InputError
from tasks.storage.home import home, make_private

SETTINGS = {
    "PREFECT_UI_ENABLED": "0",
    "PREFECT__SERVER_EPHEMERAL": "1",
    "PREFECT__SERVER_FINAL": "1",
}
"""What Prefect gives the temporary servers that it starts itself."""
START_SECONDS = 180
END_SECONDS = 60
"""For a server that is still making its tables: cut off, they would be half-made for good."""
_OWN = "BTC_TEMPORARY_SERVER"
"""Set for this command and the processes that it starts."""


def own_address() -> str:
    """Address of the API of the server that this command has started; empty where it has not."""
    return os.environ.get(_OWN, "")


@cache
def start_temporary_server() -> Callable[[], None] | None:
    """Start a server in the background, once; returns a function that waits until it answers.

    Nothing is started where the user's settings say where Prefect is, nor once Prefect is imported,
    since it would not see the address any more: it then starts a server of its own if it needs one.
    """
    ours = os.environ.get("PREFECT_HOME") == str(home() / "prefect")
    named = "PREFECT_API_URL" in os.environ or (home() / "prefect" / "profiles.toml").exists()
    if not ours or named or "prefect" in sys.modules:
        return None
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    make_private(home() / "prefect" / "prefect.db")
    log = tempfile.TemporaryFile()  # noqa: SIM115, it is read when the server does not start
    process = subprocess.Popen(
        [sys.executable, "-m", "tasks.temporary_server", str(port)],
        env=os.environ | SETTINGS,
        stdin=subprocess.PIPE,
        stdout=log,
        stderr=subprocess.STDOUT,
        # A Ctrl-C is for the command, which still has to tell the server how its run ended.
        start_new_session=True,
    )
    assert process.stdin is not None  # noqa: S101  # nosec B101  # for mypy, it is a pipe
    # Registered before Prefect is imported, so that Prefect's own last words come first.
    atexit.register(process.stdin.close)
    os.environ["PREFECT_API_URL"] = f"http://127.0.0.1:{port}/api"
    os.environ[_OWN] = os.environ["PREFECT_API_URL"]

    def wait() -> None:
        deadline = time.monotonic() + START_SECONDS
        while not _answers(port):
            if process.poll() is not None or time.monotonic() > deadline:
                log.seek(0)
                said = log.read().decode(errors="replace").strip().splitlines()
                raise InputError(
                    f"Prefect's temporary server did not start ({said[-1:] or 'it said nothing'}); "
                    "try again, or start `prefect server start` and set PREFECT_API_URL"
                )
            time.sleep(0.05)

    return wait


def _answers(port: int) -> bool:
    try:
        address = f"http://127.0.0.1:{port}/api/health"
        with urllib.request.urlopen(address, timeout=10) as reply:  # nosec B310  # http, this machine
            return bool(reply.status == 200)
    except (urllib.error.URLError, OSError):
        return False


def _end_with_parent() -> None:
    """Wait until the other end of the pipe is closed, by the command or by its death; then stop."""
    sys.stdin.buffer.read()
    os.kill(os.getpid(), signal.SIGTERM)
    time.sleep(END_SECONDS)
    os._exit(0)


def main() -> None:
    """Serve on the port given, until standard input ends."""
    import uvicorn

    threading.Thread(target=_end_with_parent, daemon=True).start()
    with contextlib.suppress(KeyboardInterrupt):
        uvicorn.run(
            "prefect.server.api.server:create_app",
            factory=True,
            host="127.0.0.1",
            port=int(sys.argv[1]),
            log_level="error",
            lifespan="on",
        )


if __name__ == "__main__":
    main()
