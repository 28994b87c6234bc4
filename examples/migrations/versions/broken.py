"""A migration that fails midway: what it did is undone."""

import sqlalchemy as sa
from alembic import op

revision = "broken"
down_revision = "accounts"


def upgrade() -> None:
    op.create_table("half_done", sa.Column("id", sa.Integer, primary_key=True))
    op.execute("DELETE FROM account")
    raise ZeroDivisionError("a mistake in this migration")


def downgrade() -> None:
    op.drop_table("half_done")
