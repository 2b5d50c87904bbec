"""Events are sent in forms that other distributions bring: a webhook may be of any.

Webhooks of other forms are turned off on the way down, and say why: the release before writes two.
"""

import sqlalchemy as sa
from alembic import op

revision = "0037"
down_revision = "0036"
branch_labels = None
depends_on = None

FORMS_BEFORE = ("cloudevents", "slack")


def upgrade() -> None:
    with op.batch_alter_table("webhooks") as batch:
        batch.drop_constraint(op.f("ck_webhooks_form"), type_="check")


def downgrade() -> None:
    hooks = sa.table("webhooks", sa.column("form"), sa.column("state"), sa.column("why"))
    why = sa.literal("it was of the form ") + hooks.c.form + sa.literal(", which this release does not write")
    op.execute(
        sa.update(hooks).where(hooks.c.form.not_in(FORMS_BEFORE)).values(form="cloudevents", state="off", why=why)
    )
    with op.batch_alter_table("webhooks") as batch:
        batch.create_check_constraint(op.f("ck_webhooks_form"), "form IN ('cloudevents', 'slack')")
