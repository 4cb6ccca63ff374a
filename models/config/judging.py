"""How a forecaster is measured and promoted, what the daily watch looks out for, what is kept."""

from __future__ import annotations

from pydantic import Field

from models.config.base import Frozen


class Judging(Frozen):
    """How the forecaster is measured against naive persistence."""

    test_share: float = Field(0.15, ge=0.01, lt=0.9)
    """Last part of the windows, seen by nothing before evaluation."""
    bootstrap_samples: int = Field(2000, ge=100, le=100_000)
    """Resamples of the block bootstrap for the interval of the skill."""
    block_days: int = Field(20, ge=1, le=365)
    """Length of a block, in days; longer than the memory of the daily errors."""


class Promotion(Frozen):
    """When a new version takes the champion's place."""

    judged_origins: int = Field(180, ge=20, le=5000)
    """Last test origins on which challenger and champion are compared, or as many as there are."""
    significance: float = Field(0.05, gt=0, lt=1)
    """Diebold-Mariano p-value below which another recipe counts as better than the champion's."""
    naive_significance: float = Field(0.05, gt=0, lt=0.5)
    """One-sided Diebold-Mariano p-value below which a version counts as worse than naive."""
    refresh_margin: float = Field(0.02, ge=0, le=1)
    """Relative CRPS by which a refitted recipe may be worse than its predecessor and serve."""
    coverage_significance: float = Field(0.01, gt=0, lt=1)
    """Probability at which the 90 % band's binomial interval rejects a calibrated model."""
    min_live_days: int = Field(60, ge=10, le=5000)
    """Scored live forecasts of the champion from which on they count in the decision too."""


class Watch(Frozen):
    """What the daily forecast looks out for."""

    max_age_days: int = Field(3, ge=0, le=365)
    """Age of the newest candle, in days behind the newest closed one, that still gives a forecast.
    """
    catch_up_days: int = Field(30, ge=0, le=3660)
    """Missed days at most that are forecast afterwards, labelled catch-up."""
    watch_days: int = Field(90, ge=30, le=3660)
    """Newest days that the drift watch looks at."""
    alarm_significance: float = Field(0.01, gt=0, lt=1)
    """Probability at which the live coverage of a calibrated model would raise an alarm."""
    max_crps_ratio: float = Field(1.1, gt=0)
    """Live CRPS over naive's above which an alarm is raised."""
    max_shift: float = Field(1.5, ge=1)
    """Stability index of an input, over the largest of its past windows, that raises an alarm."""
    retrain_on_drift: bool = False
    """Whether `forecast` retrains at once on an alarm of a kind not raised in the watched days."""


class Retention(Frozen):
    """What the daily retrain keeps when it cleans up.

    What the ledger, the champion or its last predecessors name stays for good.
    """

    keep_days: int = Field(90, ge=1, le=36_500)
    """Age in days, behind the newest candle, from which what nothing names is deleted."""
    keep_champions: int = Field(30, ge=0, le=10_000)
    """Former champions that stay for good, with plots and scores, so that a rollback finds them."""
