"""`btc up`, `status`, `down` and `alerts`: the service that runs every day."""

from __future__ import annotations

import getpass
import json
import re
import signal
import sys
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from flows.cli.interrupt import leave_interrupts
from flows.cli.options import AskedSymbolsOption, JobsOption, JsonOption, make_request
from models.errors import InputError, ServiceError

if TYPE_CHECKING:
    from models.config.flows import RetrainConfig

HostOption = Annotated[str, typer.Option(help="Where the servers listen; 0.0.0.0 for everybody.")]


def up(
    source: Annotated[
        str | None, typer.Option(help="What the scheduled runs read, as exchange:ID or csv:PATH.")
    ] = None,
    symbols: AskedSymbolsOption = None,
    jobs: JobsOption = None,
    host: HostOption = "127.0.0.1",
    prefect_port: Annotated[int, typer.Option(help="Port of the Prefect server.")] = 4200,
    mlflow_port: Annotated[int, typer.Option(help="Port of the MLflow server.")] = 5000,
    print_unit: Annotated[
        bool, typer.Option("--print-unit", help="Print a systemd unit of this command, and end.")
    ] = False,
) -> None:
    """Start servers, deployments and a worker, and watch over them until Ctrl-C."""
    from tasks.service.up import Service, Wanted
    from tasks.storage.home import check_home, home, prepare_environment
    from tasks.storage.lock import locked

    asked = make_request({"symbols": symbols, "jobs": jobs}, None, None)  # refuses what is neither
    wanted = Wanted(host, prefect_port, mlflow_port, _settled(source, asked), symbols, jobs)
    if print_unit:
        print(make_unit(wanted))
        return
    check_home()
    prepare_environment()
    with locked(home() / "locks" / "service.lock", wait=False) as mine:
        if not mine:
            _say_running()
            return
        service = Service(wanted, say=_say)
        leave_interrupts()
        # Also where the shell that started it in the background ignores Ctrl-C for it.
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, _interrupt)
        try:
            service.start()
            service.watch(check_alarms)
        except KeyboardInterrupt:
            pass
        finally:
            if service.children:
                _say("stopping")
            service.stop()


def _say(text: str) -> None:
    """Print a line; what cannot be printed, as into a file on a full disk, ends nothing."""
    with suppress(OSError):
        print(text, flush=True)


def _interrupt(_number: int, _frame: object) -> None:
    raise KeyboardInterrupt


def _settled(source: str | None, asked: RetrainConfig) -> str | None:
    """A file by its absolute path, since the worker runs in another folder; it must be there.

    That of each symbol must, where {base} or {quote} stands for parts of them.
    """
    if source is None or not source.startswith("csv:"):
        return source
    path = Path(source.removeprefix("csv:")).absolute()
    named = asked.model_copy(update={"source": str(path)})
    for one in asked.symbols or (asked.symbol,):
        if not Path(file := named.for_symbol(one).source).exists():
            raise InputError(f"--source {source}: no file {file!r}")
    return f"csv:{path}"


def check_alarms(gave_up: str = "") -> list[str]:
    """Tell people what is new; one line for each. `gave_up`: why `btc up` ends by itself."""
    from tasks.service.alerts import tell
    from tasks.service.facts import gather_facts

    return tell(gather_facts().model_copy(update={"gave_up": gave_up}))


def _say_running() -> None:
    from tasks.service.processes import read_state

    state = read_state() or {}
    where = ", ".join(f"{name} {url}" for name, url in state.get("addresses", {}).items())
    pid = int(state.get("up", {}).get("pid", 0))
    print(f"`btc up` runs already (process {pid}): {where}; `btc down` stops it")


def make_unit(wanted: object) -> str:
    """A systemd unit that runs `btc up` with the same options."""
    from dataclasses import fields

    from tasks.service.processes import BIN
    from tasks.storage.home import home

    command = [str(BIN / "btc"), "up"]
    for field in fields(wanted):  # type: ignore[arg-type]
        if (value := getattr(wanted, field.name)) not in (None, field.default):
            command += [f"--{field.name.replace('_', '-')}", str(value)]
    lines = [
        "[Unit]",
        "Description=btc-daily",
        "After=network-online.target",
        "Wants=network-online.target",
        "",
        "[Service]",
        f"ExecStart={' '.join(_quote_for_systemd(word).replace('$', '$$') for word in command)}",
        f"Environment={_quote_for_systemd(f'BTC_HOME={home()}')}",
        "# Settings such as BTC_DATABASE_URL, a line each; the file may be missing.",
        "EnvironmentFile=-/etc/btc-daily.env",
        f"User={getpass.getuser()}",
        "Restart=on-failure",
        "RestartSec=30",
        "TimeoutStopSec=120",
        "",
        "[Install]",
        "WantedBy=multi-user.target",
    ]
    return "\n".join(lines)


def _quote_for_systemd(word: str) -> str:
    """One word of a unit file: `%` doubled, in quotes where it holds more than plain letters."""
    word = word.replace("%", "%%")
    if re.fullmatch(r"[\w./:=,@%+-]+", word):
        return word
    escaped = word.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'


def down() -> None:
    """Stop what `btc up` started, also where it ended without doing so itself."""
    from tasks.service.processes import stop_earlier

    stopped = stop_earlier()
    print(f"stopped: {', '.join(stopped)}" if stopped else "nothing of `btc up` runs")


def status(as_json: JsonOption = False) -> None:
    """Show servers, runs, champion, forecast, candles, disk and alarms; exit 1 with an alarm."""
    from models.decisions.alarms import find_alarms
    from tasks.service.facts import find_api, gather_facts
    from tasks.service.runs import next_run

    facts = gather_facts()
    alarms = [alarm for alarm in find_alarms(facts) if alarm.lasts]
    api, addresses = find_api()
    coming = next_run(api) if facts.servers.get("prefect") else None
    well = bool(facts.servers) and not alarms
    if as_json:
        shown = facts.model_dump(mode="json", exclude={"gave_up"}) | {
            "addresses": addresses,
            "next_run": None if coming is None else [coming[0], coming[1].isoformat()],
            "alarms": [alarm.model_dump(mode="json") for alarm in alarms],
            "well": well,
        }
        print(json.dumps(shown, indent=2))
    else:
        from flows.cli.status_table import print_status

        print_status(facts, addresses, coming, alarms)
    if not well:
        sys.exit(1)


alerts_app = typer.Typer(
    help="Tell somebody what needs attention, by webhook, e-mail or ping.",
    no_args_is_help=True,
    add_completion=False,
)


@alerts_app.command("add")
def add_alert(
    kind: Annotated[str, typer.Argument(help="webhook, email or ping (after each success).")],
    target: Annotated[str, typer.Argument(help="The address.")],
    smtp: Annotated[
        str, typer.Option(help="For email: smtp://USER:PASSWORD@HOST:587, or BTC_SMTP_URL.")
    ] = "",
) -> None:
    """Tell somebody what needs attention: by webhook, e-mail, or a ping that stays away."""
    from tasks.service.alerts import make_channel, read_channels, write_channels

    channel = make_channel(kind, target, smtp)
    others = [known for known in read_channels() if known.target != channel.target]
    write_channels([*others, channel])
    print(f"added {channel.shown}; `btc alerts test` tries it")


@alerts_app.command("list")
def list_alerts() -> None:
    """List the channels, without their secrets."""
    from tasks.service.alerts import read_channels

    for number, channel in enumerate(read_channels(), 1):
        print(f"{number}  {channel.shown}")


@alerts_app.command("remove")
def remove_alert(
    number: Annotated[int, typer.Argument(help="As `btc alerts list` shows it.")],
) -> None:
    """Remove a channel."""
    from tasks.service.alerts import read_channels, write_channels

    channels = read_channels()
    if not 1 <= number <= len(channels):
        raise InputError(f"no channel {number}; `btc alerts list` shows {len(channels)}")
    removed = channels.pop(number - 1)
    write_channels(channels)
    print(f"removed {removed.shown}")


@alerts_app.command("test")
def test_alerts() -> None:
    """Send a test message on every channel; exit 1 where one does not take it."""
    from tasks.service.alerts import read_channels, send

    channels = read_channels()
    if not channels:
        raise InputError("no channel yet; `btc alerts add webhook URL` adds one")
    failed = 0
    for channel in channels:
        try:
            send(channel, "btc-daily: test", "This is a test; nothing is wrong.")
            print(f"sent to {channel.shown}")
        except ServiceError as error:
            failed += 1
            print(f"btc: {error}", file=sys.stderr)
    if failed:
        sys.exit(1)


@alerts_app.command("check")
def check_now() -> None:
    """Look once and tell what is new, as `btc up` does each minute; for your own scheduler."""
    for line in check_alarms():
        print(line)
