"""A real browser, without a screen."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest


def look_at(address: str, profile: Path, width: int = 1280) -> str:
    """The page as Chromium has it after its scripts ran; a dialog would keep it until it fails."""
    browser = shutil.which("chromium") or shutil.which("google-chrome")
    if browser is None:
        message = "no Chromium: apt-get install chromium"
        pytest.fail(message) if os.environ.get("CI") else pytest.skip(message)
    done = subprocess.run(
        [
            browser, "--headless", "--no-sandbox", "--disable-gpu",
            "--disable-background-networking",
            f"--user-data-dir={profile}", f"--window-size={width},900",
            "--virtual-time-budget=5000", "--dump-dom", address,
        ],
        capture_output=True, text=True, timeout=120, check=True,
    )  # fmt: skip
    return done.stdout
