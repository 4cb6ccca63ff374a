"""The short verdict."""

from __future__ import annotations

import pytest

from models.scoring.holdout import say_briefly


@pytest.mark.parametrize(
    ("low", "high", "told"),
    [
        (0.01, 0.03, "range better than naive's (+2.0 %); price: no evidence of skill"),
        (
            -0.01,
            0.03,
            "range not provably better than naive's (+2.0 %); price: no evidence of skill",
        ),
        (None, None, "range not yet told from naive's (+2.0 %); price: no evidence of skill"),
    ],
)
def test_short_verdict_leads_with_the_distribution(low, high, told):
    skill = {"skill_crps": 0.02, "skill_crps_low": low, "skill_crps_high": high}
    assert say_briefly("no evidence of skill", skill) == told
