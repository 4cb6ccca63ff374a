"""Forecasts, scores, moves of aliases, alarms."""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None


def upgrade() -> None:
    """Make the tables."""
    op.create_table(
        "forecasts",
        sa.Column("id", sa.Integer, primary_key=True),
        sa.Column("symbol", sa.String(32), nullable=False),
        sa.Column("model", sa.String(64), nullable=False),
        sa.Column("version", sa.Integer, nullable=False),
        sa.Column("as_of", sa.Date, nullable=False),
        sa.Column("target_date", sa.Date, nullable=False, index=True),
        sa.Column("step", sa.Integer, nullable=False),
        sa.Column("kind", sa.String(16), nullable=False),
        sa.Column("issued_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("source", sa.String(200), nullable=False),
        sa.Column("snapshot_sha256", sa.String(64), nullable=False),
        sa.Column("close_origin", sa.Float, nullable=False),
        sa.Column("levels", sa.Text, nullable=False),
        sa.Column("quantiles", sa.Text, nullable=False),
        sa.Column("note", sa.Text, nullable=False),
        sa.UniqueConstraint(
            "symbol", "model", "version", "as_of", "target_date", "kind", name="one_forecast"
        ),
    )
    op.create_table(
        "scores",
        sa.Column("forecast_id", sa.Integer, sa.ForeignKey("forecasts.id"), primary_key=True),
        sa.Column("revision", sa.Integer, primary_key=True),
        sa.Column("scored_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("source", sa.String(200), nullable=False),
        sa.Column("actual_usd", sa.Float, nullable=False),
        sa.Column("actual", sa.Float, nullable=False),
        sa.Column("crps_bp", sa.Float, nullable=False),
        sa.Column("pinball_bp", sa.Text, nullable=False),
        sa.Column("pit", sa.Float, nullable=False),
        sa.Column("inside_50", sa.Boolean),
        sa.Column("inside_80", sa.Boolean),
        sa.Column("inside_90", sa.Boolean),
        sa.Column("inside_95", sa.Boolean),
        sa.Column("naive_crps_bp", sa.Float),
        sa.Column("ewma_crps_bp", sa.Float),
        sa.Column("note", sa.Text, nullable=False),
    )
    op.create_table(
        "alias_history",
        sa.Column("id", sa.Integer, primary_key=True),
        sa.Column("model", sa.String(64), nullable=False),
        sa.Column("alias", sa.String(32), nullable=False),
        sa.Column("action", sa.String(16), nullable=False),
        sa.Column("from_version", sa.Integer),
        sa.Column("to_version", sa.Integer),
        sa.Column("why", sa.Text, nullable=False),
        sa.Column("who", sa.String(100), nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("key", sa.String(64), nullable=False),
        sa.Column("pinned", sa.Boolean, nullable=False),
        sa.Column("state", sa.String(16), nullable=False),
        sa.UniqueConstraint("model", "alias", "key", name="one_move"),
    )
    op.create_table(
        "alarms",
        sa.Column("id", sa.Integer, primary_key=True),
        sa.Column("model", sa.String(64), nullable=False),
        sa.Column("as_of", sa.Date, nullable=False),
        sa.Column("kind", sa.String(16), nullable=False),
        sa.Column("value", sa.Float, nullable=False),
        sa.Column("limit", sa.Float, nullable=False),
        sa.Column("text", sa.Text, nullable=False),
        sa.UniqueConstraint("model", "as_of", "kind", "text", name="one_alarm"),
    )


def downgrade() -> None:
    """Drop the tables."""
    for name in ("alarms", "alias_history", "scores", "forecasts"):
        op.drop_table(name)
