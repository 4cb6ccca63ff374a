from __future__ import annotations

from html.parser import HTMLParser
from typing import Any

import pytest

from models.config.recipe import Recipe
from models.decisions.drift_watch import Shift
from models.reporting.day_page import describe_day, list_days
from models.reporting.notes import forecast_table, metrics_table, say_cell, write_day_note
from models.reporting.render import render_page
from tests.models.reporting.facts import HOSTILE, LAST_DAY, make_day, make_moves, make_retrain


class Page(HTMLParser):
    """Collects the tags, the attributes and the visible text of a page."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.links: list[str] = []
        self.labels: list[str] = []
        self.text = ""
        self.hidden = 0
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.hidden += tag in ("style", "script")
        self.links += [str(value) for name, value in attrs if name in ("href", "src")]
        self.labels += [str(value) for name, value in attrs if name == "aria-label"]

    def handle_endtag(self, tag: str) -> None:
        self.hidden -= tag in ("style", "script")

    def handle_data(self, data: str) -> None:
        self.text += "" if self.hidden else data


def read_page(**changes: Any) -> Page:
    return Page(render_page("day", describe_day(make_day(**changes))))


def test_headline_gives_ranges_and_no_direction() -> None:
    facts = describe_day(make_day())
    assert facts["headline"].startswith("Tomorrow: ")
    assert "with 50\N{NO-BREAK SPACE}%, " in facts["headline"]
    assert facts["headline"].endswith("with 90\N{NO-BREAK SPACE}%.")
    assert facts["subline"].startswith("Where in that range: nobody knows; the median is ")


def test_a_day_that_was_caught_up_is_not_called_tomorrow() -> None:
    day = make_day()
    ledger = day.ledger.assign(kind="catch-up")
    facts = describe_day(make_day(kind="catch-up", ledger=ledger))
    assert facts["headline"].startswith("1 January 2025: ")
    assert ("catch-up", "made after its days had begun; never counted as live") in facts["badges"]


def test_a_forecast_by_a_model_that_saw_later_days_says_so_in_its_title() -> None:
    notes = ("Made afterwards: version 3 was trained to 2025-02-01.",)
    ledger = make_day().ledger.assign(kind="catch-up")
    facts = describe_day(make_day(kind="catch-up", ledger=ledger, notes=notes))
    told = "In hindsight, by a model that saw later days, 1 January 2025: "
    assert facts["headline"].startswith(told)


def test_a_repeated_retrain_says_so_in_its_note() -> None:
    made = make_retrain(done_before=True)
    note = write_day_note(describe_day(make_day(made=made)), "page.html")
    assert "Nothing to train: version 3 has these candles and this recipe." in note


def test_what_a_cell_changes_beside_itself_is_told() -> None:
    assert say_cell(Recipe(cell="lstm").model_dump(mode="json")) == ""
    assert say_cell(Recipe(preset="bilstm").model_dump(mode="json")) == ""
    told = say_cell(Recipe(cell="bilstm").model_dump(mode="json"))
    assert told.startswith("bilstm reads its window both ways, so it trains on windows, with 2")


def test_forecast_table_is_rounded() -> None:
    day = make_day()
    first = forecast_table(day.rows, "USD")[0]
    assert list(first) == [
        "day", "median, USD", "50 % band", "80 % band", "90 % band", "95 % band", "up",
        "beyond ±5 %", "below",
    ]  # fmt: skip
    assert first["day"] == "2025-01-01"
    assert all(len(text) < 20 for text in first.values())


def test_trust_counts_the_live_record() -> None:
    facts = describe_day(make_day(n_live=40))
    assert facts["trust"].startswith("Live record: of the last 40 days the 90 % band held ")
    assert [chart.name for chart in facts["record"]] == ["record", "lead"]


def test_without_a_live_record_the_test_days_speak() -> None:
    facts = describe_day(make_day(n_live=0))
    assert facts["trust"].startswith("No live record yet. On 560 days that the model had not seen")
    assert "CRPS 2 % below naive's" in facts["trust"]
    assert facts["record"] == []


def test_changes_name_price_range_champion_and_alarms() -> None:
    price, width, champion, alarms = describe_day(make_day())["changes"]
    assert price.startswith("Price: ") and price.endswith("% in a day")
    assert width.startswith("Expected range of one day (90 %): ") and "2024-12-30" in width
    assert champion == "Champion: version 3, unchanged"
    assert alarms == "Alarms: none"
    told = describe_day(make_day(made=make_retrain(), alarms=("a", "b"), new_alarms=("b",)))
    assert told["changes"][2:] == [
        "Champion: version 3 took over from version 2",
        "Alarms: new: b",
    ]


@pytest.mark.parametrize(
    ("changes", "badge"),
    [
        ({"synthetic": True}, "SYNTHETIC"),
        ({"unproven": True}, "unproven"),
        ({"notes": ("No fresh candle: it is old.",)}, "stale"),
        ({"notes": ("Made afterwards: version 3 was trained to 2025.",)}, "hindsight"),
        ({"judged": make_retrain(reproduction=True)}, "leaks"),
        ({"refused": "the candles are 95 days old", "rows": ()}, "no forecast"),
    ],
)
def test_badges(changes: dict[str, Any], badge: str) -> None:
    facts = describe_day(make_day(**changes))
    assert badge in [word for word, _ in facts["badges"]]
    assert f"{badge}: " in Page(render_page("day", facts)).text


def test_a_day_without_a_forecast_says_why_and_shows_the_rest() -> None:
    page = read_page(refused="the candles are 95 days old", rows=(), kind="live")
    assert "No forecast: the candles are 95 days old" in page.text
    assert "Bands and chances" not in page.text
    assert "How good such forecasts have been" in page.text


def test_a_version_whose_report_is_gone_is_told() -> None:
    page = read_page(judged=None, predictions=None)
    assert "cannot be read any more" in page.text


def test_verdict_and_decision_are_one_sentence() -> None:
    text = read_page().text
    expected = "Better than naive one day ahead (+2.0 %, 560 days) and over 3 days (+1.0 %, 180"
    assert expected in text


def test_why_this_retrain_is_told() -> None:
    assert "Why this retrain: drift: x" in read_page(made=make_retrain(reason="drift: x")).text
    assert "Why this retrain" not in read_page().text


def test_shifted_inputs_are_shown_and_the_others_folded() -> None:
    shifts = (
        Shift(name="calm", value=0.1),
        Shift(name="moved", value=2.0, usual=1.0, limit=1.5),
    )
    text = read_page(shifts=shifts).text
    assert "1 of 2 inputs have moved away" in text
    assert "1.50 (passed)" in text


def test_page_asks_for_nothing_and_is_small() -> None:
    html = render_page("day", describe_day(make_day()))
    page = Page(html)
    assert all(link in ("data:,", "index.html", "#glossary") for link in page.links)
    assert "url(" not in html and "@import" not in html
    assert len(html) < 1_500_000
    assert page.tags.count("h1") == 1


def test_every_chart_says_what_is_seen_in_words_and_in_both_sizes() -> None:
    page = read_page()
    assert page.tags.count("svg") == 2 * 6
    assert page.tags.count("figcaption") == 6
    charts = [label for label in page.labels if "band held" in label or "naive" in label]
    assert len(charts) >= 2 * 4


def test_colours_are_the_stylesheets_alone() -> None:
    html = render_page("day", describe_day(make_day()))
    body = html[html.index("<body>") : html.index("<script>")]
    assert "#" not in body.replace("#glossary", "").replace("&#39;", "").replace("&#34;", "")
    assert "prefers-color-scheme: dark" in html and "@media print" in html


def test_hostile_text_stays_text() -> None:
    wild = make_retrain(
        source=HOSTILE,
        verdict_text=HOSTILE,
        reason=HOSTILE,
        repairs=[HOSTILE],
        findings=[dict.fromkeys(("kind", "severity", "message"), HOSTILE)],
        recipe={HOSTILE: HOSTILE},
        decision={"action": "keep", "reasons": [HOSTILE]},
    )
    moves = make_moves((None, 3)).assign(why=HOSTILE, who=HOSTILE)
    page = read_page(
        judged=wild, made=wild, moves=moves, notes=(HOSTILE,), alarms=(HOSTILE,), symbol=HOSTILE,
        seconds={HOSTILE: 1.0}, shifts=(Shift(name=HOSTILE, value=1.0, usual=1.0, limit=2.0),),
    )  # fmt: skip
    tame = read_page(made=make_retrain(), shifts=(Shift(name="a", value=1, usual=1, limit=2),))
    for tag in ("script", "table", "h1", "a", "img", "svg"):
        assert page.tags.count(tag) == tame.tags.count(tag), tag
    assert page.links == tame.links
    shown = " ".join(HOSTILE.split())
    assert " ".join(page.text.split()).count(shown) >= 10


def test_note_for_prefect_says_the_same_and_escapes() -> None:
    facts = describe_day(make_day(notes=(HOSTILE,)))
    note = write_day_note(facts, "reports/2024-12-31.html")
    assert note.startswith("# Tomorrow: ")
    assert "`reports/2024-12-31.html`" in note
    assert "<script>" not in note
    assert facts["trust"] in note.replace("\\", "")


def test_metrics_table_shows_five_or_all() -> None:
    few = metrics_table(make_retrain(), every=False)
    assert few[0]["metric"] == "CRPS, bp of log return"
    assert len(few) == 5
    rows = {row["metric"]: row for row in metrics_table(make_retrain())}
    assert rows["RMSE, USD"] == {"metric": "RMSE, USD", "gru": "1,235", "naive": "1,235"}
    assert rows["Directional accuracy"]["gru"] == "52.5% (48.4% to 56.6%)"
    assert rows["Directional accuracy"]["naive"] == "n/a"
    assert rows["Test days"]["gru"] == "560"


def test_index_lists_days_newest_first_with_what_came() -> None:
    ledger = make_day().ledger
    kept = [
        {"as_of": day, "headline": f"for {day}", "kind": "live", "badges": []}
        for day in ("2024-12-20", str(LAST_DAY))
    ]
    newest, older = list_days(kept, ledger)
    assert (newest["as_of"], newest["came"]) == (str(LAST_DAY), None)
    row = ledger[(ledger["as_of"].astype(str) == "2024-12-20") & (ledger["step"] == 1)].iloc[0]
    assert older["came"] == row["actual_usd"]
    assert older["held"] == bool(row["inside_90"])
    facts = {"title": "t", "symbol": "BTC/USD", "model": "m", "synthetic": True}
    page = Page(render_page("history", facts | {"days": [newest, older]}))
    assert page.links == ["data:,", f"{LAST_DAY}.html", "2024-12-20.html"]
    assert "SYNTHETIC" in page.text
