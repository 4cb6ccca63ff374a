"""What users, files and exchanges write stays text: on pages, in MLflow and in Prefect."""

from __future__ import annotations

import datetime as dt
import json
import re
import sqlite3
from contextlib import closing
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import pytest
from markdown_it import MarkdownIt
from mlflow import MlflowClient
from pydantic import ValidationError

from flows.forecast import forecast
from flows.retrain import retrain
from models.config.flows import RetrainConfig
from tasks.registry.aliases import set_pin
from tests.browser import look_at
from tests.flows.states import Run
from tests.simulation.days import NAME

pytestmark = pytest.mark.server

# Whatever of these runs says so in the title of the page.
ATTACK = (
    "</script></style></title><script>document.title='RUN'</script>"
    "<img src=x onerror=document.title='RUN'><svg onload=document.title='RUN'>"
    "[a](javascript:document.title='RUN') ![i](http://127.0.0.1:9/x)"
)
FILE_ATTACK = "<img src=x onerror=document.title='RUN'> ![i](x).csv"


class Hostile(BaseHTTPRequestHandler):
    """An exchange whose errors are a page."""

    def do_GET(self) -> None:
        body = json.dumps({"error": ATTACK, "message": ATTACK}).encode()
        self.send_response(400)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass


def elements(markdown: str) -> set[str]:
    """What a reader of Markdown that lets HTML through makes of a text."""
    return set(re.findall(r"<([a-z]+)", MarkdownIt("commonmark", {"html": True}).render(markdown)))


def test_hostile_reasons_files_and_exchanges_stay_text(
    run: Run, one_day: Path, client: MlflowClient, shared_root: Path, tmp_path: Path
) -> None:
    # The candles that `run` writes, under a name that is an attack.
    run(forecast, 1)
    hostile = one_day / FILE_ATTACK
    hostile.write_bytes((one_day / "candles.csv").read_bytes())
    set_pin(client, NAME, pinned=True, why=ATTACK, at=dt.datetime.now(dt.UTC))
    made = run(retrain, 1, reason=ATTACK, source=f"csv:{hostile}")
    server = ThreadingHTTPServer(("127.0.0.1", 0), Hostile)
    Thread(target=server.serve_forever, daemon=True).start()
    url = f"http://127.0.0.1:{server.server_address[1]}"
    ingestion = {"exchange_url": url, "attempts": 1}
    told = run(forecast, 2, source="exchange:bitstamp", ingestion=ingestion)
    server.shutdown()
    assert "RUN" in " ".join(told["notes"])

    pages = sorted((one_day / "reports" / NAME).glob("*.html"))
    assert len(pages) == 3
    for page in pages:
        shown = look_at(page.as_uri(), tmp_path / "profile")
        [title] = re.findall("<title>(.*?)</title>", shown)
        assert "RUN" not in title, page
    assert "&lt;img src=x" in pages[1].read_text()

    version = client.get_model_version(NAME, made["model_version"])
    note = client.get_run(made["run_id"]).data.tags["mlflow.note.content"]
    assert "document" in note and "document" in version.description
    # The only picture is the fan chart.
    assert re.findall(r'src="([^"]*)', MarkdownIt().render(note)) == [
        f"get-artifact?path=pages%2F{made['as_of']}-fan.svg&amp;run_uuid={made['run_id']}"
    ]
    with closing(sqlite3.connect(shared_root / "prefect.db")) as database:
        texts = database.execute(
            "SELECT data, description FROM artifact WHERE type IN ('markdown', 'table')"
            " AND (data LIKE '%RUN%' OR description LIKE '%RUN%')"
        ).fetchall()
    markdown = [text for row in texts for text in row if text and "RUN" in text]
    assert len(markdown) >= 3
    for text in (note, version.description, *markdown):
        pictures = {"img"} if text == note else set()
        assert elements(text) - pictures <= {"p", "h", "ul", "li", "strong", "code", "a"}, text
        assert "javascript" not in str(re.findall(r"href=\"[^\"]*", MarkdownIt().render(text)))


def test_names_are_no_place_for_anything_else() -> None:
    for values in (
        {"symbol": "<b>/USD"},
        {"symbols": ["BTC/USD", "<script>/USD"]},
        {"exogenous": [{"name": "<script>", "path": "x"}]},
    ):
        with pytest.raises(ValidationError):
            RetrainConfig.model_validate(values)
