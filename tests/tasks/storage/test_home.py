"""A Prefect profile that is named must be there."""

from __future__ import annotations

from pathlib import Path

import pytest

from models.errors import InputError
from tasks.storage.home import check_profile


def test_a_profile_must_be_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PREFECT_HOME", str(tmp_path))
    check_profile()
    monkeypatch.setenv("PREFECT_PROFILE", "mine")
    with pytest.raises(InputError, match=r"no profile 'mine' .*ephemeral.*unset the variable"):
        check_profile()
    (tmp_path / "profiles.toml").write_text("[profiles.mine]\n")
    check_profile()
    (tmp_path / "profiles.toml").write_text("[profiles")
    with pytest.raises(InputError, match="cannot read"):
        check_profile()
