"""`btc tune`: the search for a better recipe, and how to retrain with it."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from flows.cli.options import (
    AsOfOption,
    ConfigOption,
    DateOrderOption,
    ExogenousOption,
    JsonFileOption,
    SetOption,
    SourceOption,
    check_writable,
    gather,
    write_json,
)

if TYPE_CHECKING:
    from models.reporting.tune_summary import TuneSummary


def tune(
    source: SourceOption = None,
    symbol: Annotated[
        str | None, typer.Option(help="What is forecast, as BASE/QUOTE: BTC/USD.")
    ] = None,
    as_of: AsOfOption = None,
    cell: Annotated[
        str | None, typer.Option(help="Recurrent cell: rnn, lstm, gru, bilstm or bigru.")
    ] = None,
    preset: Annotated[
        str | None, typer.Option(help="Recipe to begin with; `btc presets` lists them.")
    ] = None,
    trials: Annotated[
        int | None, typer.Option(help="Recipes tried in all, with those of an earlier start: 30.")
    ] = None,
    folds: Annotated[int | None, typer.Option(help="Times each recipe is fitted: 3.")] = None,
    fold_days: Annotated[
        int | None, typer.Option(help="Days that each fit forecasts: 180.")
    ] = None,
    exogenous: ExogenousOption = None,
    date_order: DateOrderOption = None,
    config: ConfigOption = None,
    assignments: SetOption = None,
    recipe_file: Annotated[
        Path | None, typer.Option("--recipe", help="Write the best recipe here too, as YAML.")
    ] = None,
    json_file: JsonFileOption = None,
) -> None:
    """Search for a better recipe on days before the test days, and write its file.

    The search goes on where it stopped: the same command again makes the trials that are missing.
    """
    from models.config.flows import TuneConfig
    from models.config.overrides import make_config

    options = {
        "source": source,
        "symbol": symbol,
        "as_of": as_of,
        "cell": cell,
        "preset": preset,
        "trials": trials,
        "folds": folds,
        "fold_days": fold_days,
        "exogenous": exogenous,
        "date_order": date_order,
    }
    asked = make_config(gather(options, config), assignments or [], TuneConfig)
    check_writable("--json", json_file)
    check_writable("--recipe", recipe_file)
    from flows.cli.console import flow_imports, settle_request, show_stages

    checked, note = settle_request(asked)
    with flow_imports():
        from flows.tune import tune as flow
        from models.reporting.summaries import Skipped
        from tasks.registry.connection import compare_command
    with show_stages():
        summary = flow(checked)
    write_json(summary, json_file)
    if isinstance(summary, Skipped):
        print(summary.skipped)
        return
    if recipe_file is not None:
        from tasks.storage.files import write_text

        write_text(Path(summary.recipe_file).read_text(encoding="utf-8"), recipe_file)
    compare = compare_command(summary.experiment, summary.symbol, summary.synthetic)
    _print_summary(summary, note, recipe_file or Path(summary.recipe_file), compare)


def _print_summary(summary: TuneSummary, note: str, recipe: Path, compare: str) -> None:
    from flows.cli.tables import fit_table, open_console
    from models.reporting.tune_summary import say_score

    console = open_console()
    labels = ["SYNTHETIC"] if summary.synthetic else []
    title = "; ".join([*labels, f"{summary.symbol}, scored {summary.first_day} to"])
    console.print(f"\n{title} {summary.last_day}", markup=False)
    best = sorted((t for t in summary.trials if not t["given_up"]), key=lambda t: t["score"])[:5]
    start = [t for t in summary.trials if t["number"] == 1 and t not in best]
    shown = [*best, *start]
    names = [f"trial {t['number']}" for t in shown]
    rows = [["CRPS over naive's", *(say_score(t["score"]) for t in shown)]]
    for key in summary.values:
        rows.append([key.rpartition(".")[2], *(f"{t['values'][key]:.3g}" for t in shown)])
    last_first = [name for name in names[:0:-1] if name != "trial 1"]
    console.print(fit_table(console, ["setting", *names], rows, drop=last_first))
    text = Path(summary.recipe_file).read_text(encoding="utf-8").splitlines()[1].lstrip("# ")
    console.print(f"\n{text}", markup=False)
    if note:
        console.print(note, markup=False)
    command = (
        f"btc retrain --source {shlex.quote(summary.config['source'])} --as-of {summary.as_of}"
    )
    for name, line in (
        ("Retrain", f"{command} --config {shlex.quote(str(recipe))}"),
        ("Compare", compare),
    ):
        console.print(f"{name + ':':9}{line}", markup=False, soft_wrap=True)
