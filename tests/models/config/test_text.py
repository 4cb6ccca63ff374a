"""Text that users write: any of it becomes values or one short line, at once."""

from __future__ import annotations

import random
import time

import pytest

from models.config.overrides import make_config
from models.config.text import parse_config, parse_value
from models.errors import InputError

YAML = """source: csv:x.csv
symbol: BTC/USD
as_of: 2024-12-31
recipe:
  units: 5
  dropout: 0.25
  features: [close, log_return]
  training: {kind: chunks, epochs: 3}
exogenous:
  - {name: mood, path: mood.csv, before: 50}
  - fear=fear.csv
repair: {max_missing_days: 3}
"""
TOML = """source = "csv:x.csv"
as_of = 2024-12-31
exogenous = ["mood=mood.csv"]
[recipe]
units = 5
features = ["close"]
[recipe.training]
kind = "windows"
epochs = 3
"""
JSON = '{"source": "csv:x.csv", "recipe": {"units": 5, "features": ["close"]}, "judging": {}}'
LAUGHS = "a: &a [x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"{new}: &{new} [*{old}, *{old}, *{old}, *{old}, *{old}, *{old}, *{old}, *{old}, *{old}]\n"
    for old, new in zip("abcdefgh", "bcdefghi", strict=True)
)


def outcome(text: str, name: str) -> str:
    """'' for a configuration, else the one line that refuses it; both within a second."""
    began = time.monotonic()
    try:
        make_config(parse_config(text, name), [])
        message = ""
    except InputError as error:
        message = str(error)
    assert time.monotonic() - began < 5
    assert "\n" not in message and len(message) < 3000
    return message


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("a.yaml", LAUGHS, "anchors"),
        ("a.yaml", "a: &a [*a]\n", "anchors"),
        ("a.yaml", "recipe: &r\n  units: *r\n", "anchors"),
        ("a.yaml", "as_of: !!timestamp xx\n", "not valid YAML"),
        ("a.yaml", "units: !!int xx\n", "not valid YAML"),
        ("a.yaml", "units: !!python/object/apply:os.system [ls]\n", "not valid YAML"),
        ("a.yaml", "units: !!binary '*'\n", "recipe.units"),
        ("a.yaml", "units: " + "[" * 100_000, "deeper than 20"),
        ("a.yaml", "".join(" " * n + "a:\n" for n in range(900)), "deeper than 20"),
        ("a.yaml", "units: " + "{a: " * 50_000, "deeper than 20"),
        ("a.yaml", "units: 1" + ":1" * 300_000, "more than 10,000 characters"),
        ("a.yaml", "units: " + "9" * 9_000, "not valid YAML"),
        ("a.yaml", "features: [" + "a, " * 200_000 + "]", "more than 100,000"),
        ("a.yaml", "#" * 1_000_001, "more than 1 MB"),
        ("a.yaml", "? [a, b]\n: 5\n", "not valid YAML"),
        ("a.yaml", "a\0b: 5\n", "not valid YAML"),
        ("a.yaml", "- a\n- b\n", "expected keys with values"),
        ("a.json", "[" * 100_000, "deeper than 20"),
        ("a.json", '{"units": ' * 20_000, "deeper than 20"),
        ("a.json", '{"units": 1e999999999}', "units"),
        ("a.toml", "a = " + "[" * 100_000, "not valid TOML"),
        ("a.toml", "a = " + "[" * 300 + "]" * 300, "deeper than 20"),
        ("a.toml", "a" + ".a" * 100_000 + " = 1", "more than 1,000 parts"),
        ("a.toml", "a" + ".a" * 500 + " = 1", "deeper than 20"),
        ("a.toml", "a = 1" + "0" * 9_000, "not valid TOML"),
        ("a.toml", "a = '" + "x" * 500_000 + "'", "unknown configuration key"),
        ("a.yaml", "recipe: {training: 5}\nepochs: 3\n", "training is given twice"),
    ],
)
def test_what_explodes_or_nests_without_end_is_one_short_line(
    name: str, text: str, message: str
) -> None:
    said = outcome(text, name)
    assert message in said and len(said) < 1500


@pytest.mark.parametrize(
    "text", ["x" * 9_000, "[" + "a, " * 3000 + "]", "{" * 19, "a" * 50 + ": 1"]
)
def test_values_are_shortened_where_they_are_quoted(text: str) -> None:
    for key in ("units", "cell", "symbol", "as_of", "features", "x" * 9_000):
        with pytest.raises(InputError) as error:
            make_config({}, [f"{key}={text}"])
        assert "\n" not in str(error.value) and len(str(error.value)) < 2500


def test_many_faults_are_not_all_said() -> None:
    values = {"recipe": dict.fromkeys(("units", "layers", "dropout", "members", "seed"), "x")}
    values["judging"] = {"test_share": "x", "block_days": "x"}
    with pytest.raises(InputError, match=r"; and 2 more$"):
        make_config(values, [])


def test_one_value_is_what_yaml_says() -> None:
    assert parse_value("--set a", "[1, 2.5, x]") == [1, 2.5, "x"]
    with pytest.raises(InputError, match="--set a: cannot read the value"):
        parse_value("--set a", "!!timestamp xx")


def mutate(text: str, chance: random.Random) -> str:
    for _ in range(chance.randint(1, 3)):
        at = chance.randrange(len(text) + 1)
        end = min(len(text), at + chance.choice([1, 1, 2, 20]))
        piece = chance.choice(
            [
                "", ":", "[", "]", "{", "}", "-", "&a ", "*a", "!!timestamp ", "!!set ", "? ", "|",
                ">", "'", '"', "\n", "  ", "\t", "0x", "1e400", "~", ".nan", "2024-02-30", "\0",
                "\ud800", "\u2028", "9" * 50, "null", "[[", "recipe: ", "=", "#", "%", "@", "\\",
                text[at:end] * 3,
            ]
        )  # fmt: skip
        text = text[:at] + piece + text[end if chance.random() < 0.5 else at :]
    return text


def test_five_hundred_mutated_configurations_are_read_or_refused() -> None:
    chance = random.Random(3)
    files = [("a.yaml", YAML), ("a.toml", TOML), ("a.json", JSON)]
    refused = 0
    for _ in range(500):
        name, text = chance.choice(files)
        refused += bool(outcome(mutate(text, chance), name))
    assert 50 < refused < 490
    assert [outcome(text, name) for name, text in files] == ["", "", ""]
