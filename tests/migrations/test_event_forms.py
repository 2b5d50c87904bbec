"""A webhook of a form that the release before does not write is off there, and says why."""

import sqlalchemy as sa

from deltareg.db import tables as t
from deltareg.db.session import create_engine, read, write
from deltareg_migrations import schema as migrations
from tests.migrations.populated import populate


def test_a_webhook_of_another_form_is_turned_off_on_the_way_down(database_url):
    populate(database_url)
    engine = create_engine(database_url)
    with write(engine) as conn:
        conn.execute(sa.update(t.webhooks).values(form="teams"))

    migrations.downgrade(database_url, revision="0036")

    with read(engine) as conn:
        rows = conn.execute(sa.select(t.webhooks.c.form, t.webhooks.c.state, t.webhooks.c.why)).all()
    engine.dispose()
    assert [(form, state) for form, state, _ in rows] == [("cloudevents", "off")]
    assert "of the form teams" in rows[0].why
    migrations.upgrade(database_url)
    assert migrations.check(database_url) == []
