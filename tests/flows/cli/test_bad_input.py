"""Bad input is one clear line and exit 2, and nothing is stored; each at the cheapest layer."""

from __future__ import annotations

import datetime as dt
import sys
from pathlib import Path

import pandas as pd
import pytest
from mlflow import MlflowClient

from flows.cli.app import main
from models.config.data import RepairPolicy
from models.config.flows import RetrainConfig
from models.data.sample import make_sample
from models.errors import InputError, LedgerError, RegistryError, SourceError
from models.records import CandlesRecord
from tasks.ingest import ingest
from tasks.storage.files import write_frame
from tasks.validate import validate
from tests.conftest import body
from tests.servers import btc, environment

DAY = dt.date(2024, 12, 31)
NOBODY = "http://127.0.0.1:9"


def complain(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, *arguments: str):
    """Run `btc retrain` in this process; returns its one line on stderr."""
    monkeypatch.setattr(sys, "argv", ["btc", "retrain", *arguments])
    with pytest.raises(SystemExit) as ended:
        main()
    said = capsys.readouterr()
    assert ended.value.code == 2, said.err
    assert said.out == ""
    lines = said.err.splitlines()
    assert len(lines) == 1 and lines[0].startswith("btc: ")
    return lines[0]


@pytest.mark.parametrize("failure", [SourceError, RegistryError, LedgerError])
def test_a_service_that_fails_is_one_line_and_exit_1(
    failure: type[Exception], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(**_: object) -> None:
        raise failure("it did not answer")

    monkeypatch.setattr("flows.cli.app.app", fail)
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == 1
    assert capsys.readouterr().err == "btc: it did not answer\n"


@pytest.fixture
def no_flow(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make sure that no flow begins."""

    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("the flow began")

    monkeypatch.setattr("flows.retrain.retrain", refuse)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--cell", "gruu"], ["unknown value 'gruu'", "did you mean 'gru'"]),
        (["--preset", "asignment"], ["unknown preset", "did you mean 'assignment'"]),
        (["--set", "untis=3"], ["unknown configuration key 'untis'", "did you mean 'units'"]),
        (["--set", "units=0"], ["recipe.units", "greater than or equal to 1", "received 0"]),
        (["--set", "test_share=0.000000001"], ["judging.test_share", "0.01"]),
        (["--set", "units"], ["expected KEY=VALUE"]),
        (["--as-of", "2024-02-30"], ["as_of", "2024-02-30"]),
        (["--as-of", "2999-01-01"], ["2999-01-01 has not closed", "earlier day"]),
        (["--source", "smaple"], ["unknown source 'smaple'", "did you mean 'sample'"]),
        (["--source", "BTC-USD.csv"], ["did you mean 'csv:BTC-USD.csv'"]),
        (["--source", "csv:none.csv"], ["no file 'none.csv'"]),
        (["--source", "csv:bad.csv"], ["bad.csv", "line 3", "soon"]),
        (["--set", "features=[log_retrun]"], ["'log_retrun'", "did you mean 'log_return'"]),
        (["--exogenous", "mood.csv"], ["exogenous.0", "expected NAME=PATH"]),
        (["--exogenous", "mood=no.csv"], ["exogenous mood", "no file 'no.csv': expected"]),
        (["--exogenous", "{name: mood, path: [}"], ["--exogenous: cannot read the value"]),
        (["--config", "missing.yaml"], ["no file 'missing.yaml'", "--config PATH"]),
        (["--json", "no/such/folder/x.json"], ["--json", "does not exist"]),
    ],
)
def test_what_is_wrong_from_the_start_is_said_at_once(
    capsys, monkeypatch, tmp_path, own_home, no_flow, arguments, words
):
    monkeypatch.chdir(tmp_path)
    Path("bad.csv").write_text("date,close\n2024-01-01,5\nsoon,5\n")
    line = complain(capsys, monkeypatch, *arguments)
    for word in words:
        assert word in line
    assert not own_home.exists() or list(own_home.iterdir()) == []


def test_a_home_that_cannot_be_written_is_named(capsys, monkeypatch, own_home, no_flow):
    own_home.write_text("a file stands in the way")
    line = complain(capsys, monkeypatch)
    assert "BTC_HOME: cannot write to" in line and "set BTC_HOME to a folder" in line
    assert own_home.read_text() == "a file stands in the way"


def test_a_tracking_server_that_does_not_answer_is_named(capsys, monkeypatch, own_home, no_flow):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", NOBODY)
    line = complain(capsys, monkeypatch)
    assert f"no MLflow server answers at {NOBODY}" in line
    assert list(own_home.iterdir()) == []


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (None, "no file"),
        (b"", "empty"),
        (b"date,open\n2024-01-01,5\n", "close"),
        (b"date,close\n2024-01-01,5\nsoon,5\n", "soon"),
        (b"date,close\n2024-01-01,5\n2024-01-02,five\n", "five"),
    ],
)
def test_a_file_that_is_no_candles_leaves_nothing(tmp_path, own_home, text, message):
    path = tmp_path / "x.csv"
    if text is not None:
        path.write_bytes(text)
    with pytest.raises(InputError, match=message) as error:
        body(ingest)(RetrainConfig(source=f"csv:{path}"), DAY)
    assert "\n" not in str(error.value)
    assert not own_home.exists()


def put(row: int, **values: float):
    return lambda frame: frame.assign(
        **{name: frame[name].where(frame.index != row, value) for name, value in values.items()}
    )


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda f: f.drop(index=range(10, 15)), "5 missing days: "),
        (lambda f: pd.concat([f, f.tail(1).assign(close=1.0)]), "duplicate days that disagree"),
        (lambda f: f.assign(open_time=f["open_time"] + pd.Timedelta(days=9)), "future dates"),
        (put(7, close=0.0), "close is 0 on "),
        (put(7, close=-1.0), "close is -1 on "),
        (put(7, close=float("nan")), "close is nan on "),
        (put(7, high=float("inf")), "high is inf on "),
        (put(7, high=1.0), "high < low on "),
    ],
)
def test_candles_that_cannot_be_right_leave_what_was_fetched_alone(
    tmp_path, damage, message, monkeypatch
):
    reports = []
    monkeypatch.setattr("tasks.validate.show_report", lambda found, repairs: reports.append(found))
    path = tmp_path / "candles.parquet"
    frame = damage(make_sample(DAY, n_days=100))
    write_frame(frame, path)
    record = CandlesRecord(path=path, label="x", synthetic=False, n_rows=len(frame))
    before = path.read_bytes()
    with pytest.raises(InputError, match=message) as error:
        body(validate)(record, RepairPolicy(), DAY, DAY)
    assert "\n" not in str(error.value)
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]
    [[shown]] = reports
    assert (shown.severity, shown.message) == ("error", str(error.value))


def test_too_few_rows_say_how_many_are_needed(run_stages, tiny_recipe):
    with pytest.raises(InputError, match="too few candles: 60 rows; ") as error:
        run_stages(make_sample(DAY, n_days=60), tiny_recipe())
    needed = int(str(error.value).partition("at least ")[2].partition(";")[0])
    run_stages(make_sample(DAY, n_days=needed), tiny_recipe())


def gap(frame: pd.DataFrame) -> pd.DataFrame:
    return frame.drop(index=range(10, 15))


def short(frame: pd.DataFrame) -> pd.DataFrame:
    """Enough for the network, not for the 250 days of naive's quantiles."""
    return frame.tail(260)


@pytest.mark.server
@pytest.mark.parametrize(
    ("damage", "message", "before"),
    [
        (gap, "5 missing days: ", ["ingest"]),
        (short, "too few candles", ["ingest", "validate", "snapshot", "recall"]),
    ],
)
def test_a_stage_that_refuses_its_input_ends_the_command(
    prefect_api, tmp_path, damage, message, before
):
    """The real command: one line after the lines of the stages that went well."""
    home, path = tmp_path / "state", tmp_path / "x.csv"
    home.mkdir()
    damage(make_sample(DAY)).rename(columns={"open_time": "date"}).to_csv(path, index=False)
    env = environment(home, PREFECT_API_URL=prefect_api)
    done = btc("retrain", "--source", f"csv:{path}", "--as-of", str(DAY), env=env, cwd=tmp_path)
    assert done.returncode == 2, done.stderr
    assert done.stdout == ""
    *stages, last = done.stderr.splitlines()
    assert last.startswith("btc: ") and message in last
    assert [line.split()[0] for line in stages] == before
    # No model, no report, and a run that was opened is failed; what is stored is whole: each
    # snapshot has its manifest.
    names = {found.name for found in home.iterdir()}
    assert "reports" not in names
    if "mlflow.db" in names:
        client = MlflowClient(f"sqlite:///{home / 'mlflow.db'}")
        experiments = [found.experiment_id for found in client.search_experiments()]
        runs = client.search_runs(experiments)
        assert [run.info.status for run in runs] == ["FAILED"] * ("recall" in before)
        assert list(client.search_registered_models()) == []
    assert ("snapshots" in names) == ("snapshot" in before)
    for snapshot in home.glob("snapshots/*"):
        files = {found.name for found in snapshot.iterdir()}
        assert files == {"candles.parquet", "manifest.json"}
    assert not list(home.glob("work/*"))


def test_the_real_command_answers_at_once_and_without_a_trace(tmp_path: Path) -> None:
    home = tmp_path / "state"
    env = environment(home, MLFLOW_TRACKING_URI=NOBODY)
    done = btc("retrain", env=env, cwd=tmp_path)
    assert (done.returncode, done.stdout) == (2, "")
    assert len(done.stderr.splitlines()) == 1
    assert done.stderr.startswith("btc: MLFLOW_TRACKING_URI: no MLflow server answers")
    assert list(home.rglob("*.db")) == []
