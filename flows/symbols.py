"""Several symbols in one run: a subflow each; one that fails does not stop the others."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from prefect import State, get_run_logger

from flows.closing import NO_FORECAST
from models.config.flows import RetrainConfig
from models.errors import SymbolsError
from models.reporting.summaries import SymbolsSummary


def run_each(run: Callable[..., Any], config: RetrainConfig, **arguments: Any) -> SymbolsSummary:
    """Run the flow `run` for every symbol of `config`, one after the other in this process.

    Returns what each returned, by symbol. Raises SymbolsError, when all have ended, if one failed.
    """
    done: dict[str, Any] = {}
    failed: dict[str, str] = {}
    for symbol in config.symbols:
        state: State[Any] = run(config.for_symbol(symbol), **arguments, return_state=True)
        result = state.result(raise_on_failure=False)
        if state.name == NO_FORECAST:
            failed[symbol] = f"no forecast: {state.message}"
            continue
        if state.is_completed():
            done[symbol] = result
            continue
        failed[symbol] = " ".join(str(result or state.message or state.name).split())
        get_run_logger().error("%s failed: %s", symbol, failed[symbol])
    summary = SymbolsSummary(symbols=done, failed=failed)
    if failed:
        raise SymbolsError(summary.describe_failures(), summary)
    return summary
