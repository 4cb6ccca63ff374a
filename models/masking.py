"""What strangers must not see: passwords and keys in addresses, and wherever else they stand."""

from __future__ import annotations

import re
from collections.abc import Iterable
from urllib.parse import quote, unquote

HIDDEN = "***"
# Up to the last @, since a password that nobody encoded may hold any character but a space. What
# the help texts write in capitals stays.
_USER = re.compile(r"(?<=://)(?!/|USER:PASSWORD@)\S*@")
_NAME = (
    r"[\w.-]*(?:password|passwd|passphrase|pwd|secret|token|credential|signature|"
    r"api[_-]?key|access[_-]?key)[\w.-]*"
)
_NAMED = re.compile(rf"(?i)((?:(?<=[?&;])(?:key|sig|auth|code|pass)|\b{_NAME})=)[^&\s]+")
_QUERY = re.compile(rf"(?i)(?:(?<=[?&;])(?:key|sig|auth|code|pass)|\b{_NAME})=([^&\s]+)")
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
    return _USER.sub("", text) if "@" in text else text


def find_secrets(address: str) -> set[str]:
    """What an address keeps from strangers, as it stands, decoded, and in the parts drivers quote.

    A malformed address counts too: what stands before its last @ and after a colon is a password.
    """
    found = set(_QUERY.findall(address))
    rest = address.partition("://")[2] or address
    name, colon, password = rest.rpartition("@")[0].partition(":")
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
