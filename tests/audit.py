"""`make audit`: known holes in the packages that the locks pin, as far as one can ask from here."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

REPO = Path(__file__).parent.parent
LOCKS = ("requirements.lock", "deploy/requirements.lock")
DATABASES = ("osv", "pypi")
Asked = list[dict[str, Any]]


def ask(lock: str) -> Asked | None:
    """What a database of advisories knows of the packages of a lock; None where none answers.

    PyPI's is passed by in silence, package by package, where a mirror stands in its place.
    """
    for service in DATABASES:
        command = [sys.executable, "-m", "pip_audit", "--requirement", lock, "--no-deps"]
        command += ["--disable-pip", "--format", "json", "--vulnerability-service", service]
        command += ["--progress-spinner", "off", "--timeout", "15"]
        done = subprocess.run(command, cwd=REPO, capture_output=True, text=True, timeout=600)
        try:
            packages: Asked = json.loads(done.stdout)["dependencies"]
        except ValueError:
            continue
        if any("skip_reason" not in package for package in packages):
            return packages
    return None


def judge(lock: str, packages: Asked | None) -> tuple[list[str], bool]:
    """Lines about a lock, and whether nothing is known against it."""
    if packages is None:
        where = " and ".join(DATABASES)
        return [f"{lock}: NOT audited, no database of advisories answers ({where})"], True
    lines = [
        f"{lock}: {package['name']} {package['version']}: {hole['id']}, mended in "
        f"{', '.join(hole['fix_versions']) or 'no release yet'}"
        for package in packages
        for hole in package.get("vulns", [])
    ]
    passed_by = [package["name"] for package in packages if "skip_reason" in package]
    known = len(packages) - len(passed_by)
    said = f"; not looked at: {', '.join(passed_by)}" if passed_by else ""
    return [*lines, f"{lock}: {known} packages, {len(lines)} advisories{said}"], not lines


def main() -> None:
    """Print what is found; exit 1 where an advisory is."""
    fine = True
    for lock in LOCKS:
        lines, well = judge(lock, ask(lock))
        print("\n".join(lines))
        fine = fine and well
    sys.exit(0 if fine else 1)


if __name__ == "__main__":
    main()
