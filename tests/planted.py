"""Secrets planted in every setting, and the search for them in all that a command leaves."""

from __future__ import annotations

from pathlib import Path
from urllib.parse import quote

# With the characters that nobody should put into an address and everybody does.
MARK = "hu@sh/"


def planted(name: str) -> str:
    """A secret of its own for a setting; its end, which no address cuts off, is what is found."""
    return f"{MARK}planted-{name}"


def planted_settings(prefect_api: str = "") -> dict[str, str]:
    """Settings that work, with a secret in each that may hold one."""
    proxy = f"http://me:{quote(planted('proxy'), safe='')}@127.0.0.1:9"
    named = prefect_api.replace("://", f"://me:{quote(planted('prefect'), safe='')}@")
    return ({"PREFECT_API_URL": named} if named else {}) | {
        "MLFLOW_TRACKING_USERNAME": "me",
        "MLFLOW_TRACKING_PASSWORD": planted("mlflow"),
        "BTC_EXCHANGE_KEY": planted("exchange-key"),
        "BTC_EXCHANGE_SECRET": planted("exchange-secret"),
        "BTC_SMTP_URL": f"smtp://me:{planted('smtp')}@127.0.0.1:9",
        "AWS_SECRET_ACCESS_KEY": planted("aws"),
        "PGPASSWORD": planted("postgres"),
        "HTTPS_PROXY": proxy,
        "HTTP_PROXY": proxy,
        "NO_PROXY": "127.0.0.1",
    }


def find_planted(*places: Path | str) -> list[str]:
    """Every planted secret in texts, and in all files under folders, as 'place: what'."""
    found = []
    for place in places:
        if isinstance(place, str):
            found += [f"output: {line}" for line in place.splitlines() if "planted-" in line]
            continue
        files = [place] if place.is_file() else sorted(place.rglob("*"))
        for path in (path for path in files if path.is_file() and not path.is_symlink()):
            data = path.read_bytes()
            if (at := data.find(b"planted-")) >= 0:
                found.append(f"{path}: {data[max(0, at - 60) : at + 60]!r}")
    return found
