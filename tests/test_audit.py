"""The code holds nothing that bandit knows and nobody explained; the audit says what it saw."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

from tests.audit import Asked, judge
from tests.servers import BIN, REPO


def test_bandit_finds_nothing() -> None:
    command = [str(BIN / "bandit"), "--quiet", "--configfile", "pyproject.toml", "--recursive"]
    done = subprocess.run(
        [*command, "flows", "models", "tasks"],
        cwd=REPO,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stdout


def test_every_exception_says_why() -> None:
    paths = [path for part in ("flows", "models", "tasks") for path in (REPO / part).rglob("*.py")]
    found = [line for path in paths for line in path.read_text().splitlines() if "# nosec" in line]
    assert found and all(re.search(r"# nosec B\d{3}  # \w.{10,}", line) for line in found), found


def test_the_audit_tells_holes_from_silence() -> None:
    hole = {"id": "PYSEC-1", "fix_versions": ["2"], "aliases": [], "description": ""}
    packages: Asked = [
        {"name": "a", "version": "1", "vulns": [hole]},
        {"name": "b", "version": "1", "vulns": []},
        {"name": "c", "skip_reason": "not found"},
    ]
    assert judge("x.lock", packages) == (
        ["x.lock: a 1: PYSEC-1, mended in 2", "x.lock: 2 packages, 1 advisories; not looked at: c"],
        False,
    )
    [line], fine = judge("x.lock", None)
    assert "NOT audited, no database of advisories answers" in line and fine
    assert judge("x.lock", packages[1:2]) == (["x.lock: 1 packages, 0 advisories"], True)
    assert (Path(REPO) / "SECURITY.md").exists()
