"""Nothing stored is believed unchecked: a flipped bit changes nothing, or is refused."""

from __future__ import annotations

import io
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from mlflow.entities.model_registry import ModelVersion, ModelVersionTag

from models.data.candles import digest_candles
from models.errors import InputError
from models.forecasters.forecaster import Forecaster
from models.records import FoldUnit, SnapshotRecord
from tasks.compare import _read_unit
from tasks.fold import fold
from tasks.registry.model_files import digest_model, load_version
from tasks.registry.versions import SERVING
from tasks.service.life import home_id
from tasks.storage.candle_store import CandleStore
from tasks.storage.files import read_frame, write_frame
from tasks.storage.sealed import Damaged, read_sealed, write_sealed
from tasks.storage.snapshots import is_intact, read_candles
from tests.conftest import body
from tests.replay.market import made_candles, table_of

FRAME = made_candles("2022-01-01", 300)


def flipped(data: bytes, chance: random.Random) -> bytes:
    at = chance.randrange(len(data))
    changed = bytearray(data)
    changed[at] ^= 1 << chance.randrange(8)
    return bytes(changed)


def count_flips(path: Path, read: Callable[[], pd.DataFrame], n: int, seed: int) -> tuple[int, int]:
    """How many of n flips were refused, and how many changed what is read in silence."""
    chance, whole, true = random.Random(seed), path.read_bytes(), read()
    refused = silent = 0
    for _ in range(n):
        path.write_bytes(flipped(whole, chance))
        try:
            found = read()
        except InputError as error:
            assert "\n" not in str(error)
            assert str(path.parent) in str(error) or "btc-usd version 1: its files" in str(error)
            refused += 1
        else:
            silent += not found.equals(true)
    path.write_bytes(whole)
    return refused, silent


def snapshot_of(folder: Path) -> SnapshotRecord:
    days = FRAME["open_time"].dt.date
    return SnapshotRecord(
        folder=folder, sha256=digest_candles(FRAME), symbol="BTC/USD", source="x",
        synthetic=False, n_rows=300, first_day=days.iloc[0], as_of=days.iloc[-1],
    )  # fmt: skip


def save_version(forecaster: Forecaster, folder: Path) -> ModelVersion:
    """A version whose files are in a folder, as MLflow hands it out."""
    (folder / "artifacts" / SERVING).mkdir(parents=True)
    forecaster.save(folder / "artifacts" / SERVING)
    (folder / "MLmodel").write_text("flavors: {}")
    tags = [ModelVersionTag("model_sha256", digest_model(folder))]
    return ModelVersion("btc-usd", "1", 0, source=str(folder), tags=tags)


@pytest.mark.slow
def test_a_thousand_flipped_bits_change_nothing_in_silence(
    tmp_path: Path, fitted: Callable[..., Any]
) -> None:
    store = CandleStore("exchange:x", "BTC/USD", str(tmp_path / "candles"))
    table = table_of(FRAME)
    store.write(table, table.slice(0, 0))
    [year] = map(Path, store.years())
    snapshot = snapshot_of(tmp_path / "snapshot")
    write_frame(FRAME, snapshot.candles_path)
    scores = tmp_path / "scores.parquet"
    rng = np.random.default_rng(1)
    write_frame(
        pd.DataFrame({"model": ["gru"] * 400, "step": range(400), "q0.5": rng.normal(size=400)}),
        scores,
    )
    unit = tmp_path / "unit.npz"
    with unit.open("wb") as file:
        np.savez(file, quantiles=rng.normal(size=(40, 3, 9)))
    version = save_version(fitted()[1], tmp_path / "model")
    weights = next(tmp_path.rglob("weights.npz"))

    def read_weights() -> pd.DataFrame:
        loaded = load_version(version).network.get_weights()
        return pd.DataFrame({"w": np.concatenate([array.ravel() for array in loaded])})

    readers: list[tuple[Path, Callable[[], pd.DataFrame]]] = [
        (year, lambda: store.read().to_pandas()),
        (snapshot.candles_path, lambda: read_candles(snapshot)),
        (scores, lambda: read_frame(scores)),
        (unit, lambda: pd.DataFrame(_read_unit(unit).reshape(40, -1))),
        (weights, read_weights),
    ]
    for seed, (path, read) in enumerate(readers):
        refused, silent = count_flips(path, read, 200, seed)
        assert silent == 0, path
        assert refused > 120, path
    assert count_flips(weights.with_name("recipe.json"), read_weights, 50, 7) == (50, 0)


def test_a_seal_shows_changed_values_names_and_types() -> None:
    table = table_of(FRAME)
    data = write_sealed(table)
    assert read_sealed(data)[0].equals(table, check_metadata=True)
    meta = pq.read_table(pa.BufferReader(data)).schema.metadata
    for changed in (
        table.set_column(1, "open", table["close"]),
        table.rename_columns(["open_time", "close", "high", "low", "open", "volume"]),
        table.slice(1),
    ):
        sink = io.BytesIO()
        pq.write_table(changed.replace_schema_metadata(meta), sink)
        with pytest.raises(Damaged, match="not those that were written"):
            read_sealed(sink.getvalue())


def test_files_of_earlier_releases_are_read_and_written_again(tmp_path: Path) -> None:
    store = CandleStore("exchange:x", "BTC/USD", str(tmp_path))
    table = table_of(FRAME)
    store.write(table, table.slice(0, 0))
    [year] = map(Path, store.years())
    pq.write_table(table, year)
    old = year.read_bytes()
    again = CandleStore("exchange:x", "BTC/USD", str(tmp_path))
    stored = again.read()
    assert stored.equals(table)
    again.write(stored, stored)
    assert year.read_bytes() != old and read_sealed(year.read_bytes())[1]
    before = year.stat().st_mtime_ns
    again.write(again.read(), stored)
    assert year.stat().st_mtime_ns == before
    FRAME.to_parquet(tmp_path / "old.parquet", index=False)
    pd.testing.assert_frame_equal(read_frame(tmp_path / "old.parquet"), FRAME)


def test_a_damaged_snapshot_is_refused_and_made_again(tmp_path: Path) -> None:
    record = snapshot_of(tmp_path)
    write_frame(FRAME.assign(close=FRAME["close"] + 0.01), record.candles_path)
    with pytest.raises(InputError, match=r"is damaged .*`btc retrain` makes it again"):
        read_candles(record)
    assert not is_intact(record)
    write_frame(FRAME, record.candles_path)
    pd.testing.assert_frame_equal(read_candles(record), FRAME)
    assert is_intact(record)


def test_a_fold_reads_no_snapshot_that_was_changed(tmp_path: Path) -> None:
    record = snapshot_of(tmp_path)
    unit = FoldUnit(
        name="naive", number=1, recipe=None, spans=((0, 291, 290, 295),), horizon=2, refit_days=30,
        seed=7, snapshot=record, path=tmp_path / "naive.npz",
        home=home_id(),
    )  # fmt: skip
    # As an earlier release stored it: without a seal of its own.
    FRAME.assign(close=FRAME["close"] + 0.01).to_parquet(record.candles_path, index=False)
    with pytest.raises(InputError, match=r"is damaged .*`btc retrain` makes it again"):
        body(fold)(unit)
    FRAME.to_parquet(record.candles_path, index=False)
    with pytest.raises(InputError, match="expected at least 532 candles"):
        body(fold)(unit)  # The right ones are read, and are too few.


def test_a_worker_with_another_folder_of_state_refuses_a_fold(tmp_path: Path) -> None:
    unit = FoldUnit(
        name="naive", number=1, recipe=None, spans=((0, 291, 290, 295),), horizon=2, refit_days=30,
        seed=7, snapshot=snapshot_of(tmp_path), path=tmp_path / "naive.npz", home="another's",
    )  # fmt: skip
    unit.path.touch()  # Nor is what lies there under the same name its work.
    with pytest.raises(InputError, match=r"same BTC_HOME on a shared disk$"):
        body(fold)(unit)
