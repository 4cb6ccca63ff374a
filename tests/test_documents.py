"""Every command of the documents: what is asked is known, and what is short is run.

Of every `btc` line in a block marked `sh` the options, their values and the keys of --set are
checked as the command itself checks them, without running it. Those that only look are run on a
state folder. docs/operations.md is run whole, by tests/tasks/service/test_up.py and
tests/deploy/test_automations.py.
"""

from __future__ import annotations

import re
import runpy
import shlex
import subprocess
from pathlib import Path

import pytest
from prefect.settings import PREFECT_API_URL, temporary_settings
from typer.testing import CliRunner

from flows.cli.app import COMMANDS, app, load_command
from flows.cli.options import gather
from models.config.flows import RetrainConfig, TuneConfig
from models.config.overrides import make_config
from tests.flows import states
from tests.servers import BIN, REPO, environment
from tests.simulation.days import write_candles

PAGES = [REPO / "README.md", REPO / "CONTRIBUTING.md", *sorted((REPO / "docs").glob("*.md"))]
# First words of lines in `sh` blocks that are not ours.
OTHERS = {
    "make",
    "dask",
    "prefect",
    ".",
    "export",
    "docker",
    "cp",
    "git",
    "mlflow",
    "python",
    "sed",
}
# What changes nothing that is looked at, and ends in a second.
LOOKS = (
    "btc presets", "btc models", "btc models show 1", "btc models --json", "btc ledger",
    "btc ledger --json", "btc ledger export forecasts.csv", "btc report", "btc report --history",
    "btc data check csv:BTC-USD.csv",
)  # fmt: skip


def block_lines(page: Path) -> list[str]:
    blocks = re.findall(r"```sh\n(.*?)```", page.read_text(encoding="utf-8"), flags=re.DOTALL)
    lines = [line.strip() for block in blocks for line in block.splitlines()]
    return [line for line in lines if line and not line.startswith("#")]


LINES = sorted({(page.name, line) for page in PAGES for line in block_lines(page)})
OURS = [(page, line) for page, line in LINES if line.startswith("btc ")]


def words_of(line: str) -> list[str]:
    return shlex.split(line, comments=True)


@pytest.mark.parametrize(("page", "line"), OURS)
def test_a_command_asks_for_what_there_is(page: str, line: str, tmp_path: Path) -> None:
    _, name, *arguments = words_of(line)
    command = load_command(name)
    while arguments and (inner := getattr(command, "commands", {}).get(arguments[0])):
        command, arguments = inner, arguments[1:]
    with command.make_context(name, list(arguments)) as context:
        given = {key: value for key, value in context.params.items() if value is not None}
    kind = TuneConfig if name == "tune" else RetrainConfig
    if "assignments" in context.params:
        known = ("source", "as_of", "cell", "preset", "exogenous")
        keys = {key: given[key] for key in known if given.get(key)}
        make_config(gather(keys, None), list(given.get("assignments") or ()), kind)


def test_every_other_line_begins_with_a_known_word_and_make_knows_its_target(
    tmp_path: Path,
) -> None:
    targets = set(re.findall(r"^([a-z]+):", (REPO / "Makefile").read_text(), flags=re.MULTILINE))
    for page, line in LINES:
        first, *rest = words_of(line)
        assert first in {"btc", *OTHERS}, (page, line)
        assert first != "make" or rest[0] in targets, (page, line)


def test_every_command_is_in_the_documents() -> None:
    text = "\n".join(page.read_text(encoding="utf-8") for page in PAGES)
    assert [name for name in COMMANDS if f"btc {name}" not in text] == []


def test_inline_commands_exist() -> None:
    for page in PAGES:
        for code in re.findall(r"`btc ([^`]+)`", page.read_text(encoding="utf-8")):
            name = code.split()[0]
            assert name in {*COMMANDS, "COMMAND"} or name.startswith("-"), (page.name, code)


@pytest.mark.server
def test_what_only_looks_is_run(
    prefect_api: str, own_home: Path, shared_root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert set(LOOKS) <= {" ".join(["btc", *words_of(line)[1:]]) for _, line in OURS}
    made = states.share("one-day", states.make_one_day, prefect_api, shared_root)
    states.copy_state(made, own_home)
    write_candles(own_home, 0).rename(own_home / "BTC-USD.csv")
    monkeypatch.chdir(own_home)
    with temporary_settings({PREFECT_API_URL: prefect_api}):
        for line in LOOKS:
            done = CliRunner().invoke(app, words_of(line)[1:], catch_exceptions=False)
            assert done.exit_code == 0 and done.output, (line, done.output)


def test_the_site_builds_and_asks_nothing_of_the_network(tmp_path: Path) -> None:
    site = tmp_path / "site"
    command = [str(BIN / "mkdocs"), "build", "--strict", "--quiet", "--site-dir", str(site)]
    done = subprocess.run(
        command, cwd=REPO, env=environment(tmp_path), capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout + done.stderr
    pages = {path.stem for path in site.glob("*.html")}
    assert {path.stem for path in (REPO / "docs").glob("*.md")} <= pages
    loads = re.compile(r"<(?:script|img|link|iframe|source)[^>]*(?:src|href)=\"?(?:https?:)?//")
    for page in site.glob("*.html"):
        assert loads.search(page.read_text(encoding="utf-8")) is None, page.name
    styles = "".join(path.read_text(encoding="utf-8") for path in site.rglob("*.css"))
    assert re.search(r"url\(\"?(?:https?:)?//", styles) is None


def test_the_page_of_keys_and_variables_is_that_of_the_code():
    page = (REPO / "docs" / "configuration.md").read_text(encoding="utf-8")
    assert page == runpy.run_path(str(REPO / "docs" / "configuration.py"))["describe_keys"]()
    code = [path for room in ("models", "tasks", "flows") for path in (REPO / room).rglob("*.py")]
    read = {name for path in code for name in re.findall(r'"(BTC_[A-Z_]+)"', path.read_text())}
    assert read and all(f"`{name}`" in page for name in read)
