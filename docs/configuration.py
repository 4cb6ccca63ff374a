"""Write docs/configuration.md, every key of a retrain and a backtest, from the code.

`python docs/configuration.py`; a test compares the file with what this gives.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from models.config.flows import BacktestConfig, RetrainConfig, TuneConfig
from models.config.recipe import Chunks, Windows

TARGET = Path(__file__).with_name("configuration.md")
HEAD = """# Every key

Keys of a configuration file (`--config`), of `--set KEY=VALUE` and of a deployment's parameters. A
key that is the only one of its name needs no prefix: `units=64` is `recipe.units=64`. Made from the
code by `python docs/configuration.py`.

## The environment

| variable | is |
| --- | --- |
| `BTC_HOME` | the folder of all that is kept; `./.btc` |
| `BTC_DATABASE_URL` | where ledger, locks and searches are kept, as `postgresql://…` |
| `BTC_STORE` | candles of exchanges, at an fsspec address such as `s3://…` |
| `BTC_ARCHIVE` | copies of snapshots and reports, at another |
| `BTC_EXCHANGE_URL` | in place of an exchange's own address |
| `BTC_EXCHANGE_KEY`, `BTC_EXCHANGE_SECRET` | of an account, where you have one |
| `BTC_SMTP_URL` | the mail server of `btc alerts add email` |
| `BTC_CODE_VERSION` | what a version keeps as its code where there is no git, as in an image |
| `MLFLOW_TRACKING_URI`, `PREFECT_API_URL` | servers of your own |
| `BTC_TEMPORARY_SERVER` | set by a command for the processes that it starts; not by you |
| `NO_COLOR` | plain text on a terminal |
"""
TRAININGS = {"recipe.training (on chunks)": Chunks, "recipe.training (on windows)": Windows}


def describe_keys() -> str:
    """The whole page, Markdown."""
    parts = [HEAD, *_tables("A retrain or forecast", "", RetrainConfig)]
    for name, training in TRAININGS.items():
        parts += _tables(f"`{name}`", "", training)
    known = set(RetrainConfig.model_fields)
    for title, model in (("A backtest", BacktestConfig), ("A search", TuneConfig)):
        parts += _tables(f"{title}, beside source, symbol and data", "", model, known)
    return "\n".join(parts)


def _tables(
    title: str, prefix: str, model: type[BaseModel], known: frozenset[str] | set[str] = frozenset()
) -> list[str]:
    rows, inner = [], []
    for name, field in model.model_fields.items():
        if name in known:
            continue
        part = field.annotation
        if isinstance(part, type) and issubclass(part, BaseModel):
            inner += _tables(f"`{prefix}{name}`", f"{prefix}{name}.", part)
        elif name not in ("training", "kind"):
            meaning = " ".join((field.description or "").split()).replace("|", "\\|")
            rows.append(f"| `{name}` | {_default(field)} | {meaning} |")
    if not rows:
        return inner
    return [
        f"## {title}\n",
        "| key | default | meaning |",
        "| --- | --- | --- |",
        *rows,
        "",
        *inner,
    ]


def _default(field: FieldInfo) -> str:
    value: Any = field.get_default(call_default_factory=True, validated_data={})
    if value in (None, "", (), []):
        return ""
    told = json.dumps(value, default=str, ensure_ascii=False)
    return f"`{told}`" if len(told) <= 60 else f"{len(value)} of them"


if __name__ == "__main__":
    TARGET.write_text(describe_keys(), encoding="utf-8")
