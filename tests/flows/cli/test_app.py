"""What a command imports, what the list of commands says, and what a usage error looks like."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from prefect.client.schemas.objects import State
from prefect.states import Completed

from flows.cli.app import COMMANDS, load_command, main
from models.reporting.summaries import Skipped
from tasks.storage.home import THREADS
from tests.servers import environment

FRAMEWORKS = {"prefect", "mlflow", "tensorflow", "keras"}
HEAVY = FRAMEWORKS | {"pandas", "numpy", "scipy", "sklearn", "sqlalchemy", "pyarrow", "ccxt"}
HEAVY |= {"matplotlib", "optuna", "requests"}
SCRIPT = """
import sys
names = set(sys.argv.pop().split(","))
from flows.cli.app import main
try:
    main()
finally:
    print("imported:", *sorted(names & set(sys.modules)))
"""


def imported(home: Path, *arguments: str, of: set[str]) -> tuple[set[str], int]:
    """Modules of a set that `btc` imported in a process of its own, and its exit status."""
    command = [sys.executable, "-c", SCRIPT, *arguments, ",".join(of)]
    done = subprocess.run(command, env=environment(home), cwd=home, capture_output=True, text=True)
    last = done.stdout.splitlines()[-1]
    assert last.startswith("imported:"), done.stdout + done.stderr
    return set(last.split()[1:]), done.returncode


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (["--help"], 0),
        (["--version"], 0),
        ([], 2),
        (["retrian"], 2),
        (["retrain", "--help"], 0),
        (["retrain", "--cel", "gru"], 2),
        (["retrain", "--cell", "gruu"], 2),
        (["forecast", "--below", "much"], 2),
        (["backtest", "--jobs", "0"], 2),
        (["data", "--help"], 0),
        (["ingest", "--no-such"], 2),
        (["ledger", "export"], 2),
        (["models", "show"], 2),
        (["promote", "3"], 2),
        (["presets"], 0),
    ],
)
def test_help_and_wrong_usage_import_nothing_heavy(
    tmp_path: Path, arguments: list[str], code: int
) -> None:
    assert imported(tmp_path, *arguments, of=HEAVY) == (set(), code)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("arguments", [["data", "show"], ["data", "snapshots"], ["ledger"]])
def test_what_is_stored_shows_without_a_framework(tmp_path: Path, arguments: list[str]) -> None:
    assert imported(tmp_path, *arguments, of=FRAMEWORKS) == (set(), 2)


@pytest.mark.parametrize("name", COMMANDS)
def test_the_list_says_what_the_command_itself_says(name: str) -> None:
    command = load_command(name)
    assert command.name == name
    assert command.help.splitlines()[0] == COMMANDS[name][1]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["retrian"], "No such command 'retrian'. Did you mean 'retrain'?; `btc --help` shows"),
        (["retrain", "--cel", "gru"], "No such option: --cel"),
        (["data", "shwo"], "No such command 'shwo'"),
        (["promote", "3"], "Missing option '--why'; `btc promote --help` shows"),
        (["models", "show"], "Missing argument '"),
        (["backtest", "--horizon", "week"], "Invalid value for '--horizon'"),
        (["backtest", "--jobs", "0"], "greater than or equal to 1"),
    ],
)
def test_wrong_usage_is_one_line(
    arguments: list[str],
    said: str,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(sys, "argv", ["btc", *arguments])
    with pytest.raises(SystemExit) as ended:
        main()
    shown = capsys.readouterr()
    assert (ended.value.code, shown.out) == (2, "")
    assert shown.err.startswith("btc: ") and said in shown.err
    assert shown.err.count("\n") == 1


def test_tensorflow_is_imported_after_its_settings_stand(tmp_path: Path) -> None:
    """Its arithmetic is chosen by the environment at import, and decides the last bits."""
    script = """
import os, sys
import flows.cli.app as cli
from tasks.storage.home import THREADS
class Watch:
    def find_spec(self, name, *_):
        if name == "tensorflow":
            print("oneDNN", os.environ.get("TF_ENABLE_ONEDNN_OPTS"))
            print("threads", {os.environ.get(name) for name in THREADS})
            sys.meta_path.remove(self)
sys.meta_path.insert(0, Watch())
def call(**_):
    import flows.retrain
cli.app = call
cli.main()
"""
    env = environment(tmp_path)
    for name in ("TF_ENABLE_ONEDNN_OPTS", *THREADS):
        env.pop(name, None)
    done = subprocess.run([sys.executable, "-c", script], env=env, capture_output=True, text=True)
    assert done.stdout == "oneDNN 0\nthreads {'1'}\n", done.stderr


@pytest.mark.parametrize("command", ["retrain", "forecast"])
def test_a_skipped_run_is_written_as_json_too(
    command: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def skip(*_: object, return_state: bool) -> State[Skipped]:
        assert return_state
        return Completed(data=Skipped(skipped="another one is at work"))

    monkeypatch.setattr(f"flows.{command}.{command}", skip)
    monkeypatch.setattr("flows.cli.console.start_temporary_server", lambda: None)
    path = tmp_path / "run.json"
    monkeypatch.setattr(sys, "argv", ["btc", command, "--source", "sample", "--json", str(path)])
    with pytest.raises(SystemExit) as ended:
        main()
    assert (ended.value.code, capsys.readouterr().out) == (0, "another one is at work\n")
    told = {"schema": 1, "skipped": "another one is at work", "done": False}
    assert json.loads(path.read_text()) == told
