"""The walk-forward backtest: recipes and baselines, fold by fold, scored on what came."""

from __future__ import annotations

from prefect import flow, get_run_logger
from prefect.futures import as_completed
from prefect.runtime import flow_run

from flows.run_names import name_backtest
from models.config.flows import BacktestConfig
from models.data.calendar import newest_closed_day, resolve_as_of
from models.records import FoldRecord, PlanRecord, seconds_by_model, seconds_by_stage
from models.reporting.summaries import BacktestSummary, summarize_backtest
from tasks.compare import compare
from tasks.fold import fold
from tasks.ingest import ingest
from tasks.log_backtest import log_backtest
from tasks.plan import plan
from tasks.registry.connection import check_tracking
from tasks.snapshot import snapshot
from tasks.storage.home import check_home
from tasks.storage.work import discarded_after
from tasks.validate import validate


@flow(name="backtest", flow_run_name=name_backtest)
def backtest(config: BacktestConfig = BacktestConfig()) -> BacktestSummary:  # noqa: B008
    """Forecast every day of a stretch as if it were live, and return the summary of the scores."""
    check_home()
    check_tracking()
    newest_closed = newest_closed_day(flow_run.scheduled_start_time)
    as_of = resolve_as_of(config.end, newest_closed)

    candles = ingest(config, as_of)
    with discarded_after(candles.path.parent):
        checked = validate(candles, config.repair, as_of, newest_closed, config.exogenous)
        snapped = snapshot(candles, checked, config.symbol)
    planned = plan(config, snapped)
    parts = forecast_folds(planned)
    compared = compare(config, snapped, planned, parts)
    logged = log_backtest(config, snapped, compared)
    seconds = seconds_by_stage(
        ingest=candles,
        validate=checked,
        snapshot=snapped,
        plan=planned,
        compare=compared,
        log=logged,
    )
    return summarize_backtest(config, snapped, compared, logged, seconds, seconds_by_model(parts))


def forecast_folds(planned: PlanRecord) -> list[FoldRecord]:
    """Forecast every unit of work, side by side, and tell each as it ends; in the plan's order."""
    futures = [fold.submit(unit) for unit in planned.units]
    for number, future in enumerate(as_completed(futures), 1):
        done = future.result()
        line = f"fold      {done.seconds:5.1f} s  {done}"
        get_run_logger().info(line, extra={"stage": "fold", "progress": (number, len(futures))})
    return [future.result() for future in futures]
