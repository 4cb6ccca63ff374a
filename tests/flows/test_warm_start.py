"""Warm starts over some days: where weights come from, what is kept of it, what is refused.

The tests tell one story, in the order of the file, on one state folder.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
from mlflow import MlflowClient
from prefect.runtime import flow_run
from prefect.settings import PREFECT_API_URL, temporary_settings

from flows.retrain import retrain
from models.config import Judging, RetrainConfig
from models.errors import InputError
from models.sample import make_sample
from models.twin import fit_serving, predict_twin
from tasks.files import read_frame
from tasks.model_files import JUDGED, SERVING, load_version
from tasks.registry import find_version, version_facts
from tests.simulation.days import FIRST_DAY, NAME, write_candles

pytestmark = pytest.mark.server

# Default head and training, small.
RECIPE = {
    "units": 3, "members": 2, "lookback": 5, "horizon": 2, "chunk_days": 20, "epochs": 1,
    "updates_per_epoch": 5, "features": ["log_return", "log_volatility"],
}  # fmt: skip
WARM = RECIPE | {"warm_start": "champion"}
FROM_4 = RECIPE | {"warm_start": "4"}

Run = Callable[..., dict[str, Any]]


@pytest.fixture(scope="module")
def state(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("warm")


@pytest.fixture(autouse=True)
def same_home(
    own_home: Path, state: Path, prefect_api: str, monkeypatch: pytest.MonkeyPatch
) -> Iterator[None]:
    monkeypatch.setenv("BTC_HOME", str(state))
    with temporary_settings({PREFECT_API_URL: prefect_api}):
        yield


@pytest.fixture
def run(state: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Retrain as on day `day`, with the candles up to it."""

    def call(day: int, recipe: dict[str, Any], **more: Any) -> dict[str, Any]:
        clock = dt.datetime.combine(
            FIRST_DAY + dt.timedelta(day + 1), dt.time(0, 20), tzinfo=dt.UTC
        )
        monkeypatch.setattr(flow_run, "scheduled_start_time", clock, raising=False)
        values = {"source": f"csv:{write_candles(state, day)}", "recipe": recipe, **more}
        # So little training differs from day to day; that is not what is tested here.
        values["promotion"] = {"refresh_margin": 1.0, "coverage_significance": 1e-9}
        return retrain(RetrainConfig.model_validate(values))

    return call


@pytest.fixture
def client(state: Path) -> MlflowClient:
    uri = f"sqlite:///{state / 'mlflow.db'}"
    return MlflowClient(uri, uri)


def test_without_the_version_named_nothing_begins(run: Run) -> None:
    for which in ("champion", "challenger"):
        with pytest.raises(InputError, match=f"{NAME} has no {which} yet"):
            run(0, RECIPE | {"warm_start": which})
    with pytest.raises(InputError, match=f"{NAME} has no version '7'"):
        run(0, RECIPE | {"warm_start": "7"})


def test_a_cold_version_keeps_both_networks_and_says_what_the_judged_one_may_know(
    run: Run, client: MlflowClient
) -> None:
    run(0, RECIPE)
    version = find_version(client, NAME, "1")
    assert "warm_start" not in version.tags
    assert version_facts(version, {})["warm_start"] is None
    serving, judged = load_version(version), load_version(version, JUDGED)
    ours, theirs = serving.network.get_weights(), judged.network.get_weights()
    assert not any(np.array_equal(a, b) for a, b in zip(ours, theirs, strict=True))
    # 600 days, the last 15 % of the origins are tested: known long before `as_of`.
    assert dt.date(2026, 6, 1) < dt.date.fromisoformat(version.tags["judged_until"])
    assert dt.date.fromisoformat(version.tags["judged_until"]) < dt.date(2026, 8, 1)


def test_a_warm_version_goes_on_from_it_and_records_it(run: Run, client: MlflowClient) -> None:
    summary = run(1, WARM)
    version = find_version(client, NAME, "2")
    assert version.tags["warm_start"] == "1"
    assert version_facts(version, {})["warm_start"] == "1"
    logged = client.get_run(summary["run_id"])
    assert logged.data.tags["warm_start"] == "1"
    assert logged.data.params["recipe.warm_start"] == "champion"
    # Judged like another recipe: a cold champion's place is not taken without evidence.
    assert summary["decision"]["action"] in ("keep", "promote", "reject")


def test_each_network_goes_on_from_its_own_parent(
    run: Run, client: MlflowClient, state: Path
) -> None:
    version, parent = (find_version(client, NAME, number) for number in ("2", "1"))
    (folder,) = (state / "snapshots").glob(f"{version.tags['snapshot_sha256'][:8]}*")
    candles = read_frame(folder / "candles.parquet")
    recipe = load_version(version).recipe

    def same(left: keras.Model, right: keras.Model) -> bool:
        pairs = zip(left.get_weights(), right.get_weights(), strict=True)
        return all(np.array_equal(a, b) for a, b in pairs)

    serving = fit_serving(recipe, candles, lambda *_: None, start=load_version(parent).network)[0]
    assert same(load_version(version).network, serving.network)
    # What was judged are the predictions of a twin of the judged parent, not of the serving one.
    ours = read_frame(Path(run(1, WARM)["artifacts"]["predictions"]))
    ours = ours[ours["model"] == recipe.name].reset_index(drop=True)
    for part, expected in ((JUDGED, True), (SERVING, False)):
        start = load_version(parent, part).network
        theirs = predict_twin(recipe, candles, Judging(), start=start)
        assert np.array_equal(ours["q0.5"], theirs["q0.5"]) is expected


def test_the_same_parent_gives_the_same_bits(run: Run, client: MlflowClient) -> None:
    # By number it is another configuration, hence another version, of the same weights.
    run(1, RECIPE | {"warm_start": 1})
    candles = make_sample(FIRST_DAY + dt.timedelta(days=1), n_days=601)
    for part in (SERVING, JUDGED):
        both = [load_version(find_version(client, NAME, n), part) for n in ("2", "3")]
        ours, theirs = (found.predict(candles).quantiles for found in both)
        assert ours.tobytes() == theirs.tobytes()
        parent = load_version(find_version(client, NAME, "1"), part).predict(candles).quantiles
        assert not np.array_equal(ours, parent)


def test_a_retrain_that_was_done_is_not_done_again(run: Run, client: MlflowClient) -> None:
    assert run(1, WARM)["model_version"] == "2"


def test_a_warm_champion_is_judged_by_a_warm_twin(
    run: Run, client: MlflowClient, state: Path
) -> None:
    client.set_registered_model_alias(NAME, "champion", "2")
    assert run(2, WARM)["decision"]["action"] == "refresh"
    assert find_version(client, NAME, "4").tags["warm_start"] == "2"
    before = set((state / "twins").iterdir())
    summary = run(2, RECIPE | {"units": 2})
    assert "shared origins" in " ".join(summary["decision"]["reasons"])
    new = {path.name.partition("-from-")[2] for path in set((state / "twins").iterdir()) - before}
    assert new == {"", "4.parquet"}


def test_weights_that_do_not_fit_or_know_too_much_are_refused(
    run: Run, client: MlflowClient
) -> None:
    n_versions = len(client.search_model_versions(f"name = '{NAME}'"))
    with pytest.raises(InputError, match="version 4 has units 3, not 4: its weights do not fit"):
        run(3, FROM_4 | {"units": 4})
    with pytest.raises(InputError, match=r"version 4 has features .*its weights do not fit"):
        run(3, FROM_4 | {"features": ["log_volatility"]})
    with pytest.raises(InputError, match=r"the judged weights of .* version 4 know the days up to"):
        run(1, FROM_4)
    # More test days: the parent's judged network has learned from some of them.
    with pytest.raises(InputError, match=r"the judged weights of .* version 4 know the days up to"):
        run(3, FROM_4, judging={"test_share": 0.3})
    # Fewer of them allow the judged weights, but not the serving ones, which know day 2.
    with pytest.raises(
        InputError, match=r"the serving weights of .* version 4 know the days up to"
    ):
        run(1, FROM_4, judging={"test_share": 0.1})
    client.delete_model_version_tag(NAME, "4", "judged_until")
    with pytest.raises(InputError, match="did not keep the network that was judged"):
        run(3, FROM_4)
    assert len(client.search_model_versions(f"name = '{NAME}'")) == n_versions
