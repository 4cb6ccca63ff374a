"""No password or key of an address is shown, however malformed the address is."""

from __future__ import annotations

import pytest

from models.config.base import shorten
from models.errors import InputError, SourceError
from models.masking import find_secrets, mask


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("postgresql://me:hush@host/db", "postgresql://host/db"),
        ("postgresql://me:hu@sh@host:5/db", "postgresql://host:5/db"),
        ("postgresql://me:hu/sh@host/db", "postgresql://host/db"),
        ("postgresql://me:hu?sh#x@host/db", "postgresql://host/db"),
        ("no answer at (http://hush@host).", "no answer at (http://host)."),
        ("postgresql://host/db?password=hush&x=1", "postgresql://host/db?password=***&x=1"),
        ("http://host/x?key=hush and y", "http://host/x?key=*** and y"),
        ("http://host/x?a=b&apikey=hush&sig=hush", "http://host/x?a=b&apikey=***&sig=***"),
        ("http://host/x?X-Amz-Signature=hush", "http://host/x?X-Amz-Signature=***"),
        ("ws://host?access_token=hush", "ws://host?access_token=***"),
        ("user=me password=hush host=x", "user=me password=*** host=x"),
        ("s3://key:hush@bucket/x, ftp://me:hush@h", "s3://bucket/x, ftp://h"),
        ("smtp://USER:PASSWORD@HOST:587", "smtp://USER:PASSWORD@HOST:587"),
        ("sqlite:////home/me@work/ledger.db", "sqlite:////home/me@work/ledger.db"),
        ("file:///home/me@work/x", "file:///home/me@work/x"),
        ("mail me@example.org, csv:me@home.csv", "mail me@example.org, csv:me@home.csv"),
        ("set PREFECT_API_AUTH_STRING to name:password", None),
        ("retrain_key='abc' or units=64, seed=7", None),
    ],
)
def test_what_is_shown_of_an_address(text: str, shown: str | None) -> None:
    assert mask(text) == (text if shown is None else shown)
    for error in (InputError(text), SourceError(text)):
        assert str(error) == mask(text)


def test_secrets_are_hidden_wherever_they_stand() -> None:
    assert mask("key abc-def-ghi-jkl1x", {"abc-def-ghi-jkl1"}) == "key ***x"
    assert mask("postgres failed at postgresql://h", {"postgres"}) == "*** failed at postgresql://h"
    assert mask("at 12 of 120", {"12"}) == "at 12 of 120"


@pytest.mark.parametrize(
    ("address", "found"),
    [
        ("postgresql://me:hush@host/db", {"hush"}),
        ("postgresql://me:h%40ush@host/db", {"h%40ush", "h@ush", "h%2540ush"}),
        ("me:hu@shy:word@host", {"hu@shy:word", "word", "hu%40shy%3Aword"}),
        ("http://host/x?key=hush&b=1", {"hush"}),
        ("https://ghp_0123456789@host", {"ghp_0123456789"}),
        ("https://me@host", set()),
        ("data/me@work/a:b/c", set()),
        ("http://host:80/x", set()),
    ],
)
def test_secrets_of_an_address(address: str, found: set[str]) -> None:
    assert find_secrets(address) >= found
    assert found or not find_secrets(address)


def test_a_value_is_masked_before_it_is_cut() -> None:
    long = f"http://me:{'hush' * 40}@host/x"
    assert shorten(long) == "'http://host/x'"
    assert "hush" not in shorten([long]) and "hush" not in shorten({"x": long}, quoted=False)


@pytest.mark.parametrize(
    ("said", "shown"),
    [
        ("password='a b c' x", "password=*** x"),
        ("postgresql:///u:secret1@h/db", "postgresql://h/db"),
        ("postgresql://u:p/a@ss@h/db", "postgresql://h/db"),
        ("{'password': 'hunter22'}", "{'password': ***}"),
        ('{"api_key": "abc"}', '{"api_key": ***}'),
        ("Authorization: Bearer abc.def", "Authorization: Bearer ***"),
        ("AccountKey=xyz==", "AccountKey=***"),
    ],
)
def test_other_ways_to_write_a_secret(said, shown):
    assert mask(said) == shown


@pytest.mark.parametrize(
    "said",
    [
        "s3://bucket/path@v1/file",
        '{"url":"http://localhost:4200/api","mail":"me@x.org"}',
        "max_tokens=5",
        "https://h:5000/team@home/x",
        "http://[::1]:80/a@b",
        "secret_block: expected a string",
    ],
)
def test_what_is_no_secret_stays(said):
    assert mask(said) == said and not find_secrets(said)
