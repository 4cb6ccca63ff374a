"""What a user types becomes a configuration, or one line that says what to mend."""

from __future__ import annotations

import datetime as dt
import json

import pytest

from models.config.flows import RetrainConfig
from models.config.overrides import make_config
from models.config.recipe import Chunks, Windows
from models.config.text import parse_config
from models.errors import InputError


def refusal(values=None, assignments=()):
    with pytest.raises(InputError) as error:
        make_config(values or {}, list(assignments))
    assert "\n" not in str(error.value)
    return str(error.value)


def test_nothing_given_is_the_default():
    assert make_config({}, []) == RetrainConfig()


def test_keys_are_whole_paths_or_their_last_part():
    for key in ("units", "recipe.units"):
        assert make_config({}, [f"{key}=5"]).recipe.units == 5
        assert make_config({key: 5}, []).recipe.units == 5
    assert make_config({"recipe": {"units": 5}}, []).recipe.units == 5


def test_every_last_part_is_the_key_of_one_section():
    names = [
        *RetrainConfig.model_fields,
        *(
            name
            for field in RetrainConfig.model_fields.values()
            if hasattr(field.annotation, "model_fields")
            for name in field.annotation.model_fields
        ),
    ]
    assert len(names) == len(set(names))


@pytest.mark.parametrize(
    ("assignment", "key", "value"),
    [
        ("units=5", "units", 5),
        (" units =5", "units", 5),
        ("cell=gru", "cell", "gru"),
        ("features=[close, log_return]", "features", ("close", "log_return")),
        ("quantile_levels=[0.1, 0.5]", "quantile_levels", (0.1, 0.5)),
    ],
)
def test_values_have_the_type_of_their_key(assignment, key, value):
    assert getattr(make_config({}, [assignment]).recipe, key) == value


@pytest.mark.parametrize(
    ("assignments", "training"),
    [
        (["learning_rate=1e-2"], Chunks(learning_rate=0.01)),
        (["training=windows", "shuffle=false"], Windows(shuffle=False)),
        (["shuffle=false", "training.kind=windows"], Windows(shuffle=False)),
        (["cell=bigru", "batch_size=64"], Windows(batch_size=64)),
        (["recipe.training.chunk_days=99", "epochs=2"], Chunks(chunk_days=99, epochs=2)),
    ],
)
def test_settings_of_the_training_are_reached_by_their_last_part(assignments, training):
    assert make_config({}, assignments).recipe.training == training


def test_a_setting_of_the_other_kind_of_training_is_told_apart():
    text = refusal(assignments=["shuffle=false"])
    assert "recipe.training.shuffle: not a setting of training 'chunks'" in text
    assert "known: chunk_days, chunks_per_update, epochs" in text
    text = refusal(assignments=["cell=bigru", "chunk_days=50"])
    assert "recipe.training.chunk_days: not a setting of training 'windows'" in text


def test_other_sections_are_reached_too():
    config = make_config(
        {}, ["as_of=2024-12-31", "max_missing_days=0", "test_share=0.2", "source=csv:a=b.csv"]
    )
    assert (config.as_of, config.source) == (dt.date(2024, 12, 31), "csv:a=b.csv")
    assert (config.repair.max_missing_days, config.judging.test_share) == (0, 0.2)


def test_the_later_assignment_wins_and_arguments_stay_as_they_were():
    values, assignments = {"recipe": {"units": 5}}, ["units=6", "units=7"]
    assert make_config(values, assignments).recipe.units == 7
    assert (values, assignments) == ({"recipe": {"units": 5}}, ["units=6", "units=7"])


@pytest.mark.parametrize(
    ("assignment", "words"),
    [
        ("untis=5", ["'untis'", "did you mean 'units'"]),
        ("recipe.untis=5", ["'recipe.untis'", "did you mean 'recipe.units'"]),
        ("judging.units=5", ["'judging.units'", "known: "]),
        ("recipe=5", ["unknown configuration key 'recipe'"]),
        ("=5", ["unknown configuration key ''"]),
        ("cell=gruu", ["recipe.cell", "'gruu'", "did you mean 'gru'"]),
        ("preset=asignment", ["'asignment'", "did you mean 'assignment'"]),
        ("preset=[a]", ["preset"]),
        ("preset={a: b}", ["preset"]),
        ("target=prise", ["recipe.target", "did you mean 'price'"]),
        ("units=0", ["recipe.units", "greater than or equal to 1", "received 0"]),
        ("units=", ["recipe.units", "received None"]),
        ("units=many", ["recipe.units", "integer", "received 'many'"]),
        ("dropout=1", ["recipe.dropout", "less than 1", "received 1"]),
        ("quantile_levels=[0.5, 0.1]", ["recipe.quantile_levels", "sorted"]),
        ("scale_on=all", ["leaks the future"]),
        ("as_of=tomorrow", ["as_of", "date", "received 'tomorrow'"]),
        ("as_of=2024-02-30", ["2024-02-30"]),
        ("symbol=bitcoin", ["symbol", "received 'bitcoin'"]),
        ("units", ["--set units", "expected KEY=VALUE"]),
        ("features=[close", ["--set features", "cannot read"]),
    ],
)
def test_what_is_wrong_is_said_in_one_line(assignment, words):
    message = refusal(assignments=[assignment])
    for word in words:
        assert word in message


def test_several_faults_are_all_said():
    message = refusal(assignments=["units=0", "cell=gruu"])
    assert "recipe.units" in message and "recipe.cell" in message


def test_values_from_a_file_are_checked_alike():
    assert "did you mean 'units'" in refusal({"recipe": {"untis": 5}}).replace("recipe.", "")
    assert "recipe.units" in refusal({"recipe": {"units": "many"}})


FILES = {
    "a.yaml": "source: csv:x.csv\nrecipe:\n  units: 5\n  features: [close]\n",
    "a.yml": "recipe: {units: 5, features: [close]}\nsource: 'csv:x.csv'\n",
    "A.TOML": 'source = "csv:x.csv"\n[recipe]\nunits = 5\nfeatures = ["close"]\n',
    "a.b.json": json.dumps({"source": "csv:x.csv", "recipe": {"units": 5, "features": ["close"]}}),
}


@pytest.mark.parametrize("name", FILES)
def test_the_same_file_in_every_format_is_the_same_configuration(name):
    config = make_config(parse_config(FILES[name], name), [])
    assert config == make_config({}, ["source=csv:x.csv", "units=5", "features=[close]"])


def test_dates_of_a_file_are_dates():
    for name, text in {"a.toml": "as_of = 2024-12-31", "a.json": '{"as_of": "2024-12-31"}'}.items():
        assert make_config(parse_config(text, name), []).as_of == dt.date(2024, 12, 31)


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("a.ini", "units=5", "expected a .toml, .yaml, .yml or .json file"),
        ("a.toml", "units: 5", "not valid TOML"),
        ("a.yaml", "units: [5\n", "not valid YAML"),
        ("a.json", '{"units": 5', "not valid JSON"),
        ("a.toml", "as_of = 2024-02-30", "not valid TOML"),
        ("a.yaml", "as_of: 2024-02-30", "not valid YAML"),
        ("a.yaml", "", "expected keys with values"),
        ("a.yaml", "- units\n- 5\n", "expected keys with values"),
    ],
)
def test_files_that_do_not_parse_are_named_in_one_line(name, text, message):
    with pytest.raises(InputError, match=message) as error:
        make_config(parse_config(text, name), [])
    assert name in str(error.value) and "\n" not in str(error.value)


@pytest.mark.parametrize("text", ["5: 6", "recipe: {5: 6}", "null: 1", "2024-01-01: 1"])
def test_keys_that_are_no_words_are_refused(text):
    assert "unknown configuration key" in refusal(parse_config(text, "a.yaml"))
