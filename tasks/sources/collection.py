"""Collect: an exchange's closed candles into the candle store, only what is missing or may change.

A page is stored as soon as it is read and found good, so an interrupted back-fill goes on where
it stopped. The revision log is written before the candles that it explains: a run that is killed
in between finds the same revision again, and the log takes it once.
"""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass

import pyarrow as pa
import pyarrow.compute as pc

from models.config.data import Ingestion
from models.data.crosscheck import QUARANTINE_SCHEMA, find_differences
from models.data.rules import PRICES, Finding
from models.data.store_table import find_revisions, merge_candles, missing_ranges
from models.errors import SourceError
from tasks.sources.exchange import ExchangeClient, read_keys
from tasks.storage.candle_store import QUARANTINE, REVISIONS, CandleStore


@dataclass(frozen=True)
class Collected:
    """What a source's store holds up to a day, and what this collection added and noticed."""

    candles: pa.Table
    n_added: int
    findings: tuple[Finding, ...]


def collect_candles(
    source: str,
    symbol: str,
    as_of: dt.date,
    policy: Ingestion,
    keys: dict[str, str] | None = None,
) -> Collected:
    """Bring the store of an exchange's daily candles up to `as_of` and return them.

    Asked for are the days that the store misses and its newest `refetch_days`. `keys` are those
    of `read_keys`, unless given.

    Raises SourceError, storing nothing of the page at fault, for an exchange that does not
    answer or not with `as_of`, for a price revised by more than `max_revision`, and for a close
    that differs from the second source's; InputError for what the user can mend.
    """
    keys = read_keys(policy.secret_block) if keys is None else keys
    client = ExchangeClient(source, symbol, policy, keys)
    second, findings = _collect_second(symbol, as_of, policy)
    store = CandleStore(source, symbol)
    apart: list[pa.Table] = []
    revised: list[pa.Table] = []
    with store.lock():
        before = candles = store.read()
        for first, last in missing_ranges(
            before["open_time"], policy.start, as_of, policy.refetch_days, client.page_days
        ):
            for page in client.fetch_pages(first, last):
                good, differing = _without_differences(page, second, policy, as_of)
                if policy.on_disagreement == "stop":
                    store.append_log(QUARANTINE, differing)
                apart.append(differing)
                revisions = find_revisions(candles, good, as_of)
                _check_revisions(revisions, source, policy)
                store.append_log(REVISIONS, revisions)
                revised.append(revisions)
                merged = merge_candles(candles, good)
                store.write(merged, candles)
                candles = merged
    findings += _revision_findings(revised, source)
    findings += _difference_findings(apart, source, policy)
    _check_newest(candles, client, as_of)
    return Collected(_up_to(candles, as_of), candles.num_rows - before.num_rows, findings)


def _collect_second(
    symbol: str, as_of: dt.date, policy: Ingestion
) -> tuple[pa.Table | None, tuple[Finding, ...]]:
    """Candles of the second source, or None where there is none or the run may do without it."""
    if not policy.cross_check:
        return None, ()
    url = policy.cross_check_url or policy.exchange_url
    alone = policy.model_copy(update={"cross_check": "", "exchange_url": url})
    other = policy.cross_check_symbol or symbol
    try:
        return collect_candles(policy.cross_check, other, as_of, alone, keys={}).candles, ()
    except SourceError as error:
        text = f"not cross-checked: {error}"
        if policy.on_disagreement == "stop":
            hint = "to go on without it set ingestion.on_disagreement to continue"
            raise SourceError(f"{text}; {hint}") from error
        return None, (Finding("cross_check", "warning", (), text),)


def _without_differences(
    page: pa.Table, second: pa.Table | None, policy: Ingestion, as_of: dt.date
) -> tuple[pa.Table, pa.Table]:
    """The page without the days on which the second source differs, and these days."""
    if second is None:
        return page, QUARANTINE_SCHEMA.empty_table()
    apart = find_differences(
        page, second, since=policy.cross_check_since, limit=policy.max_difference, as_of=as_of
    )
    if policy.on_disagreement == "stop":
        known = pc.is_in(page["open_time"], value_set=apart["open_time"].combine_chunks())
        page = page.filter(pc.invert(known))
    return page, apart


def _check_revisions(revisions: pa.Table, source: str, policy: Ingestion) -> None:
    """Raise SourceError for the largest change of a price, if it is over the limit."""
    prices = revisions.filter(pc.is_in(revisions["column"], value_set=pa.array(PRICES)))
    size = pc.abs(prices["relative_change"])
    if prices.num_rows and pc.max(size).as_py() > policy.max_revision:
        row = prices.slice(pc.index(size, pc.max(size)).as_py(), 1).to_pylist()[0]
        raise SourceError(
            f"{source} revised the {row['column']} of {row['open_time']:%Y-%m-%d} from "
            f"{row['old']:.10g} to {row['new']:.10g} ({row['relative_change']:+.1%}), more than "
            f"{policy.max_revision:.1%} (ingestion.max_revision); not stored: if it is right, "
            "raise the limit for one run"
        )


def _revision_findings(revisions: list[pa.Table], source: str) -> tuple[Finding, ...]:
    rows = [row for table in revisions for row in table.to_pylist()]
    days = tuple(sorted({f"{row['open_time']:%Y-%m-%d}" for row in rows}))
    if not days:
        return ()
    row = max(rows, key=lambda row: abs(row["relative_change"] or 0.0))
    change = f"{row['old']:.10g} to {row['new']:.10g}"
    text = (
        f"{source} revised {', '.join(days[:5])}{', …' * (len(days) > 5)}: the largest change is "
        f"the {row['column']} of {row['open_time']:%Y-%m-%d}, {change}"
    )
    return (Finding("revision", "warning", days, text),)


def _difference_findings(
    apart: list[pa.Table], source: str, policy: Ingestion
) -> tuple[Finding, ...]:
    """Findings for days that differ between the sources; raises SourceError where they stop."""
    rows = [row for table in apart for row in table.to_pylist()]
    if not rows:
        return ()
    days = tuple(f"{row['open_time']:%Y-%m-%d}" for row in rows)
    text = "; ".join(
        f"{source} closed {row['open_time']:%Y-%m-%d} at {row['close']:.10g}, "
        f"{policy.cross_check} at {row['other_close']:.10g} ({row['relative_difference']:+.1%})"
        for row in rows[:3]
    )
    more = f"; {len(rows) - 3} more days differ" if len(rows) > 3 else ""
    text += f"{more}: more than {policy.max_difference:.1%} apart (ingestion.max_difference)"
    if policy.on_disagreement == "stop":
        raise SourceError(f"{text}; not stored")
    return (Finding("cross_check", "warning", days, text),)


def _check_newest(candles: pa.Table, client: ExchangeClient, as_of: dt.date) -> None:
    """Raise SourceError unless the candle of `as_of` is there."""
    midnight = pa.scalar(dt.datetime.combine(as_of, dt.time(), dt.UTC), pa.timestamp("us", "UTC"))
    if pc.is_in(midnight, value_set=candles["open_time"].combine_chunks()).as_py():
        return
    newest = pc.max(candles["open_time"]).as_py()
    clock = client.venue_time()
    raise SourceError(
        f"{client.source} has no closed {client.symbol} candle of {as_of}; its newest is "
        + (f"{newest:%Y-%m-%d}" if newest else "none")
        + (f", its clock says {clock:%Y-%m-%d %H:%M} UTC" if clock else "")
        + ": try again later"
    )


def _up_to(candles: pa.Table, as_of: dt.date) -> pa.Table:
    end = pa.scalar(dt.datetime.combine(as_of, dt.time(), dt.UTC), candles["open_time"].type)
    return candles.filter(pc.less_equal(candles["open_time"], end))
