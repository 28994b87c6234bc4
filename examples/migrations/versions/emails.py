"""An account's name must be there; SQLite needs a new table for that, which the batch makes."""

import sqlalchemy as sa
from alembic import op

revision = "emails"
down_revision = "accounts"


def upgrade() -> None:
    with op.batch_alter_table("account") as batch:
        batch.alter_column("name", existing_type=sa.String(50), nullable=False)
        batch.add_column(sa.Column("email", sa.String(100)))
        batch.create_unique_constraint("uq_account_email", ["email"])


def downgrade() -> None:
    with op.batch_alter_table("account") as batch:
        batch.drop_constraint("uq_account_email", type_="unique")
        batch.drop_column("email")
        batch.alter_column("name", existing_type=sa.String(50), nullable=True)
