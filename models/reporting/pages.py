"""The report of one retrain, as Markdown, as one self-contained HTML page, and as table rows.

The texts of a summary come from files and users, so that all of them are escaped.
"""

from __future__ import annotations

import base64
import html
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from markdown_it import MarkdownIt

from models.reporting.summaries import DriftLook, RetrainSummary
from models.scoring.holdout import Echo

SYNTHETIC_NOTE = (
    "SYNTHETIC: generated candles, not Bitcoin. Nothing here says anything of a market."
)
REPRODUCTION_NOTE = "Reproduction: leaks the future, never promoted."

# Metric, its name for readers, its format.
METRICS = (
    ("rmse_usd", "RMSE, USD", ",.0f"),
    ("mae_usd", "MAE, USD", ",.0f"),
    ("mape", "MAPE", ".2%"),
    ("mase", "MASE, USD", ".3f"),
    ("rmse_log_return", "RMSE, log return", ".5f"),
    ("mae_log_return", "MAE, log return", ".5f"),
    ("mase_log_return", "MASE, log return", ".3f"),
    ("directional_accuracy", "Directional accuracy", ".1%"),
    ("crps_bp", "CRPS, bp of log return", ".1f"),
    ("crps_usd", "CRPS, USD", ",.0f"),
    ("coverage_90", "Coverage of the 90 % band", ".1%"),
    ("width_90", "Width of the 90 % band, log return", ".4f"),
    ("n_days", "Test days", ",d"),
)


def metrics_table(summary: RetrainSummary) -> list[dict[str, str]]:
    """Rows of the next day's metrics, one a metric: `metric`, then a formatted text per model."""
    by_model = summary.metrics
    return [
        {"metric": label}
        | {model: _format_metric(steps["1"], name, spec) for model, steps in by_model.items()}
        for name, label, spec in METRICS
    ]


def render_summary(summary: RetrainSummary) -> str:
    """The whole report as Markdown."""
    label = "SYNTHETIC " if summary.synthetic else ""
    parts = [f"# {label}{_text(summary.symbol)}: retrain to {_text(summary.as_of)}"]
    if summary.synthetic:
        parts.append(f"> **{SYNTHETIC_NOTE}**")
    if summary.reproduction:
        parts.append(f"> **{REPRODUCTION_NOTE}**")
    parts += [
        f"**Verdict.** {_text(summary.verdict_text)}",
        *_decision(summary),
        *_reason(summary),
        "## The next day",
        _metrics_section(summary),
        "## By horizon",
        _horizon_section(summary),
        "## Echo",
        _echo_section(summary.echo),
        "## Drift",
        _drift_section(summary.drift),
        "## Data",
        _data_section(summary),
        "## Model",
        _model_section(summary),
        "## Seconds by stage",
        _seconds_section(summary.seconds),
    ]
    return "\n\n".join(parts) + "\n"


def render_html(markdown: str, images: Mapping[str, bytes], title: str) -> str:
    """One HTML page that needs no other file: the Markdown, and PNG images by caption.

    The first image follows the report's head, the others its end. Raw HTML in the Markdown is shown
    as text.
    """
    parser = MarkdownIt("commonmark", {"html": False}).enable("table")
    figures = [_figure(caption, png) for caption, png in images.items()]
    head, heading, rest = markdown.partition("\n## ")
    body = [parser.render(head), *figures[:1], parser.render(heading + rest), *figures[1:]]
    return _PAGE.format(title=html.escape(title), style=_STYLE, body="\n".join(body))


def _decision(summary: RetrainSummary) -> list[str]:
    decision = summary.decision
    mark = " (unproven)" if decision.unproven else ""
    reasons = "; ".join(_text(reason) for reason in decision.reasons)
    return [f"**Decision.** {decision.action}{mark}: {reasons}."]


def _reason(summary: RetrainSummary) -> list[str]:
    return [f"**Why this retrain.** {_text(summary.reason)}."] if summary.reason else []


def _drift_section(look: DriftLook | None) -> str:
    """What the drift watch said after the last forecast; today's comes after this report."""
    if look is None:
        return "Not looked at yet: the drift watch looks after each forecast."
    day = f"with the forecast of {_text(look.as_of)}"
    if not look.alarms:
        return f"No alarm when last looked at, {day}."
    alarms = _list(f"**Alarm:** {_text(alarm)}" for alarm in look.alarms)
    return f"When last looked at, {day}:\n\n{alarms}"


def _metrics_section(summary: RetrainSummary) -> str:
    rows = metrics_table(summary)
    table = _table(list(rows[0]), [list(row.values()) for row in rows], numbers_from=1)
    skill = summary.skill["1"]
    return (
        f"{table}\n\nSkill against naive, with its 95 % interval (positive is better): RMSE of log "
        f"returns {_interval(skill, 'skill_rmse')}, CRPS {_interval(skill, 'skill_crps')}."
    )


def _horizon_section(summary: RetrainSummary) -> str:
    models = list(summary.metrics)
    columns = (
        ("rmse_usd", "RMSE, USD", ",.0f"),
        ("crps_bp", "CRPS, bp", ".1f"),
        ("coverage_90", "90 % coverage", ".0%"),
    )
    both = " / ".join(models)
    header = ["Days ahead", *(f"{label}: {both}" for _, label, _ in columns)]
    rows = []
    for step, skill in summary.skill.items():
        row = [step]
        for name, _, spec in columns:
            scores = (summary.metrics[model][step].get(name) for model in models)
            row.append(" / ".join(_format(score, spec) for score in scores))
        rows.append([*row, _interval(skill, "skill_rmse"), _interval(skill, "skill_crps")])
    return _table([*header, "Skill, RMSE", "Skill, CRPS"], rows, numbers_from=0)


def _echo_section(echo: Echo) -> str:
    meaning = (
        "It mostly repeats yesterday: on a price chart it looks better than it is."
        if echo.is_echo
        else "It does not just repeat yesterday."
    )
    return (
        f"The daily change of the predicted price has a correlation of "
        f"{_format(echo.correlation_today, '.2f')} with the same day's actual change and of "
        f"{_format(echo.correlation_yesterday, '.2f')} with the day before's. {meaning}"
    )


def _data_section(summary: RetrainSummary) -> str:
    findings = [
        f"{_text(item.severity)}: {_text(item.kind)}, {_text(item.message)}"
        for item in summary.findings
    ]
    facts = [
        f"Source: {_code(summary.source)}, {summary.snapshot_rows:,} candles from "
        f"{_text(summary.first_day)} to {_text(summary.as_of)}",
        f"Snapshot SHA-256: {_code(summary.snapshot_hash)}",
        f"Features: {_names(summary.features_used)}",
        f"Features left out: {_names(summary.features_left_out)}",
        f"Repairs: {'; '.join(_text(item) for item in summary.repairs) or 'none'}",
        f"Findings: {len(findings) or 'none'}",
    ]
    return _list(facts) + "".join(f"\n  - {finding}" for finding in findings)


def _model_section(summary: RetrainSummary) -> str:
    # Aliases move after the report, last of all: the decision above says what they will be.
    facts = [
        f"Registered as {_code(summary.registered_model)}, version {_text(summary.model_version)}",
        f"Experiment {_code(summary.experiment)}, run {_code(summary.run_id)}",
    ]
    recipe = [[_text(key), _text(_plain(value))] for key, value in summary.recipe.items()]
    return f"{_list(facts)}\n\n{_table(['Recipe', ''], recipe, numbers_from=2, escaped=True)}"


def _seconds_section(seconds: Mapping[str, float]) -> str:
    rows = [[stage, f"{value:.2f}"] for stage, value in seconds.items()]
    rows.append(["all", f"{sum(seconds.values()):.2f}"])
    return _table(["Stage", "Seconds"], rows, numbers_from=1)


def _format(value: float | None, spec: str) -> str:
    return "n/a" if value is None else format(value, spec)


def _format_metric(scores: Mapping[str, Any], name: str, spec: str) -> str:
    text = _format(scores.get(name), spec)
    low, high = scores.get(f"{name}_low"), scores.get(f"{name}_high")
    if low is None or high is None:
        return text
    return f"{text} ({_format(low, spec)} to {_format(high, spec)})"


def _interval(skill: Mapping[str, Any], name: str) -> str:
    return _format_metric(skill, name, "+z.2%")


def _plain(value: Any) -> str:
    if isinstance(value, Sequence) and not isinstance(value, str):
        return ", ".join(str(item) for item in value)
    return str(value)


def _names(names: Iterable[str]) -> str:
    return ", ".join(_code(name) for name in names) or "none"


def _list(lines: Iterable[str]) -> str:
    return "\n".join(f"- {line}" for line in lines)


def _table(
    header: Sequence[str],
    rows: Iterable[Sequence[str]],
    *,
    numbers_from: int,
    escaped: bool = False,
) -> str:
    """A Markdown table; columns from `numbers_from` on are aligned to the right."""
    rule = ["---:" if place >= numbers_from else "---" for place in range(len(header))]
    cells = [[cell if escaped else _text(cell) for cell in row] for row in (header, *rows)]
    return "\n".join(f"| {' | '.join(row)} |" for row in (cells[0], rule, *cells[1:]))


def _text(value: Any) -> str:
    """Any value as one line of Markdown that shows it as it is, whatever it holds."""
    line = " ".join(str(value).split())
    return re.sub(r"([\\`*_\[\]<>|&#~!])", r"\\\1", line)


def _code(value: Any) -> str:
    """A value as a code span; as escaped text where a code span cannot hold it."""
    line = " ".join(str(value).split())
    return _text(line) if not line or re.search(r"[`|\\]", line) else f"`{line}`"


def _figure(caption: str, png: bytes) -> str:
    name, data = html.escape(caption), base64.b64encode(png).decode("ascii")
    return (
        f'<figure><img src="data:image/png;base64,{data}" alt="{name}">'
        f"<figcaption>{name}</figcaption></figure>"
    )


_PAGE = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title}</title>
<style>{style}</style>
</head>
<body>
<main>
{body}
</main>
</body>
</html>
"""

_STYLE = """
:root { color-scheme: light dark; --ink: #222; --soft: #666; --line: #ddd; --paper: #fff;
  --mark: #fff4d6; }
@media (prefers-color-scheme: dark) { :root { --ink: #e6e6e6; --soft: #a0a0a0; --line: #3a3a3a;
  --paper: #16181b; --mark: #3a3116; } }
body { margin: 0; background: var(--paper); color: var(--ink);
  font: 16px/1.55 system-ui, sans-serif; }
main { max-width: 56rem; margin: 0 auto; padding: 2rem 1rem 4rem; }
h1 { font-size: 1.7rem; line-height: 1.2; }
h2 { font-size: 1.15rem; margin-top: 2.2rem; border-bottom: 1px solid var(--line); }
blockquote { margin: 1rem 0; padding: .3rem 1rem; background: var(--mark);
  border-left: 4px solid #e69f00; }
table { display: block; overflow-x: auto; border-collapse: collapse; font-size: .9rem;
  font-variant-numeric: tabular-nums; }
th, td { padding: .3rem .8rem .3rem 0; border-bottom: 1px solid var(--line); text-align: left; }
code { font-size: .9em; overflow-wrap: anywhere; }
figure { margin: 1.5rem 0; }
img { width: 100%; height: auto; border-radius: 4px; background: #fff; }
figcaption { color: var(--soft); font-size: .85rem; }
"""
