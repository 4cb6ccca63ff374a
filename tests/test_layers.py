"""Imports run one way, and what is pure stays pure; read from the source, without importing it."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

REPO = Path(__file__).parent.parent
ALLOWED = {
    "models": {"models"},
    "tasks": {"tasks", "models"},
    "flows": {"flows", "tasks", "models"},
}
IMPURE = {
    "prefect", "requests", "sqlalchemy", "httpx", "urllib", "http", "socket", "sqlite3",
    "subprocess", "time", "tempfile",
}  # fmt: skip
ENVIRONMENT = {"environ", "environb", "getenv"}
CLOCK = {"now", "utcnow", "today"}
# What watches over runs from outside, and what finds out how late a run is, may look at the clock.
WATCHES = ("tasks/service/", "tasks/turns.py")
# Seconds to import; a command that only reads must not pay for them.
HEAVY = (
    "tensorflow",
    "keras",
    "sklearn",
    "scipy.stats",
    "scipy.optimize",
    "mlflow",
    "arch",
    "matplotlib",
    "optuna",
)
LIGHT = ("config", "data", "decisions", "scoring", "forecasters/frame", "learning/features")
# The rooms of models/ from the top down: each may import those below it, and itself.
ROOMS = {
    "pyfunc": 0, "reporting": 0, "records": 1, "naming": 1, "decisions": 2, "scoring": 3,
    "forecasters": 4, "learning": 5, "data": 6, "config": 7, "errors": 8,
    "wording": 8, "masking": 9,
}  # fmt: skip
# A flow body is calls: what reads or writes is a stage.
INPUT_OUTPUT = {
    "open", "read_text", "write_text", "read_bytes", "write_bytes", "read_frame", "write_frame",
    "read_csv", "read_parquet", "loads", "load", "dumps", "dump", "exists", "unlink", "mkdir",
}  # fmt: skip
LONGEST = 350
# Prefect puts a flow file's folder first on the import path: these would shadow the packages.
SHADOWS = ("flows/tasks.py", "flows/models.py", "flows/tasks", "flows/models")


def find_faults(root: Path) -> list[str]:
    """Everything under root/{models,tasks,flows} that breaks the layers, as 'file:line what'."""
    faults = [f"{name} shadows a package" for name in SHADOWS if (root / name).exists()]
    for layer in ALLOWED:
        for path in sorted((root / layer).rglob("*.py")):
            name = path.relative_to(root).as_posix()
            tree = ast.parse(path.read_text(encoding="utf-8"))
            faults += _flow_faults(tree, name)
            for node in ast.walk(tree):
                faults += [
                    f"{name}:{getattr(node, 'lineno', 0)} {fault}"
                    for fault in _faults_of(node, name)
                ]
    return faults


def _faults_of(node: ast.AST, name: str) -> list[str]:
    layer = name.partition("/")[0]
    faults = []
    for module in _imported(node, name):
        top = module.partition(".")[0]
        if top in ALLOWED and top not in ALLOWED[layer]:
            faults.append(f"{layer} imports {module}")
        impure = top in IMPURE and module != "urllib.parse"
        if layer == "models" and (impure or _is_mlflow_elsewhere(top, name)):
            faults.append(f"models imports {module}")
        if layer == "models" and _runs_back(module, name):
            faults.append(f"{name} imports {module}, which is above it")
        if layer == "tasks" and top == "scipy":
            faults.append(f"tasks imports {module}: a formula belongs in models")
    if layer == "flows" or not isinstance(node, ast.Attribute | ast.ImportFrom):
        return faults
    used = [node.attr] if isinstance(node, ast.Attribute) else [a.name for a in node.names]
    forbidden = CLOCK | ENVIRONMENT if layer == "models" else CLOCK
    if name.startswith(WATCHES):
        forbidden = set()
    return faults + [f"{layer} uses {word}" for word in used if word in forbidden]


def _runs_back(module: str, name: str) -> bool:
    """Whether a module of models/ imports one of a room above its own."""
    ours = ROOMS.get(name.split("/")[1].removesuffix(".py"))
    theirs = ROOMS.get(module.split(".")[1]) if module.startswith("models.") else None
    return ours is not None and theirs is not None and theirs < ours


def _flow_faults(tree: ast.Module, name: str) -> list[str]:
    """Arithmetic, and reading or writing, in the functions of a flow."""
    if name.count("/") != 1 or not name.startswith("flows/"):
        return []
    faults = []
    for function in (node for node in tree.body if isinstance(node, ast.FunctionDef)):
        for node in (inner for line in function.body for inner in ast.walk(line)):
            if isinstance(node, ast.BinOp | ast.AugAssign):
                faults.append(f"{name}:{node.lineno} computes: {ast.unparse(node)}")
            if isinstance(node, ast.Call):
                called = getattr(node.func, "attr", getattr(node.func, "id", ""))
                if called in INPUT_OUTPUT:
                    faults.append(f"{name}:{node.lineno} reads or writes: {called}")
    return faults


def _imported(node: ast.AST, name: str) -> list[str]:
    """Absolute names of the modules that a node imports."""
    if isinstance(node, ast.Import):
        return [alias.name for alias in node.names]
    if isinstance(node, ast.ImportFrom):
        above = Path(name).parts[: -node.level] if node.level else ()
        if node.module in ALLOWED and not node.level:
            return [f"{node.module}.{alias.name}" for alias in node.names]
        if node.module:
            return [".".join([*above, node.module])]
        return [".".join([*above, alias.name]) for alias in node.names]
    if isinstance(node, ast.Call) and node.args and isinstance(node.args[0], ast.Constant):
        called = node.func.attr if isinstance(node.func, ast.Attribute) else ""
        called = node.func.id if isinstance(node.func, ast.Name) else called
        if called in {"import_module", "__import__"}:
            return [str(node.args[0].value)]
    return []


def _is_mlflow_elsewhere(top: str, name: str) -> bool:
    return top == "mlflow" and name != "models/pyfunc.py"


def test_imports_run_one_way_and_models_stay_pure() -> None:
    assert find_faults(REPO) == []


def test_what_commands_that_only_read_import_is_light() -> None:
    names = [
        ".".join(path.relative_to(REPO).with_suffix("").parts)
        for path in sorted((REPO / "models").rglob("*.py"))
        if path.relative_to(REPO / "models").as_posix().startswith((*LIGHT, "records", "naming"))
    ]
    assert len(names) > 20
    code = f"import sys, {', '.join(names)}; print([m for m in {HEAVY} if m in sys.modules])"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=REPO, capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "[]"


def test_every_room_of_models_has_its_place() -> None:
    found = {path.stem for path in (REPO / "models").iterdir() if path.stem[0] not in "_."}
    assert found == set(ROOMS)


def test_no_file_is_longer_than_one_can_read() -> None:
    lengths = {
        path.relative_to(REPO).as_posix(): len(path.read_text(encoding="utf-8").splitlines())
        for folder in (*ALLOWED, "tests", "bench")
        for path in (REPO / folder).rglob("*.py")
    }
    assert {name: n for name, n in lengths.items() if n > LONGEST} == {}


def test_every_package_was_read() -> None:
    for layer in ALLOWED:
        assert len(list((REPO / layer).rglob("*.py"))) > 3


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("models/a.py", "from tasks.files import read_frame"),
        ("models/a.py", "import flows.retrain"),
        ("models/deep/a.py", "def f():\n    from tasks import files"),
        ("models/a.py", "import importlib\nimportlib.import_module('tasks.files')"),
        ("models/a.py", "from .. import tasks"),
        ("tasks/a.py", "from flows.retrain import retrain"),
        ("tasks/sources/a.py", "import flows"),
        ("models/a.py", "import prefect"),
        ("models/a.py", "from prefect import task"),
        ("models/a.py", "import requests"),
        ("models/a.py", "from sqlalchemy.exc import OperationalError"),
        ("models/a.py", "import mlflow"),
        ("models/a.py", "import os\nx = os.environ['BTC_HOME']"),
        ("models/a.py", "from os import environ"),
        ("models/a.py", "import os\nx = os.getenv('BTC_HOME')"),
        ("models/a.py", "import time"),
        ("models/a.py", "import datetime as dt\ndt.datetime.now(dt.UTC)"),
        ("models/a.py", "import datetime as dt\nclock = dt.date.today"),
        ("models/a.py", "import pandas as pd\npd.Timestamp.utcnow()"),
        ("tasks/a.py", "import datetime as dt\ndt.datetime.now(dt.UTC)"),
        ("models/data/a.py", "from models.scoring.metrics import crps"),
        ("models/records.py", "from models.reporting.summaries import Summary"),
        ("models/config/a.py", "def f():\n    import models.data.rules"),
        ("models/learning/a.py", "from models import scoring"),
        ("tasks/a.py", "from scipy.stats import t"),
        ("flows/a.py", "def f(x):\n    y = x + 1\n    return y"),
        ("flows/a.py", "def f(x):\n    x += g()"),
        ("flows/a.py", "def f(path):\n    return path.read_text()"),
        ("flows/a.py", "def f(path):\n    with open(path):\n        pass"),
        ("flows/tasks.py", ""),
        ("flows/models.py", ""),
    ],
)
def test_a_broken_rule_is_found(tmp_path: Path, name: str, text: str) -> None:
    path = tmp_path / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    assert len(find_faults(tmp_path)) == 1


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("models/pyfunc.py", "import mlflow\nfrom models.config import Recipe"),
        ("models/a.py", "from .config import Recipe\nfrom . import windows"),
        ("tasks/a.py", "import os, time, mlflow\nfrom models import config\nos.environ.get('A')"),
        ("flows/a.py", "from tasks.home import home\nimport models.config"),
        ("models/scoring/a.py", "from models.data.rules import Finding\nimport models.errors"),
        ("flows/a.py", "def f(x: int | None) -> int | None:\n    return g(x)"),
        ("flows/cli/a.py", "def f(x):\n    return x + 1"),
        ("flows/cli.py", "import datetime as dt\ndt.datetime.now(dt.UTC)"),
    ],
)
def test_what_is_allowed_is_left_alone(tmp_path: Path, name: str, text: str) -> None:
    path = tmp_path / name
    path.parent.mkdir(parents=True)
    path.write_text(text)
    assert find_faults(tmp_path) == []
