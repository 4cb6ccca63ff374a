"""`btc`: the list of commands; each is imported only when it is called."""

from __future__ import annotations

import sys
from importlib import import_module
from typing import Annotated, Any

import typer
from typer.core import TyperCommand, TyperGroup

from flows.cli.interrupt import end_interrupted, is_interrupted, watch_interrupts
from models.errors import InputError, ServiceError
from tasks.secrets import hide
from tasks.storage.home import prepare_libraries, told_when_full

COMMANDS = {
    "retrain": (
        "flows.cli.retrain:retrain",
        "Retrain on all candles up to a day: judge, register and report the new model.",
    ),
    "forecast": (
        "flows.cli.ledger:forecast",
        "Forecast the next days with the champion, and score what was forecast before.",
    ),
    "backtest": (
        "flows.cli.backtest:backtest",
        "Forecast every day of a stretch as if it were live, and score recipes against baselines.",
    ),
    "tune": (
        "flows.cli.tune:tune",
        "Search for a better recipe on days before the test days, and write its file.",
    ),
    "presets": (
        "flows.cli.retrain:presets",
        "List the recipes that --preset knows, and what each sets.",
    ),
    "ingest": (
        "flows.cli.data:ingest",
        "Fetch the candles that are missing, check them, and store them.",
    ),
    "data": ("flows.cli.data:data", "Look at stored candles and snapshots."),
    "ledger": (
        "flows.cli.ledger:ledger_app",
        "Show the live record: coverage, CRPS against naive and EWMA, streaks, verdict.",
    ),
    "report": (
        "flows.cli.look:report",
        "Say where the page of a day is, or open it.",
    ),
    "ui": (
        "flows.cli.look:ui",
        "Open MLflow with the runs of the daily retrains; until Ctrl-C where it is started here.",
    ),
    "models": (
        "flows.cli.registry:models_app",
        "List the versions with scores, decisions and aliases, or show one.",
    ),
    "promote": (
        "flows.cli.registry:promote",
        "Make a version the champion by hand, and pin it until `btc unpin`.",
    ),
    "rollback": (
        "flows.cli.registry:rollback",
        "Give the champion's place back to an earlier version, and pin it until `btc unpin`.",
    ),
    "pin": (
        "flows.cli.registry:pin",
        "Keep the champion where it is, whatever a retrain decides, until `btc unpin`.",
    ),
    "up": (
        "flows.cli.service:up",
        "Start servers, deployments and a worker, and watch over them until Ctrl-C.",
    ),
    "status": (
        "flows.cli.service:status",
        "Show servers, runs, champion, forecast, candles, disk and alarms; exit 1 with an alarm.",
    ),
    "down": (
        "flows.cli.service:down",
        "Stop what `btc up` started, also where it ended without doing so itself.",
    ),
    "doctor": (
        "flows.cli.care:doctor",
        "Look for what is wrong, and say the command that mends it; exit 1 with a finding.",
    ),
    "clean": (
        "flows.cli.care:clean",
        "Delete what nothing names: old pictures, and versions that never forecast.",
    ),
    "backup": ("flows.cli.care:backup", "Write all state into one file, also while servers run."),
    "restore": (
        "flows.cli.care:restore",
        "Make the state folder (BTC_HOME) of a backup; it must not hold anything yet.",
    ),
    "alerts": (
        "flows.cli.service:alerts_app",
        "Tell somebody what needs attention, by webhook, e-mail or ping.",
    ),
    "unpin": ("flows.cli.registry:unpin", "Let retrains move the champion again."),
}
"""Where each command is, and what the list of commands says of it: its docstring or help text."""


class Commands(TyperGroup):
    """The commands of the table; the list shows them without importing their modules."""

    def __init__(self, **settings: Any) -> None:
        super().__init__(**settings)
        self.commands = {
            name: TyperCommand(name=name, help=text) for name, (_, text) in COMMANDS.items()
        }

    def invoke(self, ctx: Any) -> Any:
        """Call the command; a Ctrl-C ends it with one line."""
        try:
            return super().invoke(ctx)
        except BaseException:
            if is_interrupted():
                end_interrupted()
            raise

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        """Import the command that is called; its name and the other arguments come with it."""
        name, _, rest = super().resolve_command(ctx, args)
        return name, load_command(str(name)), rest


def load_command(name: str) -> Any:
    """Import a command of the table."""
    module, _, attribute = COMMANDS[name][0].partition(":")
    found = getattr(import_module(module), attribute)
    if not isinstance(found, typer.Typer):
        function, found = found, typer.Typer(add_completion=False)
        found.command(name)(function)
    command = typer.main.get_command(found)
    command.name = name
    return command


UsageError: Any = typer.BadParameter.__base__
"""What Typer raises for a wrong option, argument or command; it exports only a subclass."""

app = typer.Typer(
    cls=Commands,
    help="The Bitcoin forecaster that retrains itself every day, judged honestly.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)


def _print_version(wanted: bool) -> None:
    if wanted:
        from importlib.metadata import version

        print(f"btc-daily {version('btc-daily')}")
        raise typer.Exit


@app.callback()
def _options(
    _version: Annotated[
        bool,
        typer.Option(
            "--version", callback=_print_version, is_eager=True, help="Print the version."
        ),
    ] = False,
) -> None:
    pass


def _say_usage(error: Any) -> int:
    # Typer's way to end a group of commands without one: it has printed the help text already.
    if type(error).__name__ != "NoArgsIsHelpError":
        called = error.ctx.command_path if error.ctx else "btc"
        text = " ".join(error.format_message().split()).rstrip(".")
        print(f"btc: {hide(text)}; `{called} --help` shows what is known", file=sys.stderr)
    return 2


def main() -> None:
    """Run `btc`; exit with one line: 2 for what the user can mend, 1 for a service's failure."""
    # Before anything can import TensorFlow, which reads these settings when it is imported.
    prepare_libraries()
    watch_interrupts()
    try:
        with told_when_full():
            code = app(prog_name="btc", standalone_mode=False)
    except UsageError as error:
        code = _say_usage(error)
    except InputError as error:
        print(f"btc: {hide(error)}", file=sys.stderr)
        code = 2
    except ServiceError as error:
        print(f"btc: {hide(error)}", file=sys.stderr)
        code = 1
    sys.exit(code if isinstance(code, int) else 0)
