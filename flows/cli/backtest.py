"""`btc backtest`: options to one configuration, the flow, and its table."""

from __future__ import annotations

import datetime as dt
import os
from typing import TYPE_CHECKING, Annotated, Any

import typer

from flows.cli.interrupt import shield_children
from flows.cli.options import (
    AddressOption,
    DateOrderOption,
    ExogenousOption,
    JsonFileOption,
    RunnerOption,
    SymbolOption,
    check_writable,
    split_names,
    write_json,
)
from models.config.flows import BASELINE_NAMES, BacktestConfig, Workers
from models.config.recipe import PRESETS
from models.errors import InputError

if TYPE_CHECKING:
    from models.reporting.summaries import BacktestSummary, StepScores

DEFAULTS = BacktestConfig()


def backtest(
    source: Annotated[
        str, typer.Option(help="Where candles come from, as in retrain: sample or csv:PATH.")
    ] = DEFAULTS.source,
    symbol: SymbolOption = DEFAULTS.symbol,
    start: Annotated[
        str | None, typer.Option(help="First day that is forecast, YYYY-MM-DD; default: 2 years.")
    ] = None,
    end: Annotated[
        str | None, typer.Option(help="Last day that is forecast; default: the newest candle's.")
    ] = None,
    refit_days: Annotated[
        int, typer.Option(help="Days from one fit of the recipes to the next.")
    ] = DEFAULTS.refit_days,
    rolling_days: Annotated[
        int | None, typer.Option(help="Days that a fit looks back; default: all of them.")
    ] = None,
    recipes: Annotated[
        str, typer.Option(help=f"Recipes, comma between: {', '.join(PRESETS)}; or none.")
    ] = ",".join(DEFAULTS.recipes),
    baselines: Annotated[
        str, typer.Option(help=f"Baselines, comma between: {', '.join(BASELINE_NAMES)}; or none.")
    ] = ",".join(DEFAULTS.baselines),
    horizon: Annotated[int, typer.Option(help="Days ahead.")] = DEFAULTS.horizon,
    exogenous: ExogenousOption = None,
    date_order: DateOrderOption = None,
    calibrate: Annotated[
        bool, typer.Option(help="Correct quantiles by their own past errors, day by day.")
    ] = DEFAULTS.calibrate,
    seed: Annotated[int, typer.Option(help="Seed of networks and simulations.")] = DEFAULTS.seed,
    jobs: Annotated[
        int | None, typer.Option(min=1, help="Folds at a time; default: one a processor.")
    ] = None,
    runner: RunnerOption = None,
    address: AddressOption = None,
    json_file: JsonFileOption = None,
) -> None:
    """Forecast every day of a stretch as if it were live, and score recipes against baselines."""
    config = make_backtest_config(
        {
            "source": source,
            "symbol": symbol,
            "start": _day("start", start),
            "end": _day("end", end),
            "refit_days": refit_days,
            "rolling_days": rolling_days,
            "recipes": split_names(recipes),
            "baselines": split_names(baselines),
            "horizon": horizon,
            "exogenous": exogenous,
            "file": {"date_order": date_order or ""},
            "calibrate": calibrate,
            "seed": seed,
        }
    )
    workers = make_workers(jobs or os.cpu_count() or 1, runner, address)
    check_writable("--json", json_file)
    shield_children()
    from flows.cli.console import flow_imports, show_stages
    from tasks.storage.home import prepare_environment

    prepare_environment()
    with flow_imports():
        from flows.backtest import backtest as flow
        from flows.runners import make_runner
        from tasks.registry.connection import compare_command
    task_runner = make_runner(workers)
    with show_stages("task", "flow"):
        summary = flow.with_options(task_runner=task_runner)(config)
    write_json(summary, json_file)
    compare = compare_command(summary.experiment, summary.symbol, summary.synthetic)
    _print_summary(summary, compare)


def make_backtest_config(values: dict[str, Any]) -> BacktestConfig:
    """Check the options; raises InputError in one line."""
    from pydantic import ValidationError

    from models.config.overrides import one_line, parse_exogenous

    series = parse_exogenous(values["exogenous"]) or ()
    try:
        return BacktestConfig.model_validate(values | {"exogenous": series})
    except ValidationError as error:
        raise InputError(one_line(error)) from error


def make_workers(jobs: int, runner: str | None, address: str | None) -> Workers:
    """Check where the folds are forecast; raises InputError in one line."""
    from pydantic import ValidationError

    from models.config.overrides import one_line

    given = {"jobs": jobs, "address": address} | ({"runner": runner} if runner else {})
    try:
        return Workers.model_validate(given)
    except ValidationError as error:
        raise InputError(one_line(error)) from error


def _day(name: str, text: str | None) -> dt.date | None:
    try:
        return dt.date.fromisoformat(text) if text else None
    except ValueError as error:
        raise InputError(f"--{name} {text}: expected a day as YYYY-MM-DD") from error


def describe_distance(horizon: StepScores) -> list[str]:
    """A line a recipe: how far it is from the best baseline, and from GARCH if that is another.

    The CRPS differences are in percent, negative where the recipe is better.
    """
    best = horizon.best_baseline
    if best is None:
        return []
    tests = {(test.a, test.b): test for test in horizon.dm}
    lines = []
    for recipe in dict.fromkeys(test.a for test in horizon.dm if test.b == best):
        parts = []
        for name in dict.fromkeys((best, "garch")):
            if test := tests.get((recipe, name)):
                t = "not defined" if test.t is None else f"{test.t:+.2f}"
                parts.append(f"{test.crps_diff_pct:+.2f} % against {name} (t {t})")
        score = horizon.models[best]["crps_bp"]
        lines.append(f"{recipe}: CRPS {', '.join(parts)}; best baseline {best}, {score:.2f} bp")
    return lines


def _print_summary(summary: BacktestSummary, compare: str) -> None:
    from flows.cli.tables import fit_table, open_console

    console = open_console()
    label = "SYNTHETIC: " if summary.synthetic else ""
    for step in dict.fromkeys(("1", str(summary.config["horizon"]))):
        horizon = summary.horizons.get(step)
        if horizon is None:
            continue
        title = (
            f"{label}{summary.symbol}, {step} day{'s' if step != '1' else ''} ahead, "
            f"{summary.n_origins:,} origins {summary.first_origin} to "
            f"{summary.last_origin}"
        )
        names = ["model", "CRPS bp", "coverage 90 %", "width 90 %", "MAE bp", "in MCS 90 %"]
        rows = [
            [
                name,
                f"{scores['crps_bp']:.2f}",
                f"{scores['coverage_90']:.3f}",
                f"{scores['width_90']:.4f}",
                f"{scores['mae_bp']:.2f}",
                "yes" if name in horizon.mcs_90 else "no",
            ]
            for name, scores in horizon.models.items()
        ]
        console.print(f"\n{title}", markup=False)
        console.print(fit_table(console, names, rows, drop=("width 90 %", "MAE bp")))
        for line in describe_distance(horizon):
            console.print(f"  {line}", markup=False)
        for test in horizon.dm:
            if test.t is not None and test.p is not None:
                console.print(
                    f"  {test.a} against {test.b}: CRPS {test.crps_diff_pct:+.2f} %, "
                    f"Diebold-Mariano t = {test.t:+.2f}, p = {test.p:.4f}"
                )
    if summary.all_steps and summary.config["horizon"] > 1:
        alike = ", ".join(f"{name} {score:.4f}" for name, score in summary.all_steps.items())
        console.print(f"CRPS over naive's, every step counted alike: {alike}", markup=False)
    console.print(
        "CRPS judges the whole distribution; MAE the median, which daily candles hardly improve "
        "on today's price."
    )
    for name, text in (("Forecasts", summary.artifacts["forecasts"]), ("Compare", compare)):
        console.print(f"{name + ':':11}{text}", markup=False, soft_wrap=True)
