"""Take the README's picture: the newest page of the day in BTC_HOME, in headless Chromium.

`make screenshots` runs it after a retrain, as in
`btc retrain --source csv:BTC-USD.csv --as-of 2024-12-31 && make screenshots`.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

TARGET = Path(__file__).with_name("page.png")
# Headless, and asking nothing of the network.
OPTIONS = (
    "--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--hide-scrollbars",
    "--disable-background-networking", "--disable-component-update", "--disable-sync",
    "--force-device-scale-factor=1", "--window-size=1100,1150",
)  # fmt: skip


def main() -> None:
    """Photograph the page that `btc report` names."""
    browser = shutil.which("chromium") or shutil.which("google-chrome")
    if browser is None:
        sys.exit("screenshots: no Chromium found; install it (apt-get install chromium)")
    btc = Path(sys.executable).with_name("btc")
    page = subprocess.run([btc, "report"], capture_output=True, text=True, check=True)
    address = Path(page.stdout.splitlines()[-1]).as_uri()
    with tempfile.TemporaryDirectory() as profile:
        command = [browser, *OPTIONS, f"--user-data-dir={profile}", f"--screenshot={TARGET}"]
        subprocess.run([*command, address], check=True, capture_output=True, timeout=120)
    print(TARGET)


if __name__ == "__main__":
    main()
