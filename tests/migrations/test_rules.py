"""On the way down a channel's policy loses what the release before does not know, and keeps the rest."""

import sqlalchemy as sa

from deltareg.db import tables as t
from deltareg.db.session import create_engine, read, write
from deltareg_migrations import schema as migrations
from tests.migrations.populated import populate


def test_a_policy_loses_the_keys_of_rules_on_the_way_down(database_url):
    populate(database_url)
    engine = create_engine(database_url)
    with write(engine) as conn:
        policy = {"suites": ["smoke"], "approvals": 1, "auto_promote": True, "label": {"released": "{date}"}}
        conn.execute(sa.update(t.channels).values(policy=policy))

    migrations.downgrade(database_url, revision="0041")

    with read(engine) as conn:
        policies = conn.execute(sa.select(t.channels.c.policy)).scalars().all()
    engine.dispose()
    assert policies
    assert all(policy == {"suites": ["smoke"], "approvals": 1} for policy in policies)
    migrations.upgrade(database_url)
    assert migrations.check(database_url) == []
