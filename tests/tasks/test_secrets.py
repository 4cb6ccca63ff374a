"""What a process says of an unexpected error holds no secret."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

FAIL = "raise ValueError('no answer from http://me:topsecretword@db')"
CODE = {
    "main": FAIL,
    "thread": f"import threading\ndef f(): {FAIL}\nthreading.Thread(target=f).start()",
}


@pytest.mark.parametrize("where", CODE)
def test_a_traceback_is_masked(where: str) -> None:
    code = f"from tasks.secrets import guard_output\nguard_output()\n{CODE[where]}"
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=Path(__file__).parents[2],
        env=os.environ | {"BTC_DATABASE_URL": "postgresql://me:topsecretword@db/x"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert "ValueError: no answer" in done.stderr and "topsecretword" not in done.stderr
