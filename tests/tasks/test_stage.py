from __future__ import annotations

import pytest

from models.errors import InputError, LedgerError, NoForecastError, RegistryError, SourceError
from tasks.stage import _is_transient


class Ended:
    """The state of a task run that ended with an error."""

    def __init__(self, error: Exception) -> None:
        self.error = error

    def result(self, raise_on_failure: bool) -> Exception:
        assert not raise_on_failure
        return self.error


@pytest.mark.parametrize(
    ("error", "again"),
    [
        (OSError("connection reset"), True),
        (RegistryError("MLflow failed"), True),
        (LedgerError("database is locked"), True),
        # A source has tried again by itself.
        (SourceError("no answer"), False),
        (InputError("units: expected 1"), False),
        (NoForecastError("no champion"), False),
        (KeyError("close"), False),
    ],
)
def test_a_stage_is_tried_again_where_that_may_help(error: Exception, again: bool) -> None:
    assert _is_transient(None, None, Ended(error)) is again  # type: ignore[arg-type]
