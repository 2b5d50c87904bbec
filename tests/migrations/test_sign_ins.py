"""On the way down, nobody stays signed in: the release before would ask no provider whether they still are."""

import sqlalchemy as sa

from deltareg.db import tables as t
from deltareg.db.session import create_engine, read
from deltareg_migrations import schema as migrations
from tests.migrations.populated import populate


def test_tokens_of_sign_ins_are_revoked_and_no_others(empty_database_url):
    migrations.upgrade(empty_database_url)
    populate(empty_database_url)

    migrations.downgrade(empty_database_url, revision="0045")

    engine = create_engine(empty_database_url)
    with read(engine) as conn:
        query = sa.select(t.tokens.c.id, t.tokens.c.revoked_at.is_not(None)).order_by(t.tokens.c.id)
        revoked = [tuple(row) for row in conn.execute(query)]
    engine.dispose()
    assert revoked == [(1, False), (2, False), (3, True)]
