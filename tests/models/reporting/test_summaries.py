from __future__ import annotations

import json
from pathlib import Path

import pytest
from pydantic import ValidationError

from models.reporting.schema import describe_summaries
from models.reporting.summaries import (
    Refused,
    RetrainSummary,
    Skipped,
    with_forecast,
)
from tests.models.reporting.facts import make_retrain

SCHEMA = Path(__file__).parents[3] / "docs" / "summaries.schema.json"
MAKE = "from models.reporting.schema import describe_summaries as d; print(d(), end='')"


def test_the_schema_in_the_docs_is_that_of_the_code() -> None:
    expected = f'make it anew: .venv/bin/python -c "{MAKE}" > {SCHEMA.relative_to(Path.cwd())}'
    assert SCHEMA.read_text(encoding="utf-8") == describe_summaries(), expected


@pytest.mark.parametrize("kind", ["RetrainSummary", "ForecastSummary", "BacktestSummary"])
def test_the_schema_describes_every_key_as_it_is_written(kind: str) -> None:
    described = json.loads(describe_summaries())["$defs"][kind]
    assert described["properties"]["schema"]["const"] == 1
    assert "schema_number" not in described["properties"]
    assert described["additionalProperties"] is False


def test_json_and_back_is_the_same() -> None:
    summary = make_retrain()
    written = json.dumps(with_forecast(summary, Refused(refused="too old")).as_json())
    read = json.loads(written)
    assert read["schema"] == 1
    assert read["forecast"] == {"schema": 1, "refused": "too old", "seconds": {}}
    assert RetrainSummary.model_validate_json(written).as_json() == read


def test_a_skipped_run_says_so_in_json() -> None:
    assert Skipped(skipped="a retrain is at work").as_json() == {
        "schema": 1,
        "skipped": "a retrain is at work",
        "done": False,
    }


@pytest.mark.parametrize("key", ["run_id", "metrics", "verdict", "decision", "artifacts"])
def test_a_missing_key_is_named(key: str) -> None:
    facts = make_retrain().as_json()
    del facts[key]
    with pytest.raises(ValidationError, match=key):
        RetrainSummary.model_validate(facts)


def test_an_unknown_key_and_another_schema_are_refused() -> None:
    facts = make_retrain().as_json()
    for more in ({"sorce": "x"}, {"schema": 2}):
        with pytest.raises(ValidationError, match=next(iter(more))):
            RetrainSummary.model_validate(facts | more)


def test_a_summary_cannot_be_changed() -> None:
    summary = make_retrain()
    with pytest.raises(ValidationError, match="frozen"):
        summary.verdict = "skill"  # type: ignore[misc]
