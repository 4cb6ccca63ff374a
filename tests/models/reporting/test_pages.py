from __future__ import annotations

import base64
import re
from copy import deepcopy
from html.parser import HTMLParser

import pytest

from models.config.recipe import Recipe
from models.reporting import pages as report
from models.reporting.summaries import RetrainSummary

PNG = b"\x89PNG not really"
HOSTILE = (
    'x|y` <script>alert("1")</script>\n\n# big [a](javascript:alert(1)) **b** &amp; ![i](http://x)'
)

SCORES = {
    "n_days": 560, "rmse_usd": 1234.56, "mae_usd": 800.4, "mape": 0.01875, "mase": 0.5,
    "rmse_log_return": 0.03, "mae_log_return": 0.02, "mase_log_return": 1.0,
    "directional_accuracy": 0.525, "directional_accuracy_low": 0.484,
    "directional_accuracy_high": 0.566, "crps_bp": 150.04, "crps_usd": 620.0,
    "coverage_90": 0.9125, "width_90": 0.09,
}  # fmt: skip
NO_DIRECTION = {name: None for name in SCORES if name.startswith("directional")}
SKILL = {
    "skill_rmse": -0.00001, "skill_rmse_low": -0.01, "skill_rmse_high": 0.005,
    "skill_crps": 0.02, "skill_crps_low": None, "skill_crps_high": None,
}  # fmt: skip


@pytest.fixture
def facts():
    """What a summary is made of."""
    return {
        "run_id": "0a1b", "experiment": "btc-usd", "registered_model": "btc-usd",
        "model_version": "3", "aliases": ["challenger"], "snapshot_hash": "f" * 64,
        "snapshot_rows": 3759, "first_day": "2014-09-17", "as_of": "2024-12-31",
        "source": "csv:BTC-USD.csv", "symbol": "BTC/USD", "synthetic": False,
        "reproduction": False, "recipe": Recipe().model_dump(mode="json"),
        "features_used": ["log_return"], "features_left_out": ["log_range"],
        "findings": [{"kind": "gap", "severity": "warning", "message": "2 days missing"}],
        "repairs": ["filled 2020-01-01"],
        "metrics": {
            "lstm": {"1": SCORES, "2": SCORES | {"rmse_usd": 2000.0}},
            "naive": {"1": SCORES | NO_DIRECTION, "2": SCORES | NO_DIRECTION},
        },
        "skill": {"1": SKILL, "2": SKILL},
        "echo": {"correlation_today": 0.1, "correlation_yesterday": 0.9, "is_echo": True},
        "verdict": "no evidence of skill", "verdict_text": "No evidence of skill: it is so.",
        "reason": "", "model": "lstm", "config": {},
        "decision": {"action": "keep", "reasons": ["no better"]},
        "artifacts": dict.fromkeys(("report", "plots", "predictions", "model"), "x"),
        "seconds": {"ingest": 0.25, "train": 12.5},
    }  # fmt: skip


@pytest.fixture
def summary(facts):
    return RetrainSummary.model_validate(facts)


def changed(summary, **values):
    """The same summary with other values, checked anew."""
    return RetrainSummary.model_validate(summary.model_dump() | values)


def test_metrics_table_formats_every_number(summary):
    rows = {row["metric"]: row for row in report.metrics_table(summary)}
    assert rows["RMSE, USD"] == {"metric": "RMSE, USD", "lstm": "1,235", "naive": "1,235"}
    assert rows["MAPE"]["lstm"] == "1.88%"
    assert rows["Directional accuracy"]["lstm"] == "52.5% (48.4% to 56.6%)"
    assert rows["Directional accuracy"]["naive"] == "n/a"
    assert rows["Coverage of the 90 % band"]["lstm"] == "91.2%"
    assert rows["Test days"]["lstm"] == "560"


def test_summary_says_everything(summary):
    text = report.render_summary(summary)
    for expected in (
        "# BTC/USD: retrain to 2024-12-31",
        "No evidence of skill: it is so.",
        "| RMSE, USD | 1,235 | 1,235 |",
        "| 2 | 2,000 / 1,235 |",
        "+0.00% (-1.00% to +0.50%), CRPS +2.00%.",
        "mostly repeats yesterday",
        "3,759 candles from 2014-09-17",
        "Features left out: `log_range`",
        "Repairs: filled 2020-01-01",
        "warning: gap, 2 days missing",
        "version 3",
        "| train | 12.50 |",
        "| all | 12.75 |",
        "| lookback | 40 |",
    ):
        assert expected in text
    assert "SYNTHETIC" not in text
    assert "Reproduction" not in text


def test_reason_and_drift_are_told(summary):
    assert "Not looked at yet" in report.render_summary(summary)
    assert "Why this retrain" not in report.render_summary(summary)
    look = {"as_of": "2024-12-30", "alarms": []}
    text = report.render_summary(changed(summary, drift=look, reason="drift: CRPS is 2 times"))
    assert "No alarm when last looked at, with the forecast of 2024-12-30." in text
    assert "**Why this retrain.** drift: CRPS is 2 times." in text
    alarmed = changed(summary, drift=look | {"alarms": ["the band held 3 of 40", HOSTILE]})
    page = read_page(alarmed, {})
    assert "Alarm: the band held 3 of 40" in page.text
    assert "Alarm: " + " ".join(HOSTILE.split()) in page.text


def test_synthetic_and_reproduction_are_labelled_at_the_top(summary):
    text = report.render_summary(changed(summary, synthetic=True, reproduction=True))
    assert text.startswith("# SYNTHETIC BTC/USD")
    head = text.partition("## ")[0]
    assert "SYNTHETIC: generated candles, not Bitcoin" in head
    assert "leaks the future, never promoted" in head


def test_empty_lists_and_undefined_numbers_have_words(summary):
    echo = {"correlation_today": None, "correlation_yesterday": None, "is_echo": False}
    empty = {key: [] for key in ("findings", "repairs", "features_left_out")}
    text = report.render_summary(changed(summary, **empty, echo=echo))
    for expected in ("Findings: none", "Repairs: none", "Features left out: none"):
        assert expected in text
    assert "correlation of n/a" in text
    assert "None" not in text


def test_the_decision_is_told(summary):
    assert "**Decision.** keep: no better." in report.render_summary(summary)
    decision = {"action": "promote", "reasons": [HOSTILE], "unproven": True}
    told = read_page(changed(summary, decision=decision), {}).text
    assert "Decision. promote (unproven): " + " ".join(HOSTILE.split()) in told


def test_nothing_is_mutated(summary):
    before = deepcopy(summary)
    report.render_summary(summary)
    report.metrics_table(summary)
    assert summary == before


class Page(HTMLParser):
    """Collects the tags, the attributes and the visible text of a page."""

    def __init__(self):
        super().__init__()
        self.tags, self.links, self.text = [], [], ""

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.links += [value for name, value in attrs if name in ("href", "src")]

    def handle_data(self, data):
        self.text += data


def read_page(summary, images, title="BTC/USD"):
    page = Page()
    page.feed(report.render_html(report.render_summary(summary), images, title))
    return page


def test_page_holds_its_images_and_asks_for_nothing_else(summary):
    images = {"Loss": PNG, "Prices": PNG + b"2"}
    page = read_page(summary, images)
    inlined = [base64.b64decode(link.partition("base64,")[2]) for link in page.links]
    assert inlined == list(images.values())
    assert page.tags.count("table") == 4
    assert page.tags.index("img") < page.tags.index("table")
    assert "Loss" in page.text
    assert "url(" not in report.render_html("x", {}, "t")


def test_raw_html_and_script_links_in_the_markdown_are_shown_as_text():
    page = Page()
    page.feed(report.render_html("<script>x</script>\n\n[a](javascript:alert(1))", {}, "t"))
    assert "script" not in page.tags
    assert page.links == []
    assert "<script>x</script>" in page.text


TEXTS = [
    "run_id", "experiment", "registered_model", "model_version", "snapshot_hash", "source",
    "symbol", "verdict_text",
]  # fmt: skip


def hostile(summary):
    names = ("aliases", "features_used", "features_left_out", "repairs")
    lists = {key: [HOSTILE] for key in names}
    return changed(
        summary,
        **dict.fromkeys(TEXTS, HOSTILE),
        **lists,
        findings=[dict.fromkeys(("kind", "severity", "message"), HOSTILE)],
        recipe={HOSTILE: HOSTILE},
        seconds={HOSTILE: 1.0},
        metrics={HOSTILE: summary.metrics["lstm"], "naive": summary.metrics["naive"]},
    )


def test_hostile_text_stays_text(summary):
    tame, wild = read_page(summary, {}), read_page(hostile(summary), {HOSTILE: PNG}, HOSTILE)
    structural = ("script", "table", "h1", "h2", "tr", "a", "img", "strong")
    expected = {tag: tame.tags.count(tag) for tag in structural}
    # One recipe row instead of one a field, one stage instead of two, and the one image.
    expected["tr"] -= len(summary.recipe) - 1 + 1
    expected["img"] += 1
    assert {tag: wild.tags.count(tag) for tag in structural} == expected
    assert all(link.startswith("data:image/png;base64,") for link in wild.links)
    shown = " ".join(HOSTILE.split())
    places = len(TEXTS) + 4 + 3 + 2 + 1
    assert wild.text.count(shown) >= places


@pytest.mark.parametrize(
    "text",
    [
        "a|b",
        "`",
        "``",
        "\\",
        "<b>",
        "&lt;",
        "_x_",
        "*x*",
        "[a](b)",
        "# x",
        "~~x~~",
        "a\nb",
        "a\\|b",
    ],
)
def test_every_text_is_shown_as_it_is(summary, text):
    page = read_page(changed(summary, verdict_text=text, source=text, repairs=[text]), {})
    shown = " ".join(text.split())
    assert f"Verdict. {shown}\n" in page.text
    assert f"Source: {shown}, 3,759" in page.text
    assert re.search(rf"Repairs: {re.escape(shown)}\n", page.text)
