"""What strangers must not see: passwords and keys in addresses, and wherever else they stand."""

from __future__ import annotations

import re
from collections.abc import Iterable
from urllib.parse import quote, unquote

HIDDEN = "***"
# What the help texts write in capitals stays.
_ADDRESS = re.compile(r'(?<=://)(?!USER:PASSWORD@)[^\s"]*@')
_PORT = re.compile(r"(\[[^\]]*\]|[^:]*)(:\d*)?")
_NAME = (
    r"[\w.-]*(?:password|passwd|passphrase|pwd|secret|token(?!s)|credential|signature|"
    r"api[_-]?key|access[_-]?key|account[_-]?key)[\w.-]*"
)
_KEY = rf"(?:(?<=[?&;])(?:key|sig|auth|code|pass)|\b{_NAME})"
_VALUE = r"""(?:"[^"]*"|'[^']*'|[^&\s]+)"""
_NAMED = re.compile(rf"(?i)({_KEY}=){_VALUE}")
_QUERY = re.compile(rf"(?i){_KEY}=([^&\s]+)")
# As JSON and Python write it, and as headers do.
_QUOTED = re.compile(rf"""(?i)(["']{_NAME}["']\s*:\s*)(?:"[^"]*"|'[^']*')""")
_HEADER = re.compile(
    r"""(?i)(\bauthorization["']?\s*[:=]\s*["']?(?:(?:basic|bearer)\s+)?)[^\s"',]+"""
)
# Shorter ones would hide half of what is said; in an address they are hidden all the same.
SHORTEST, LONG = 4, 12


def mask(text: str, secrets: Iterable[str] = ()) -> str:
    """The text without user and password of any address, without keys in its query, and `secrets`.

    Short secrets are hidden where they stand as a word, long ones everywhere.
    """
    for secret in sorted(secrets, key=len, reverse=True):
        if len(secret) >= LONG:
            text = text.replace(secret, HIDDEN)
        elif len(secret) >= SHORTEST:
            text = re.sub(rf"(?<![^\W_]){re.escape(secret)}(?![^\W_])", HIDDEN, text)
    if "=" in text:
        text = _NAMED.sub(rf"\1{HIDDEN}", text)
    if ":" in text:
        text = _HEADER.sub(rf"\1{HIDDEN}", _QUOTED.sub(rf"\1{HIDDEN}", text))
    if "@" not in text:
        return text
    return _ADDRESS.sub(lambda found: found[0][len(_user(found[0])) :], text)


def _user(rest: str) -> str:
    """User, password and @ of what stands after ://, up to the last @; empty where there is none.

    A password that nobody encoded may hold an @ or a slash. Without a colon before the first slash,
    or with a port there, an @ belongs to the path.
    """
    host = rest.lstrip("/").partition("/")[0]
    if "@" not in rest or ("@" not in host and _PORT.fullmatch(host)):
        return ""
    return rest[: rest.rindex("@") + 1]


def find_secrets(address: str) -> set[str]:
    """What an address keeps from strangers, as it stands, decoded, and in the parts drivers quote.

    A malformed address counts too: what stands before its last @ and after a colon is a password.
    """
    found = set(_QUERY.findall(address))
    user = _user(address.partition("://")[2])
    if "://" not in address and not address.startswith(("/", ".")):
        user = address.rpartition("@")[0]
    name, colon, password = user.removesuffix("@").lstrip("/").partition(":")
    if colon:
        found |= {password, *re.split(r"[@:/?#\s]+", password)}
    elif "://" in address and len(name) >= LONG:
        found.add(name)  # A token without a user.
    return {
        spelled
        for secret in found
        for spelled in (secret, unquote(secret), quote(secret, safe=""))
        if len(spelled) >= SHORTEST
    }
