"""Take the pictures of the README and the documents, in headless Chromium; none is made by hand.

`make screenshots` runs it on the state in BTC_HOME, after a retrain, as in
`btc retrain --source csv:BTC-USD.csv --as-of 2024-12-31 && make screenshots`.
"""

from __future__ import annotations

import os
import re
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from io import StringIO
from pathlib import Path

from playwright.sync_api import Page, sync_playwright
from rich.console import Console
from rich.text import Text

FOLDER = Path(__file__).parent
BIN = Path(sys.executable).parent
COLUMNS = 84
TERMINAL = """<body style="margin:0;background:#17202a"><pre style="margin:0;padding:18px 22px;
font:15px/1.32 'DejaVu Sans Mono','Liberation Mono',monospace;color:#e6edf3;width:max-content">
{code}</pre></body>"""


def main() -> None:
    """Photograph the page of the newest day, MLflow's view, Prefect's run, and a terminal."""
    browser = shutil.which("chromium") or shutil.which("google-chrome")
    if browser is None:
        sys.exit("screenshots: no Chromium found; install it (apt-get install chromium)")
    told = subprocess.run([BIN / "btc", "report"], capture_output=True, text=True)
    if told.returncode:
        sys.exit(f"screenshots: no page to photograph; {told.stderr.strip()}")
    day = Path(told.stdout.splitlines()[-1])
    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=browser, args=["--no-sandbox"])
        page = chromium.new_page(viewport={"width": 1100, "height": 1150})
        page.goto(day.as_uri())
        _keep(page, "page.png")
        page.set_content(TERMINAL.format(code=_show_terminal(day.stem)))
        page.locator("pre").screenshot(path=FOLDER / "terminal.png")
        page.set_viewport_size({"width": 1400, "height": 640})
        with _mlflow() as address:
            _visit(page, address, "role=row >> nth=2")
            for shut in ("Assistant", "shared view"):
                _shut(page, shut)
            _keep(page, "mlflow.png")
        with _prefect() as address:
            # A shorter window would not draw the list.
            page.set_viewport_size({"width": 1400, "height": 1000})
            newest = "a[href*='/runs/flow-run/']:has-text('retrain')"
            _visit(page, f"{address}/runs", newest)
            page.locator(newest).first.click()
            page.set_viewport_size({"width": 1400, "height": 520})
            page.wait_for_timeout(4000)
            _keep(page, "prefect.png")
        chromium.close()


def _visit(page: Page, address: str, wanted: str) -> None:
    page.goto(address)
    page.wait_for_selector(wanted, timeout=60_000)
    page.wait_for_timeout(3000)


def _shut(page: Page, text: str) -> None:
    """Close a panel or note of MLflow's own that stands beside what is shown."""
    near = page.get_by_text(text).first
    box = near.locator("xpath=ancestor::*[.//button][1]").locator("button").last
    if near.count() and box.count():
        box.click()
        page.wait_for_timeout(500)


def _keep(page: Page, name: str) -> None:
    page.screenshot(path=FOLDER / name)
    print(FOLDER / name)


def _show_terminal(day: str) -> str:
    """`btc forecast` as a terminal shows it, as HTML."""
    source = os.environ.get("SOURCE") or "sample"
    command = f"btc forecast --source {source} --as-of {day}"
    shown = f"btc forecast --source {re.sub(r'[^:]*/', '', source)} --as-of {day}"
    run = ["script", "-qec", f"stty cols {COLUMNS}; {BIN / command}", os.devnull]
    done = subprocess.run(run, capture_output=True, text=True, check=True)
    home = str(Path(os.environ.get("BTC_HOME") or ".btc").absolute())
    shown_lines = done.stdout.replace("\r", "").replace(home, ".btc").rstrip()
    console = Console(record=True, width=COLUMNS, file=StringIO(), force_terminal=True)
    console.print(Text.from_ansi(f"$ {shown}\n{shown_lines}"))
    return console.export_html(code_format="{code}", inline_styles=True)


@contextmanager
def _mlflow() -> Iterator[str]:
    process = subprocess.Popen([BIN / "btc", "ui", "--no-open"], stdout=subprocess.PIPE, text=True)
    try:
        yield (process.stdout.readline() if process.stdout else "").strip()
    finally:
        process.send_signal(2)
        process.wait(30)


@contextmanager
def _prefect() -> Iterator[str]:
    """A Prefect server on the database that retrains without a server wrote."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    home = Path(os.environ.get("BTC_HOME") or ".btc").absolute()
    env = os.environ | {"PREFECT_HOME": str(home / "prefect"), "DO_NOT_TRACK": "1"}
    env["PREFECT_UI_API_URL"] = f"http://127.0.0.1:{port}/api"
    command = [BIN / "prefect", "server", "start", "--port", str(port)]
    process = subprocess.Popen(
        command, env=env, stdout=subprocess.DEVNULL, stderr=subprocess.STDOUT
    )
    try:
        for _ in range(240):
            time.sleep(0.5)
            try:
                urllib.request.urlopen(f"http://127.0.0.1:{port}/api/health", timeout=2)
                break
            except OSError:
                continue
        yield f"http://127.0.0.1:{port}"
    finally:
        process.terminate()
        process.wait(30)


if __name__ == "__main__":
    main()
