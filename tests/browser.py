"""The system's Chromium, driven by Playwright, asking nothing of any other machine."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from playwright.sync_api import Page, sync_playwright


def find_browser() -> str:
    """Path of Chromium; skips the test without one, or fails it where CI is set."""
    found = shutil.which("chromium") or shutil.which("google-chrome")
    if found is not None:
        return found
    message = "no Chromium: apt-get install chromium"
    if os.environ.get("CI"):
        pytest.fail(message)
    pytest.skip(message)


def look_at(address: str, profile: Path, width: int = 1280) -> str:
    """The page as Chromium has it after its scripts ran; a dialog would keep it until it fails."""
    done = subprocess.run(
        [
            find_browser(), "--headless", "--no-sandbox", "--disable-gpu",
            "--disable-background-networking",
            f"--user-data-dir={profile}", f"--window-size={width},900",
            "--virtual-time-budget=5000", "--dump-dom", address,
        ],
        capture_output=True, text=True, timeout=120, check=True,
    )  # fmt: skip
    return done.stdout


@contextmanager
def open_browser(width: int = 1280, height: int = 900) -> Iterator[Page]:
    """An empty page of that size."""
    with sync_playwright() as driver:
        options = ["--no-sandbox", "--disable-gpu", "--disable-background-networking"]
        browser = driver.chromium.launch(executable_path=find_browser(), args=options)
        page = browser.new_page(viewport={"width": width, "height": height})
        # This machine is slow while other tests run.
        page.set_default_timeout(60_000)
        page.route(
            lambda url: "127.0.0.1" not in url and "localhost" not in url,
            lambda route: route.abort(),
        )
        yield page
        browser.close()
