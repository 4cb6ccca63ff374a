"""Several symbols in one run: a subflow each; one that fails does not stop the others."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator
from dataclasses import dataclass
from importlib import import_module
from typing import Any

from prefect import Flow, State, get_run_logger, task
from prefect.cache_policies import NO_CACHE
from prefect.states import Failed

from flows.closing import NO_FORECAST
from flows.runners import run_side_by_side
from models.config.flows import RetrainConfig
from models.errors import SymbolsError
from models.reporting.summaries import Skipped, SymbolsSummary
from tasks.secrets import guard_output
from tasks.service.life import check_same_records, home_id
from tasks.turns import crash_lost_subflows, part_of, read_due


@dataclass(frozen=True)
class Ended:
    """How the run of a symbol ended: what it returned, or why it failed (`failure`)."""

    symbol: str
    summary: Any = None
    failure: str = ""
    refused: bool = False
    """Whether it only has no forecast, which its own run has said."""

    @property
    def seconds(self) -> float:
        """What its stages took; 0 where it failed."""
        return float(sum(getattr(self.summary, "seconds", {}).values()))


def run_each(run: Flow[..., Any], config: RetrainConfig, **arguments: Any) -> SymbolsSummary:
    """Run the flow `run` for every symbol of `config`, one after another or on its workers.

    Each does the day of the whole run, also where its turn comes after midnight. Returns what each
    returned, by symbol. Raises SymbolsError, when all have ended, if one failed.
    """
    run_all = _run_here if config.workers.alone else _run_on_workers
    ended = {one.symbol: one for one in run_all(run, config, arguments)}
    in_order = [ended[symbol] for symbol in config.symbols]
    summary = SymbolsSummary(
        symbols={one.symbol: one.summary for one in in_order if not one.failure},
        failed={one.symbol: one.failure for one in in_order if one.failure},
    )
    if summary.failed:
        raise SymbolsError(summary.describe_failures(), summary)
    return summary


def _run_here(
    run: Flow[..., Any], config: RetrainConfig, arguments: dict[str, Any]
) -> Iterator[Ended]:
    """One symbol after another, in this process."""
    for symbol in config.symbols:
        ended = _run_symbol(run, config.for_symbol(symbol), arguments, read_due())
        _tell_failure(ended)
        yield ended


def _run_on_workers(
    run: Flow[..., Any], config: RetrainConfig, arguments: dict[str, Any]
) -> Iterator[Ended]:
    """The symbols side by side, each by a task; tells each as it ends."""
    common = {"name": run.name, "arguments": arguments, "home": home_id(), "due": read_due()}
    calls = [{"config": config.for_symbol(symbol), **common} for symbol in config.symbols]
    for number, (place, outcome) in enumerate(run_side_by_side(symbol, calls, config.workers), 1):
        ended = outcome
        if not isinstance(outcome, Ended):
            ended = Ended(config.symbols[place], failure=" ".join(str(outcome).split()))
        _tell_failure(ended)
        line = f"symbol    {ended.seconds:5.1f} s  {ended.symbol}: {_describe(ended)}"
        progress = (number, len(calls))
        get_run_logger().info(line, extra={"stage": "symbol", "progress": progress})
        yield ended
    crash_lost_subflows()


@task(name="symbol", task_run_name="{config.symbol}", cache_policy=NO_CACHE)
def symbol(
    name: str, config: RetrainConfig, arguments: dict[str, Any], home: str, due: dt.datetime
) -> Ended | State[Ended]:
    """Run the flow `name` for one symbol on a worker; a failed task where it fails."""
    guard_output()
    check_same_records(home)
    run = getattr(import_module(f"flows.{name}"), name)
    ended = _run_symbol(run, config, arguments, due)
    return Failed(message=ended.failure, data=ended) if ended.failure else ended


def _run_symbol(
    run: Flow[..., Any], config: RetrainConfig, arguments: dict[str, Any], due: dt.datetime
) -> Ended:
    with part_of(due):
        state: State[Any] = run(config, **arguments, return_state=True)  # type: ignore[assignment]
    result = state.result(raise_on_failure=False)
    if state.name == NO_FORECAST:
        why = f"no forecast: {state.message}"
        return Ended(config.symbol, failure=why, refused=True)
    if state.is_completed():
        return Ended(config.symbol, summary=result)
    why = " ".join(str(result or state.message or state.name).split())
    return Ended(config.symbol, failure=why)


def _tell_failure(ended: Ended) -> None:
    if ended.failure and not ended.refused:
        get_run_logger().error("%s failed: %s", ended.symbol, ended.failure)


def _describe(ended: Ended) -> str:
    if ended.failure:
        return ended.failure
    if isinstance(ended.summary, Skipped):
        return ended.summary.skipped
    version = getattr(ended.summary, "model_version", None)
    return "done" if version is None else f"done, version {version}"
