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


def test_policies_and_floors_lose_what_the_release_before_does_not_know_of_others(database_url, engine):
    populate(database_url)
    asked = {"licences": ["mit"], "datasets": ["a/*"], "metrics": [{"name": "a", "at_most": 1.5, "from": "anyone"}]}
    with write(engine) as conn:
        conn.execute(sa.update(t.channels).values(policy={"suites": ["smoke"], **asked}))
        if conn.dialect.name == "postgresql":  # which counts on from the rows that were laid by number
            conn.execute(sa.text("SELECT setval(pg_get_serial_sequence('floors', 'id'), 10)"))
        conn.execute(sa.insert(t.floors).values(policy={"approvals": 2, **asked}, reason="everywhere"))

    migrations.downgrade(database_url, revision="0042")

    with read(engine) as conn:
        policies = conn.execute(sa.select(t.channels.c.policy)).scalars().all()
        floors = conn.execute(sa.select(t.floors.c.namespace_id, t.floors.c.policy).order_by(t.floors.c.id)).all()
    engine.dispose()
    assert all(policy == {"suites": ["smoke"]} for policy in policies)
    assert [tuple(row) for row in floors if row.namespace_id is None] == [
        (None, {"approvals": 2, **asked}),
        (None, {"approvals": 2}),
    ]
    migrations.upgrade(database_url)
    assert migrations.check(database_url) == []


def test_exchanged_tokens_end_on_the_way_down_and_others_stay(database_url):
    populate(database_url)
    engine = create_engine(database_url)
    with write(engine) as conn:
        made = conn.execute(sa.select(t.tokens.c.id, t.tokens.c.revoked_at)).all()
        row = {"principal_id": 3, "display": "drg_ci_x", "kind": "ci", "scopes": ["push"], "trust_id": 1, "claims": {}}
        conn.execute(sa.insert(t.tokens).values(id=900, token_hash="exchanged", **row))

    migrations.downgrade(database_url, revision="0047")

    with read(engine) as conn:
        now = {row[0]: row[1] for row in conn.execute(sa.text("SELECT id, revoked_at FROM tokens"))}
    engine.dispose()
    assert now.pop(900) is not None
    assert now == {row.id: row.revoked_at for row in made}
    migrations.upgrade(database_url)
    assert migrations.check(database_url) == []
