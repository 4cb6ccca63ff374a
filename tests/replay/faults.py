"""Ways in which an exchange misbehaves, as data: applied to a reply's rows or to its bytes."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

from tests.replay.venues import DAY_S

Rows = list[list[Any]]


def _duplicates(rows: Rows) -> Rows:
    return [row for row in rows for _ in range(2)]


def _duplicates_that_differ(rows: Rows) -> Rows:
    return [*rows, *([*row[:4], str(float(row[4]) * 1.0001), *row[5:]] for row in rows[-2:])]


def _missing_days(rows: Rows) -> Rows:
    return rows[:-4] + rows[-2:] if len(rows) > 4 else rows[:-2]


def _before_since(rows: Rows) -> Rows:
    tick = 1000 if rows and rows[0][0] > 10**11 else 1
    return [[row[0] - 5 * DAY_S * tick, *row[1:]] for row in rows[:3]] + rows


def _shuffled(rows: Rows) -> Rows:
    return random.Random(len(rows)).sample(rows, len(rows))


def _nulls(rows: Rows) -> Rows:
    return [*rows[:-2], *([row[0], None, None, None, None, None] for row in rows[-2:])]


def _null_times(rows: Rows) -> Rows:
    return [*rows[:-2], *([None, *row[1:]] for row in rows[-2:])]


def _strings(rows: Rows) -> Rows:
    return [*rows[:-2], *([row[0], "n/a", *row[2:]] for row in rows[-2:])]


ROW_FAULTS: dict[str, Callable[[Rows], Rows]] = {
    "empty": lambda rows: [],
    "duplicates": _duplicates,
    "duplicates-differ": _duplicates_that_differ,
    "missing-days": _missing_days,
    "before-since": _before_since,
    "shuffled": _shuffled,
    "nulls": _nulls,
    "null-times": _null_times,
    "strings": _strings,
}

HTML = b"<html><head><title>502 Bad Gateway</title></head><body>cloudflare</body></html>"

# kind: (status, content type, body; None keeps the venue's own, headers)
HTTP_FAULTS: dict[str, tuple[int, str, bytes | None, dict[str, str]]] = {
    "429": (429, "application/json", b'{"error": "Too many requests"}', {}),
    "429-retry-after": (429, "application/json", b"{}", {"Retry-After": "1"}),
    "500": (500, "application/json", b'{"error": "internal"}', {}),
    "502-html": (502, "text/html", HTML, {}),
    "503-maintenance": (503, "text/html", b"<html>Scheduled maintenance</html>", {}),
    "html-200": (200, "text/html", HTML, {}),
    "wrong-content-type": (200, "text/plain", None, {}),
    "null": (200, "application/json", b"null", {}),
    "empty-object": (200, "application/json", b"{}", {}),
}
BODY_FAULTS = ("truncated", "reset", "timeout")
KINDS = (*HTTP_FAULTS, *BODY_FAULTS, *ROW_FAULTS)
