"""Options that several commands share, and how they become a configuration."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from models.errors import InputError

if TYPE_CHECKING:
    from models.config.flows import RetrainConfig
    from models.reporting.summaries import Summary

SourceOption = Annotated[
    str | None,
    typer.Option(help="exchange:ID, csv:PATH, sample (SYNTHETIC) or auto (exchange, else sample)."),
]
AsOfOption = Annotated[
    str | None,
    typer.Option(help="UTC day, YYYY-MM-DD, of the newest candle to use; default: yesterday."),
]
ExchangeUrlOption = Annotated[
    str | None,
    typer.Option(help="Base address in place of the exchange's own; or BTC_EXCHANGE_URL."),
]
DateOrderOption = Annotated[
    str | None,
    typer.Option(
        help="Order of day and month in a file's dates, where it proves none: dmy, mdy or ymd."
    ),
]
ExogenousOption = Annotated[
    list[str] | None,
    typer.Option(
        help="Daily series that the network reads too: NAME=PATH of a CSV file with date and "
        "value, or '{name: …, path: …, column: …}'; may be repeated."
    ),
]
ConfigOption = Annotated[
    Path | None, typer.Option(help="YAML, TOML or JSON file with configuration keys.")
]
SetOption = Annotated[
    list[str] | None,
    typer.Option("--set", help="One configuration key, as in units=64; may be repeated."),
]
JsonFileOption = Annotated[
    Path | None, typer.Option("--json", help="Write the summary here as JSON, for machines.")
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON, for machines.")]
SymbolOption = Annotated[str, typer.Option(help="What is forecast, as BASE/QUOTE.")]
AskedSymbolsOption = Annotated[
    str | None,
    typer.Option(
        "--symbols",
        "--symbol",
        help="What is forecast: BTC/USD, or several with commas between them.",
    ),
]
JobsOption = Annotated[
    int | None,
    typer.Option(help="Symbols at a time; 1, the default: one after another, in one process."),
]
RunnerOption = Annotated[
    str | None, typer.Option(help="What works on them side by side: processes or dask.")
]
AddressOption = Annotated[
    str | None,
    typer.Option(
        "--address",
        help="Dask scheduler, as tcp://HOST:PORT; default: one made here. Start it and its workers "
        "with --preload flows.worker.",
    ),
]
OneSymbolOption = Annotated[
    str, typer.Option("--symbol", help="What is forecast, as BASE/QUOTE; default: all there are.")
]
SyntheticOption = Annotated[
    bool, typer.Option("--synthetic", help="The models of the SYNTHETIC sample.")
]
WhyOption = Annotated[str, typer.Option("--why", help="The reason, kept in the history.")]


def make_request(
    options: Mapping[str, Any],
    file: Path | None,
    assignments: list[str] | None,
    defaults: Mapping[str, Any] | None = None,
) -> RetrainConfig:
    """Check a configuration from defaults, a file, options that are not None, and --set, in turn.

    Raises InputError in one line.
    """
    from models.config.overrides import make_config

    return make_config({**(defaults or {}), **gather(options, file)}, assignments or [])


def gather(options: Mapping[str, Any], file: Path | None) -> dict[str, Any]:
    """Keys of a file, and over them the options that are not None; raises InputError."""
    from models.config.overrides import parse_exogenous
    from tasks.storage.files import read_config

    values = read_config(file) if file else {}
    given = {key: value for key, value in options.items() if value is not None}
    if "symbols" in given:
        names = split_names(given.pop("symbols"))
        one = {"symbol": names[0], "symbols": []}  # also where the file names several
        given |= one if len(names) == 1 else {"symbols": list(names)}
    if "exogenous" in given:
        given["exogenous"] = parse_exogenous(given["exogenous"])
    return {**values, **given}


def split_names(text: str) -> tuple[str, ...]:
    """Names with commas between them; `none` stands for no name."""
    names = tuple(name.strip() for name in text.split(",") if name.strip())
    return () if names == ("none",) else names


def check_writable(option: str, path: Path | None) -> None:
    """Raise InputError unless the folder of a file to be written exists."""
    if path is not None and not path.absolute().parent.is_dir():
        raise InputError(f"{option} {path}: the folder {path.absolute().parent} does not exist")


def write_json(summary: Summary, path: Path | None) -> None:
    """Write what a flow returned, also where it was skipped, to the file of --json, if any."""
    if path is not None:
        from tasks.storage.files import write_text

        write_text(json.dumps(summary.as_json(), indent=2) + "\n", path)
