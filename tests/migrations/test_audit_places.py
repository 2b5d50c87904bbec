"""Rows of the audit trail of before find their namespaces by what they say."""

import pytest
import sqlalchemy as sa

from deltareg.db import tables as t
from deltareg.db.session import create_engine, read, write
from deltareg_migrations import schema as migrations
from tests.migrations.populated import populate
from tests.service import rows

ROWS = {
    ("channel.promote", "lab/x@prod"): "lab",
    ("version.push", "lab/x:v1"): "lab",
    ("request.open", "lab/x@prod/request/1"): "lab",
    ("namespace.visibility", "namespace/lab"): "lab",
    ("floor.set", "namespace/lab/policy"): "lab",
    ("member.add", "member/lab/bob"): "lab",
    ("base.push", "base/lab/tiny"): "lab",
    ("run.queue", "run/r"): "lab",
    ("verdict.waive", "verdict/v"): "lab",
    ("line.rename", "was/x"): "lab",
    ("member.add", "member/*/bob"): None,
    ("floor.set", "server/policy"): None,
    ("base.push", "base/tiny"): None,
    ("run.queue", "run/nobody"): None,
    ("version.push", "gone/x:v1"): None,
    # A namespace may have a name that a subject begins with; its owners read none of these.
    ("token.create", "token/1"): None,
    ("suite.push", "suite/smoke"): None,
    ("webhook.add", "webhook/1"): None,
    ("key.revoke", "key/k"): None,
}


@pytest.fixture
def placed(database_url):
    """Bring a database of the release before, with such rows, to this one; give the places by row."""
    populate(database_url)
    engine = create_engine(database_url)
    with write(engine) as conn, rows.unguarded(conn, t.audit_places):
        conn.execute(sa.delete(t.audit_places))
        for number, name in enumerate(("token", "suite", "webhook", "key"), start=11):
            conn.execute(sa.insert(t.namespaces).values(id=number, name=name, created_by=1))
        conn.execute(sa.insert(t.namespace_aliases).values(name="was", namespace_id=1, created_by=1))
        values = {"actor": "ada", "request_id": "r"}
        for number, (action, subject) in enumerate(ROWS, start=11):
            conn.execute(sa.insert(t.audit).values(values | {"id": number, "action": action, "subject": subject}))
    migrations.downgrade(database_url, revision="0043")
    migrations.upgrade(database_url)
    query = (
        sa.select(t.audit.c.action, t.audit.c.subject, t.namespaces.c.name)
        .outerjoin(t.audit_places, t.audit_places.c.audit_id == t.audit.c.id)
        .outerjoin(t.namespaces, t.namespaces.c.id == t.audit_places.c.namespace_id)
        .where(t.audit.c.id > 10)
    )
    with read(engine) as conn:
        found = {(row.action, row.subject): row.name for row in conn.execute(query)}
    engine.dispose()
    return found


def test_what_is_about_a_namespace_is_its_owners_to_read_and_nothing_else(placed):
    assert placed == ROWS
