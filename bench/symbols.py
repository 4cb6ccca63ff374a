"""Many symbols: what the next one costs, in one process, in two, and on two Dask workers.

`python -m bench.symbols`, with arguments of `btc retrain` such as `--set epochs=1` behind its own.
One run for each way of working; a figure for n symbols is that of the moment when n had ended.
"""

from __future__ import annotations

import argparse
import datetime as dt
import subprocess
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pandas as pd
import psutil

from models.config.data import Reading
from tasks.sources import fetch_candles
from tasks.storage.home import prepare_environment
from tests.servers import BIN, environment

WAYS = {
    "one process": (),
    "two processes": ("--jobs", "2"),
    "two Dask workers": ("--jobs", "2", "--runner", "dask"),
}
COUNTS = (1, 2, 4, 8, 16)
LOOK_SECONDS = 0.5


@dataclass
class Watch:
    """Seconds, CPU seconds and bytes of a command with all its processes, while it runs."""

    process: subprocess.Popen[str]
    start: float = field(default_factory=time.perf_counter)
    used: dict[int, float] = field(default_factory=dict)
    peak: int = 0

    def look(self) -> None:
        """Count what runs now; memory that processes share counts once."""
        held = 0
        for process in self._family():
            try:
                times = process.cpu_times()
                self.used[process.pid] = times.user + times.system
                held += process.memory_full_info().pss
            except psutil.Error:
                continue
        self.peak = max(self.peak, held)

    def _family(self) -> Iterator[psutil.Process]:
        try:
            root = psutil.Process(self.process.pid)
            yield from (root, *root.children(recursive=True))
        except psutil.Error:
            return

    def row(self) -> tuple[float, float, float]:
        """Seconds, CPU seconds and megabytes so far."""
        return time.perf_counter() - self.start, sum(self.used.values()), self.peak / 1e6


def run(candles: pd.DataFrame, counts: Sequence[int] = COUNTS, more: Sequence[str] = ()) -> None:
    """Print the figures of retrains of up to `counts[-1]` symbols, each with these candles."""
    names = [f"C{number:02d}/USD" for number in range(counts[-1])]
    last_day = candles["open_time"].iloc[-1].date()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        days = candles["open_time"].dt.date
        text = candles.drop(columns="open_time").assign(date=days).to_csv(index=False)
        for symbol in names:
            (folder / f"{symbol.partition('/')[0]}.csv").write_text(text)
        asked = ("--as-of", str(last_day), *more)
        alone = ("--symbols", names[0], "--source", f"csv:{folder}/C00.csv")
        *_, lone = _retrain(folder / "lone", (*alone, *asked))
        print(
            f"retrain of one symbol alone: {lone[0]:.1f} s, {lone[1]:.1f} s CPU, {lone[2]:.0f} MB"
        )
        print("symbols by way of working: wall, CPU seconds a symbol, peak memory of all processes")
        for way, options in WAYS.items():
            home = folder / way.replace(" ", "-")
            several = ("--symbols", ",".join(names), "--source", f"csv:{folder}/{{base}}.csv")
            rows = _retrain(home, (*several, *options, *asked))
            _print_rows(way, rows, counts, lone[0])


def _print_rows(
    way: str, rows: list[tuple[float, float, float]], counts: Sequence[int], lone: float
) -> None:
    for count in counts:
        wall, cpu, peak = rows[count - 1]
        print(f"  {way:<16} {count:>3}: {wall:6.1f} s, {cpu / count:5.1f} s, {peak:5.0f} MB")
    if len(counts) > 1:
        before, last = counts[-2:]
        added = (rows[last - 1][0] - rows[before - 1][0]) / (last - before)
        share = added / lone
        print(
            f"  {way:<16} each after the {before}th: {added:.1f} s, {share:.2f} of a lone retrain"
        )


def _retrain(home: Path, arguments: Sequence[str]) -> list[tuple[float, float, float]]:
    """The figures when each symbol has ended, and when the command has."""
    home.mkdir()
    process = subprocess.Popen(
        [str(BIN / "btc"), "retrain", *arguments],
        env=environment(home),
        cwd=home,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )
    watch, rows, said = Watch(process), [], []

    def look() -> None:
        while process.poll() is None:
            watch.look()
            time.sleep(LOOK_SECONDS)

    looking = threading.Thread(target=look)
    looking.start()
    assert process.stderr is not None  # noqa: S101  # for mypy, it is a pipe
    for line in process.stderr:
        said.append(line)
        # The last stage of a symbol in this process; on workers the run tells each as it ends.
        if line.startswith("symbol  " if "--jobs" in arguments else "clean  "):
            rows.append(watch.row())
    looking.join()
    if process.wait():
        raise RuntimeError("".join(said[-3:]))
    return [*rows, watch.row()]


def run_backtests(candles: pd.DataFrame, symbols: int) -> None:
    """Print the time of a yearly backtest of several symbols, seven folds of five networks each.

    All have the same candles: the time is theirs, the scores would be one symbol's.
    """
    # Not before: TensorFlow would hold memory of this process while the retrains are measured.
    from bench.backtest import FOLDS, predict_together, yearly_groups

    recipe, groups = yearly_groups(candles)
    if not groups:
        print(f"backtests: {len(candles):,} candles are too few for {FOLDS} yearly folds")
        return
    wall = predict_together(recipe, candles, groups * symbols)
    print(
        f"yearly backtests of {symbols} symbols (the same candles), {FOLDS} folds x "
        f"{recipe.members} networks each, two processes: {wall:.1f} s, "
        f"{wall / symbols:.1f} s a symbol"
    )


def main() -> None:
    """Run it alone, on a file of daily candles or on the synthetic sample."""
    parser = argparse.ArgumentParser(prog="python -m bench.symbols", description=__doc__)
    parser.add_argument("--data", type=Path, help="CSV file of daily candles")
    parser.add_argument("--counts", default=",".join(map(str, COUNTS)), help="how many symbols")
    parser.add_argument("--backtests", type=int, default=8, help="symbols to backtest; 0: none")
    asked, more = parser.parse_known_args()
    prepare_environment()
    source = f"csv:{asked.data.absolute()}" if asked.data else "sample"
    print(f"Source: {source}{'' if asked.data else ' (SYNTHETIC)'}")
    yesterday = dt.datetime.now(dt.UTC).date() - dt.timedelta(days=1)
    candles = fetch_candles(Reading(source=source), yesterday).candles
    run(candles, sorted({int(count) for count in asked.counts.split(",")}), more)
    if asked.backtests:
        run_backtests(candles, asked.backtests)


if __name__ == "__main__":
    main()
