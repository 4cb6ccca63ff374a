"""The description of what `--json` writes, for machines: docs/summaries.schema.json."""

from __future__ import annotations

import json

from pydantic.json_schema import models_json_schema

from models.reporting.summaries import (
    BacktestSummary,
    ForecastSummary,
    RetrainSummary,
    Skipped,
    SymbolsSummary,
)
from models.reporting.tune_summary import TuneSummary


def describe_summaries() -> str:
    """JSON schema of what the flows return, as the text of docs/summaries.schema.json."""
    kinds = (
        RetrainSummary,
        ForecastSummary,
        BacktestSummary,
        TuneSummary,
        SymbolsSummary,
        Skipped,
    )
    _, schema = models_json_schema([(kind, "serialization") for kind in kinds], by_alias=True)
    either = [{"$ref": f"#/$defs/{kind.__name__}"} for kind in kinds]
    named = {"title": "What btc-daily writes with --json", "anyOf": either} | schema
    return json.dumps(named, indent=2) + "\n"
