"""Several symbols in one run: a subflow each; one that fails does not stop the others."""

from __future__ import annotations

from collections.abc import Iterable
from importlib import import_module
from typing import Any

from prefect import State, get_run_logger, task
from prefect.cache_policies import NO_CACHE

from flows.runners import Runner, make_runner
from models.config.flows import RetrainConfig
from models.errors import SymbolsError
from models.reporting.summaries import Summary, SymbolsSummary


def run_each(entrypoint: str, config: RetrainConfig, **arguments: Any) -> SymbolsSummary:
    """Run the flow at `entrypoint` (module:name) for every symbol of `config`.

    Returns what each returned, by symbol (`symbols`). Raises SymbolsError, when all have ended, if
    one failed.
    """
    each = [config.for_symbol(symbol) for symbol in config.symbols]
    fan_out = config.fan_out
    if fan_out.jobs == 1 and not (fan_out.dask or fan_out.dask_address):
        run = _find_flow(entrypoint)
        in_turn: list[State[Any]] = [run(one, **arguments, return_state=True) for one in each]
        return _collect(config.symbols, in_turn)
    kind: Runner = "dask" if fan_out.dask or fan_out.dask_address else "processes"
    with make_runner(kind, min(fan_out.jobs, len(each)), fan_out.dask_address or None) as runner:
        futures = [
            runner.submit(
                run_symbol, {"entrypoint": entrypoint, "config": one, "arguments": arguments}
            )
            for one in each
        ]
        for future in futures:
            future.wait()
        return _collect(config.symbols, [future.state for future in futures])


@task(name="symbol", task_run_name="{config.symbol}", cache_policy=NO_CACHE)
def run_symbol(entrypoint: str, config: RetrainConfig, arguments: dict[str, Any]) -> Summary:
    """Run one symbol's subflow in a worker."""
    summary: Summary = _find_flow(entrypoint)(config, **arguments)
    return summary


def _find_flow(entrypoint: str) -> Any:
    # A flow travels to another process by its name, and flows/retrain.py imports this module.
    module, _, name = entrypoint.partition(":")
    return getattr(import_module(module), name)


def _collect(symbols: Iterable[str], states: Iterable[State[Any]]) -> SymbolsSummary:
    done: dict[str, Any] = {}
    failed: dict[str, str] = {}
    for symbol, state in zip(symbols, states, strict=True):
        result = state.result(raise_on_failure=False)
        if state.is_completed():
            done[symbol] = result
            continue
        failed[symbol] = " ".join(str(result or state.message or state.name).split())
        get_run_logger().error("%s failed: %s", symbol, failed[symbol])
    summary = SymbolsSummary(symbols=done, failed=failed)
    if failed:
        raise SymbolsError(summary.describe_failures(), summary)
    return summary
