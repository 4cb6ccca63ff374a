"""The search for a better recipe, on days before the ones that judge it."""

from __future__ import annotations

from prefect import flow
from prefect.runtime import flow_run

from flows.run_names import name_tune
from models.config.flows import TuneConfig
from models.data.calendar import newest_closed_day, resolve_as_of
from models.naming import model_name
from models.records import seconds_by_stage
from models.reporting.summaries import Skipped
from models.reporting.tune_summary import StudyRecord, TuneSummary, summarize_tuning
from tasks.ingest import ingest
from tasks.preflight import check_request
from tasks.registry.runs import ended
from tasks.snapshot import snapshot
from tasks.storage.lock import hold
from tasks.storage.work import discarded_after
from tasks.study import study
from tasks.trial import trial
from tasks.validate import validate
from tasks.winner import winner


@flow(name="tune", flow_run_name=name_tune)
def tune(config: TuneConfig = TuneConfig()) -> TuneSummary | Skipped:  # noqa: B008
    """Try recipes on days before the first test day, and return the summary with the best one.

    A search that was cut off goes on where it stopped. Where one of the same symbol is at work,
    it says so (`skipped`) and ends.
    """
    check_request(config)
    newest_closed = newest_closed_day(flow_run.scheduled_start_time)
    as_of = resolve_as_of(config.as_of, newest_closed)
    with hold(f"{model_name(config.symbol, synthetic=False)}-tune") as mine:
        if not mine:
            return Skipped(skipped=f"another tuning of {config.symbol} is at work; this one ends")
        candles = ingest(config, as_of)
        with discarded_after(candles.path.parent):
            checked = validate(candles, config.repair, as_of, newest_closed, config.exogenous)
            snapped = snapshot(candles, checked, config.symbol)
        begun = study(config, snapped)
        with ended(begun.run_id):
            tried = try_recipes(config, begun)
            best = winner(config, begun)
    seconds = seconds_by_stage(
        ingest=candles, validate=checked, snapshot=snapped, study=begun, winner=best
    )
    return summarize_tuning(config, snapped, begun, best, {**seconds, "trials": tried})


def try_recipes(config: TuneConfig, begun: StudyRecord) -> float:
    """Make the trials that are missing, one after the other; returns the seconds they took."""
    return sum(trial(config, begun, number).seconds for number in begun.missing)
