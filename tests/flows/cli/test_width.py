"""What commands print on a terminal of 80 and of 60 columns, and what they print elsewhere."""

from __future__ import annotations

import logging
import os
import pty
import re
import subprocess
import sys
from io import StringIO
from pathlib import Path

import pytest
from rich.console import Console

import flows.cli.show as show
from flows.cli.console import StageLines
from flows.cli.tables import fit_table
from models.reporting.summaries import ForecastSummary
from tests.flows import states
from tests.flows.cli.test_console import FORECAST
from tests.servers import BIN, environment

WIDTHS = pytest.mark.parametrize("width", [80, 60])
ROWS = [
    {
        "target_date": f"2025-01-0{day}",
        "median": 93_400.0,
        "low_50": 93_400.0 - 800 * day,
        "high_50": 93_400.0 + 800 * day,
        "low_90": 93_400.0 - 2_000 * day,
        "high_90": 93_400.0 + 2_100 * day,
        "p_up": 0.5,
        "p_move_5": 0.11,
        "p_below": 0.1,
    }
    for day in range(1, 8)
]
COLOUR = re.compile(r"\x1b\[[0-9;]*3[0-9][0-9;]*m")


def lines_of(console: Console) -> list[str]:
    return console.file.getvalue().splitlines()  # type: ignore[attr-defined]


def terminal(width: int) -> Console:
    return Console(file=StringIO(), width=width, force_terminal=True, color_system=None)


@WIDTHS
def test_a_forecast_fits_with_whole_days_and_a_chart(
    width: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    console = terminal(width)
    monkeypatch.setattr(show, "open_console", lambda: console)
    facts = FORECAST | {"rows": ROWS, "below_usd": 90_000.0}
    show.print_forecast(ForecastSummary.model_validate(facts))
    lines = lines_of(console)
    assert max(map(len, lines)) <= width
    for row in ROWS:
        # In the table, and at its line of the chart.
        assert sum(line.startswith(str(row["target_date"])) for line in lines) == 2
    drawn = [line for line in lines if "┃" in line and line.startswith("2025")]
    spans = [len(line[12:].strip()) for line in drawn]
    assert spans == sorted(spans) and spans[0] < spans[-1] and len(drawn) == 7
    assert "< 90.0k" in "".join(lines)


def test_no_chart_goes_into_a_file() -> None:
    assert show.draw_bands(tuple(ROWS), Console(file=StringIO(), width=80)) == []


@WIDTHS
def test_a_table_drops_columns_and_cuts_no_cell(width: int) -> None:
    console = terminal(width)
    names = ["day", "a long name", "a name that is long", "third", "why"]
    rows = [["2024-12-31", "123.45", "6,789.01", "yes", "because of this and of that " * 3]] * 2
    console.print(fit_table(console, names, rows, drop=("a name that is long",), wraps="why"))
    text = "\n".join(lines_of(console))
    assert max(map(len, text.splitlines())) <= width
    assert "…" not in text and text.count("2024-12-31") == 2 and "123.45" in text
    assert ("6,789.01" in text) == (width == 80)


@WIDTHS
def test_models_and_a_version_fit(
    width: int, one_day: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", str(width))
    for command in (("models",), ("models", "show", "1"), ("data", "snapshots")):
        printed = states.btc(*command)
        assert max(map(len, printed.splitlines())) <= width, printed
        assert str(states.date(0)) in printed and "…" not in printed


def run_on_terminal(home: Path, *arguments: str, **more: str) -> str:
    """What a command writes on a terminal of its own."""
    ours, theirs = pty.openpty()
    env = environment(home, TERM="xterm-256color", COLUMNS="60", **more)
    process = subprocess.Popen(
        [str(BIN / "btc"), *arguments], env=env, stdout=theirs, stderr=theirs
    )
    os.close(theirs)
    parts = []
    try:
        while part := os.read(ours, 65536):
            parts.append(part)
    except OSError:  # The terminal's end, on Linux.
        pass
    os.close(ours)
    assert process.wait(30) == 0
    return b"".join(parts).decode()


def test_presets_fit_a_terminal_and_no_color_is_heard(tmp_path: Path) -> None:
    shown = run_on_terminal(tmp_path, "presets")
    plain = run_on_terminal(tmp_path, "retrain", "--help", NO_COLOR="1")
    assert COLOUR.search(run_on_terminal(tmp_path, "retrain", "--help"))
    assert not COLOUR.search(plain)
    for text in (shown, plain):
        lines = re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", text).splitlines()
        assert max(map(len, lines)) <= 60


@pytest.mark.parametrize(
    ("words", "offered"),
    [("btc ret", "retrain"), ("btc retrain --pre", "--preset"), ("btc models sh", "show")],
)
def test_the_shell_completes(tmp_path: Path, words: str, offered: str) -> None:
    more = {"_BTC_COMPLETE": "complete_bash", "COMP_WORDS": words}
    env = environment(tmp_path, **more, COMP_CWORD=str(len(words.split()) - 1))
    done = subprocess.run([str(BIN / "btc")], env=env, capture_output=True, text=True)
    assert done.stdout.splitlines() == [offered], done.stderr


def stage_record(text: str, progress: tuple[int, int] | None = None) -> logging.LogRecord:
    record = logging.LogRecord("x", logging.INFO, "", 0, text, (), None)
    record.stage, record.progress = "fold", progress
    return record


def test_a_stage_is_one_plain_line_in_a_file_and_wraps_on_a_terminal(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    text = "decide      3.7 s  " + "word " * 30
    StageLines().emit(stage_record(text, (1, 2)))
    assert capsys.readouterr().err == text + "\n"
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    monkeypatch.setenv("COLUMNS", "60")
    lines = StageLines()
    lines.emit(stage_record(text))
    shown = capsys.readouterr().err.splitlines()
    assert max(map(len, shown)) <= 60 and all(line.startswith(" " * 20) for line in shown[1:])
    for done in (1, 2):
        lines.emit(stage_record("fold        1.0 s  gru, part 1", (done, 2)))
        assert (lines.bar is None) == (done == 2)
    assert capsys.readouterr().err.count("gru, part 1") == 2
