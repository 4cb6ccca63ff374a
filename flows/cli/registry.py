"""`btc models`, `promote`, `rollback`, `pin`, `unpin`: what serves, and why."""

from __future__ import annotations

import datetime as dt
import json
from typing import Annotated, Any

import typer

from flows.cli.options import JsonOption, OneSymbolOption, SymbolOption, SyntheticOption, WhyOption

# Versions that are listed without --all; each costs MLflow ten milliseconds.
NEWEST = 100

models_app = typer.Typer(
    help="List the versions with scores, decisions and aliases, or show one.",
    invoke_without_command=True,
    add_completion=False,
)


@models_app.callback()
def list_models(
    context: typer.Context,
    symbol: OneSymbolOption = "",
    synthetic: SyntheticOption = False,
    every: Annotated[
        bool, typer.Option("--all", help="Every version; else the newest hundred.")
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """List versions with their scores, decision and aliases; of several symbols a line each."""
    if context.invoked_subcommand:
        return
    from flows.cli.ledger import names_in_ledger, show_overview

    names = [] if symbol else names_in_ledger(synthetic)
    if len(names) > 1:
        show_overview(names, as_json)
        return
    from flows.cli.tables import fit_table, open_console

    client, name = _open(symbol or "BTC/USD", synthetic)
    from tasks.registry.aliases import pin_reason
    from tasks.registry.facts import list_facts
    from tasks.registry.versions import say_where_to_look

    name = names[0] if names else name
    facts = list_facts(client, name, None if every else NEWEST)
    if as_json:
        print(json.dumps(facts, indent=2))
        return
    if not facts:
        print(f"{name} has no version yet; {say_where_to_look(client, name)}")
        return
    columns = ("version", "as of", "model", "over naive", "days", "decision", "aliases")
    rows = [
        [
            fact["version"],
            fact["as_of"] or "-",
            fact["model"] or "-",
            _number(fact["score"], 4),
            fact["n_days"] or "-",
            f"{fact['decision'] or '-'}{' (unproven)' if fact['unproven'] else ''}",
            " ".join(f"@{alias}" for alias in fact["aliases"]),
        ]
        for fact in facts
    ]
    console = open_console()
    told = "over naive: CRPS over naive's on the version's own last test days, every step alike"
    console.print(f"{name}; {told}", markup=False)
    text = ("as of", "model", "decision")
    table = fit_table(console, columns, rows, drop=("days", "model"), left=text, wraps="aliases")
    console.print(table)
    if not every and len(facts) >= NEWEST:
        console.print("The newest hundred, and those with an alias; `btc models --all` shows all")
    if held := pin_reason(name):
        console.print(f"Pinned: {held}", markup=False)


@models_app.command("show")
def show_model(
    version: Annotated[str, typer.Argument(help="Number of the version.")],
    symbol: SymbolOption = "BTC/USD",
    synthetic: SyntheticOption = False,
    as_json: JsonOption = False,
) -> None:
    """Show one version: where it comes from, its scores, when it served."""
    client, name = _open(symbol, synthetic)
    from rich.markup import escape

    from tasks.registry.facts import show_facts

    facts = show_facts(client, name, version)
    if as_json:
        print(json.dumps(facts, indent=2))
        return
    from flows.cli.tables import make_table, open_console

    table = make_table("key", "value", wraps="value")
    table.show_header = False
    for key, value in facts.items():
        lines = value if isinstance(value, list) else [value]
        for i, line in enumerate(lines):
            told = _sentence(line) if isinstance(line, dict) else _plain(line)
            table.add_row("" if i else key, escape(told))
    open_console().print(table)


def promote(
    version: Annotated[str, typer.Argument(help="Number of the version.")],
    why: WhyOption,
    symbol: SymbolOption = "BTC/USD",
    synthetic: SyntheticOption = False,
) -> None:
    """Make a version the champion by hand, and pin it until `btc unpin`."""
    _move(symbol, synthetic, version, "manual", why)


def rollback(
    why: WhyOption,
    to: Annotated[
        str | None, typer.Option(help="Version to go back to; default: the champion before.")
    ] = None,
    symbol: SymbolOption = "BTC/USD",
    synthetic: SyntheticOption = False,
) -> None:
    """Give the champion's place back to an earlier version, and pin it until `btc unpin`."""
    _move(symbol, synthetic, to or "", "rollback", why)


def pin(
    why: WhyOption, symbol: SymbolOption = "BTC/USD", synthetic: SyntheticOption = False
) -> None:
    """Keep the champion where it is, whatever a retrain decides, until `btc unpin`."""
    _set_pin(symbol, synthetic, True, why)


def unpin(
    why: WhyOption, symbol: SymbolOption = "BTC/USD", synthetic: SyntheticOption = False
) -> None:
    """Let retrains move the champion again."""
    _set_pin(symbol, synthetic, False, why)


def _move(symbol: str, synthetic: bool, to: str, action: str, why: str) -> None:
    client, name = _open(symbol, synthetic)
    from tasks.registry.aliases import Move, move_by_hand

    now = dt.datetime.now(dt.UTC)
    wanted = Move(model=name, to=to, action=action, why=why, at=now, key=now.isoformat(), pin=True)
    before, number = move_by_hand(client, symbol, wanted)
    told = f" (before: version {before.version})" if before else ""
    print(f"{name}: version {number} is champion{told}, pinned until `btc unpin --why …`")


def _set_pin(symbol: str, synthetic: bool, pinned: bool, why: str) -> None:
    client, name = _open(symbol, synthetic)
    from tasks.registry.aliases import set_pin

    set_pin(client, name, pinned=pinned, why=why, at=dt.datetime.now(dt.UTC))
    print(f"{name}: the champion is {'pinned' if pinned else 'no longer pinned'}")


def _open(symbol: str, synthetic: bool) -> tuple[Any, str]:
    """A client of the registry and the model's name; MLflow is imported only now."""
    from flows.cli.console import hushed_imports
    from models.naming import model_name
    from tasks.storage.home import prepare_environment

    prepare_environment()
    with hushed_imports():
        from tasks.registry import aliases  # noqa: F401
        from tasks.registry.connection import check_tracking, connect
    check_tracking()
    return connect(), model_name(symbol, synthetic)


def _number(value: float | None, decimals: int = 1) -> str:
    return "-" if value is None else f"{value:.{decimals}f}"


def _plain(value: object) -> str:
    return f"{value:.4f}" if isinstance(value, float) else "-" if value is None else str(value)


def _sentence(move: dict[str, Any]) -> str:
    state = "" if move["state"] == "done" else f" [{move['state']}]"
    versions = f"{move['from'] or 'none'} → {move['to']}"
    return f"{move['at']} {move['action']} {versions} by {move['who']}: {move['why']}{state}"
