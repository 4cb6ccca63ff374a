"""What all configuration has in common: frozen, checked on construction, unknown keys refused."""

from __future__ import annotations

import difflib
import hashlib
import json
from collections.abc import Iterable

from pydantic import BaseModel, ConfigDict

from models.masking import mask


class Frozen(BaseModel):
    """A frozen model that names what it refuses, with a hash of its content."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    def digest(self) -> str:
        """Short content hash, 12 hex digits."""
        text = json.dumps(self.model_dump(mode="json"), sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:12]


def shorten(value: object, n: int = 60, *, quoted: bool = True) -> str:
    """A value as it is quoted in a message: without secrets, on one line of `n` characters."""
    if isinstance(value, str):
        value = mask(value[:10_000])  # Before it is cut, which may part a password from its @.
    if quoted:
        text = mask(repr(value[: 2 * n] if isinstance(value, str) else value))
    else:
        text = " ".join(mask(str(value)[:10_000])[: 10 * n].split())
    return text if len(text) <= n else f"{text[: n - 1]}…"


def nearest(word: str, known: Iterable[str]) -> str:
    """Return a hint for an unknown `word`: the closest of the `known` words and all of them."""
    words = sorted(known)
    word = word[:100]
    close = difflib.get_close_matches(word, words, n=1, cutoff=0.5)
    hint = f"; did you mean {close[0]!r}?" if close else ""
    return f"{hint} (known: {', '.join(words)})"
