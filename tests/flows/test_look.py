"""`btc report` and `btc ui` as commands: what they print, and what the browser is given."""

from __future__ import annotations

import signal
import subprocess
import time
from pathlib import Path
from urllib.parse import unquote, urlparse

import pytest
import requests

from tests.flows import states
from tests.servers import BIN, btc, environment

pytestmark = pytest.mark.server


@pytest.fixture
def browser(tmp_path: Path) -> tuple[str, Path]:
    """A browser that writes down the address it is given: its command, and the note."""
    note, command = tmp_path / "opened", tmp_path / "browser"
    command.write_text(f'#!/bin/sh\nprintf "%s" "$1" > {note}.half\nmv {note}.half {note}\n')
    command.chmod(0o755)
    return str(command), note


def test_report_names_opens_and_lists_pages(one_day: Path, browser: tuple[str, Path]) -> None:
    command, note = browser
    day = states.date(0)
    env = environment(one_day, BROWSER=command)
    page = one_day / "reports" / "btc-usd" / f"{day}.html"
    for options, opened in (
        ((), None),
        (("--day", str(day), "--open"), page),
        (("--open",), page),
        (("--history", "--open"), page.with_name("index.html")),
    ):
        note.unlink(missing_ok=True)
        done = btc("report", *options, env=env, cwd=one_day)
        assert (done.returncode, done.stderr) == (0, "")
        *headline, path = done.stdout.splitlines()
        assert Path(path).is_file() and bool(headline) == ("--history" not in options)
        if opened is None:
            assert not note.exists()
        else:
            assert Path(path) == opened
            assert Path(unquote(urlparse(note.read_text()).path)) == opened
    done = btc("report", "--day", "1999-01-01", env=env, cwd=one_day)
    assert done.returncode == 2 and "has no page of that day" in done.stderr
    assert f'href="{day}.html"' in page.with_name("index.html").read_text()


def test_ui_serves_mlflow_and_opens_the_diary(one_day: Path, browser: tuple[str, Path]) -> None:
    command, note = browser
    env = environment(one_day, BROWSER=command)
    process = subprocess.Popen(
        [str(BIN / "btc"), "ui"], env=env, cwd=one_day, stdout=subprocess.PIPE, text=True
    )
    try:
        assert process.stdout is not None
        address = process.stdout.readline().strip()
        base = address.partition("/#/")[0]
        assert "workflowType=machine_learning&viewStateShareKey=diary" in address
        assert requests.get(f"{base}/health", timeout=10).text == "OK"
        deadline = time.monotonic() + 20
        while not note.exists() and time.monotonic() < deadline:
            time.sleep(0.1)
        assert note.read_text() == address
    finally:
        process.send_signal(signal.SIGINT)
        process.wait(30)
    with pytest.raises(requests.ConnectionError):
        requests.get(f"{base}/health", timeout=5)


def test_two_pages_of_mlflow_cannot_be_asked_for_at_once(tmp_path: Path) -> None:
    done = btc("ui", "--backtests", "--tuning", env=environment(tmp_path), cwd=tmp_path)
    assert done.returncode == 2 and "ask for one of them" in done.stderr
