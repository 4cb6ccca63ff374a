"""Start: where the weights come from, drawn anew or an earlier version's."""

from __future__ import annotations

import datetime as dt

from models.config import RetrainConfig
from models.naming import model_name
from models.records import ScaledRecord, SnapshotRecord, StartRecord
from models.warm_start import check_fit, check_no_later
from tasks.files import read_frame, whole_folder
from tasks.model_files import JUDGED, SERVING, judged_until, load_version
from tasks.registry import find_named
from tasks.scaling import read_scaled
from tasks.stage import stage
from tasks.tracking import connect


@stage("start", retries=3)
def find_start(
    config: RetrainConfig, snapshot: SnapshotRecord, scaled: ScaledRecord
) -> StartRecord:
    """Find the version to go on from, check it, and keep its two networks in the work folder.

    The judged network goes on from the judged one, which ended before the parent's test days, and
    the serving one from the serving one: so no weight has seen a day that it is judged on.
    """
    days = read_frame(snapshot.candles_path)["open_time"]
    # The first test origin's own close is the last that the judged network may learn from.
    newest = days.iloc[read_scaled(scaled.folder).fold.test.start].date()
    if not config.recipe.warm_start:
        return StartRecord(judged_until=newest)
    name = model_name(config.symbol, snapshot.synthetic)
    version = find_named(connect(), name, config.recipe.warm_start)
    label = f"{name} version {version.version}"
    check_no_later(label, "judged", judged_until(version), newest)
    as_of = dt.date.fromisoformat(version.tags["as_of"])
    check_no_later(label, "serving", as_of, snapshot.as_of)
    folder = scaled.folder.with_name("start")
    with whole_folder(folder) as temporary:
        for part in (JUDGED, SERVING):
            parent = load_version(version, part)
            check_fit(config.recipe, scaled.features_used, parent, label)
            (temporary / part).mkdir()
            parent.save(temporary / part)
    return StartRecord(judged_until=newest, version=str(version.version), folder=folder)
