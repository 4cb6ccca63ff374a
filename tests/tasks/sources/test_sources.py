"""A source is found by its scheme; what cannot be read is one clear line."""

import datetime as dt
import os

import pandas as pd
import pytest

from models.config.data import Reading
from models.data.sample import make_sample
from models.errors import InputError
from tasks.sources import fetch_candles, is_synthetic

DAY = dt.date(2024, 12, 31)


def fetch(source):
    return fetch_candles(Reading(source=source), DAY)


@pytest.mark.parametrize(
    ("source", "variant"),
    [
        ("sample", "default"),
        ("sample:default", "default"),
        ("sample:random-walk", "random-walk"),
        ("sample:planted", "planted"),
    ],
)
def test_samples_are_labelled_synthetic(source, variant):
    fetched = fetch(source)
    pd.testing.assert_frame_equal(fetched.candles, make_sample(DAY, variant=variant))
    assert fetched.synthetic and is_synthetic(source)
    assert fetched.label.startswith("sample") and fetched.label.endswith("(SYNTHETIC)")
    assert (variant in fetched.label) == (variant != "default")


def test_a_csv_file_is_real_and_named_without_its_folder(tmp_path):
    path = tmp_path / "a:b.csv"
    path.write_text("date,close\n2020-01-01,5\n")
    fetched = fetch(f"csv:{path}")
    assert fetched.candles["close"].tolist() == [5.0]
    assert (fetched.label, fetched.synthetic) == ("csv:a:b.csv", False)
    assert not is_synthetic(f"csv:{path}")


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("smaple", "unknown source 'smaple': did you mean 'sample'"),
        ("CSV:x", "unknown source 'CSV:x': did you mean 'csv'"),
        ("BTC-USD.csv", "did you mean 'csv:BTC-USD.csv'"),
        ("", "unknown source '': expected one of .exchange:ID, csv:PATH, sample"),
        ("bitcoin", "expected one of .exchange:ID, csv:PATH, sample"),
        ("sample:planetd", "unknown sample 'planetd': did you mean 'sample:planted'"),
        ("sample:x", "unknown sample 'x': expected one of .default, random-walk, planted"),
        ("csv", "expected csv:PATH"),
        ("csv:", "expected csv:PATH"),
        ("csv:missing.csv", "no file 'missing.csv'"),
        ("csv:/", "is a directory"),
        ("csv:a\0b", "is no usable path"),
        ("csv:~no-such-user/x.csv", "is no usable path"),
        ("csv:" + "x" * 5000, "cannot read"),
    ],
)
def test_wrong_sources_are_answered_in_one_line(source, message):
    with pytest.raises(InputError, match=message) as error:
        fetch(source)
    assert "\n" not in str(error.value)


@pytest.mark.skipif(os.name == "nt" or os.geteuid() == 0, reason="root may read every file")
def test_an_unreadable_file_is_one_line(tmp_path):
    path = tmp_path / "x.csv"
    path.write_text("date,close\n")
    path.chmod(0)
    with pytest.raises(InputError, match="cannot read"):
        fetch(f"csv:{path}")
