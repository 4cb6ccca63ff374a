"""Pages from templates: one self-contained HTML file each."""

from __future__ import annotations

from functools import cache
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined, select_autoescape

from models.reporting.chart import Chart, draw
from models.wording import percent, price


def render_page(name: str, facts: dict[str, Any]) -> str:
    """The page `name` (day, backtest, history); whatever is in `facts` is escaped."""
    return _templates().get_template(f"{name}.html.j2").render(facts)


def render_chart(chart: Chart, width: int = 720) -> str:
    """One chart as an SVG file that carries its own colours, for light and dark."""
    return _templates().get_template("chart_file.svg.j2").render(chart=chart, width=width)


@cache
def _templates() -> Environment:
    environment = Environment(
        loader=PackageLoader("models.reporting"),
        autoescape=select_autoescape(default=True, default_for_string=True),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.globals["draw"] = draw
    environment.filters |= {"price": price, "percent": percent}
    return environment
