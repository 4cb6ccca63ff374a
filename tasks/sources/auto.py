"""`auto`: the default exchange if it answers in time, else the sample."""

from __future__ import annotations

import datetime as dt
import threading

from models.config.data import Ingestion
from models.errors import InputError, SourceError
from tasks.sources.exchange import DEFAULT_EXCHANGE, ExchangeClient

PROBE_S = 5.0


def resolve_auto(source: str, symbol: str, policy: Ingestion, as_of: dt.date) -> tuple[str, str]:
    """Source that `auto` stands for now, and a sentence that says which and why.

    Any other source is returned as it is, with an empty sentence.
    """
    if source != "auto":
        return source, ""
    why = _probe(symbol, policy, as_of)
    if why:
        return "sample", f"Source: sample, SYNTHETIC candles (auto: {DEFAULT_EXCHANGE} {why})"
    return DEFAULT_EXCHANGE, f"Source: {DEFAULT_EXCHANGE} (auto: it answered)"


def _probe(symbol: str, policy: Ingestion, as_of: dt.date) -> str:
    """Ask the default exchange for its newest candles; return why not, or nothing if it gave any.

    A thread, because a name look-up may hang longer than any time-out of a socket.
    """
    once = policy.model_copy(update={"attempts": 1, "timeout_s": PROBE_S})
    client = ExchangeClient(DEFAULT_EXCHANGE, symbol, once)
    answers: list[str] = []

    def ask() -> None:
        try:
            page = next(client.fetch_pages(as_of - dt.timedelta(days=2), as_of), None)
            answers.append("" if page else "has no candle of the last three days")
        except (InputError, SourceError) as error:
            answers.append(f"cannot be used: {error}")

    thread = threading.Thread(target=ask, daemon=True)
    thread.start()
    thread.join(PROBE_S)
    return answers[0] if answers else f"did not answer within {PROBE_S:g} s"
