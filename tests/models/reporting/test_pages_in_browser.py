"""The page of a day, of a backtest and the index of days, in Chromium: on a desk, a telephone,
by night and on paper."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pandas as pd
import pytest
from playwright.sync_api import Browser, Page, sync_playwright

from models.reporting.backtest_page import describe_backtest
from models.reporting.day_page import describe_day
from models.reporting.render import render_page
from models.scoring.backtest import summarise_backtest
from models.scoring.metrics import with_crps
from tests.browser import find_browser
from tests.models.reporting import facts

SCREENS = [(1280, "light"), (1280, "dark"), (390, "light"), (390, "dark")]
LOOK = """() => {
  const shown = [...document.querySelectorAll("svg[data-readouts]")].filter(
    (svg) => svg.getBoundingClientRect().width > 0);
  return {
    overflow: document.documentElement.scrollWidth - innerWidth,
    ink: getComputedStyle(document.body).color,
    paper: getComputedStyle(document.documentElement).backgroundColor + "/" +
      getComputedStyle(document.body).backgroundColor,
    charts: shown.map((svg) => ({
      name: svg.closest("figure").id,
      marks: svg.querySelectorAll("path:not(.grid):not(.tick), circle").length,
      cut: [...svg.querySelectorAll("text")].filter((text) => {
        const box = text.getBBox();
        return box.x < -1 || box.x + box.width > svg.viewBox.baseVal.width + 1;
      }).map((text) => text.textContent),
    })),
  };
}"""


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    path = find_browser()
    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=path, args=["--no-sandbox"])
        yield chromium
        chromium.close()


@pytest.fixture(scope="module")
def pages(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Pages with everything on them: a week ahead, a live record, a long history, many inputs."""
    folder = tmp_path_factory.mktemp("pages")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(facts, "HORIZON", 7)
        moves = facts.make_moves((None, 1), *((n, n + 1) for n in range(1, 9)))
        day = facts.make_day(n_live=87, moves=moves, version="9")
        frame = facts.make_holdout(facts.make_candles())
        third = facts.make_holdout(facts.make_candles(), scale=1.1)
        third = third[third["model"] == "gru"].assign(model="scale_regression")
    frame = with_crps(pd.concat([frame, third], ignore_index=True))
    baselines = ("naive", "scale_regression")
    summary = summarise_backtest(frame, baselines, seed=0)
    told = describe_backtest(frame, summary, ("gru",)) | {"title": "t", "symbol": "BTC/USD"}
    told |= {"synthetic": False, "refit_days": 365, "config": {"recipes": ["gru"]}}
    texts = {
        "day": render_page("day", describe_day(day)),
        "backtest": render_page("backtest", told),
    }
    made = {}
    for name, text in texts.items():
        made[name] = folder / f"{name}.html"
        made[name].write_text(text, encoding="utf-8")
    return made


def visit(browser: Browser, path: Path, width: int, scheme: str) -> tuple[Page, list[str]]:
    page = browser.new_page(viewport={"width": width, "height": 900}, color_scheme=scheme)  # type: ignore[arg-type]
    said: list[str] = []
    page.on("console", lambda message: said.append(message.text))
    page.on("pageerror", lambda error: said.append(str(error)))
    page.on("request", lambda request: said.extend(re.findall("^http.*", request.url)))
    page.goto(path.as_uri())
    return page, said


@pytest.mark.parametrize("name", ["day", "backtest"])
@pytest.mark.parametrize(("width", "scheme"), SCREENS)
def test_charts_hold_data_and_nothing_is_wider_than_the_screen(
    browser: Browser, pages: dict[str, Path], name: str, width: int, scheme: str
) -> None:
    page, said = visit(browser, pages[name], width, scheme)
    seen = page.evaluate(LOOK)
    page.close()
    assert said == []
    assert seen["overflow"] <= 0
    assert len(seen["charts"]) >= 4
    for chart in seen["charts"]:
        assert chart["marks"] > 0, chart
        assert chart["cut"] == [], chart
    light = sum(map(int, re.findall(r"\d+", seen["ink"])[:3])) < 3 * 128
    assert light == (scheme == "light")


@pytest.mark.parametrize("name", ["day", "backtest"])
def test_the_arrow_keys_read_a_chart(browser: Browser, pages: dict[str, Path], name: str) -> None:
    page, said = visit(browser, pages[name], 1280, "light")
    chart = page.locator("svg.wide[data-readouts]").first
    chart.focus()
    texts = []
    for key in ("ArrowLeft", "ArrowLeft", "ArrowRight"):
        page.keyboard.press(key)
        texts.append(page.locator("figure").first.locator(".readout").text_content())
    page.keyboard.press("Tab")
    left = page.locator("figure").first.locator(".readout").text_content()
    page.close()
    assert texts[0] and texts[1] and texts[0] != texts[1] and texts[2] == texts[0]
    assert (left, said) == ("", [])


def test_a_page_of_a_day_is_printed_on_two_sheets_in_black_on_white(
    browser: Browser, pages: dict[str, Path], tmp_path: Path
) -> None:
    page, _ = visit(browser, pages["day"], 1280, "dark")
    sheets = page.pdf(prefer_css_page_size=True)
    page.emulate_media(media="print")
    ink = page.evaluate("getComputedStyle(document.body).color")
    rows = (
        page.locator("table")
        .first.locator("tbody tr")
        .evaluate_all("rows => rows.filter((row) => row.getBoundingClientRect().height > 0).length")
    )
    page.close()
    assert re.findall(rb"/Count (\d+)", sheets) == [b"2"]
    assert (ink, rows) == ("rgb(0, 0, 0)", 7)
