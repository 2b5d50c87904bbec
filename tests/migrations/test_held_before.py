"""What the tokens of the release before allowed is what their principals hold after it."""

import pytest
import sqlalchemy as sa

from deltareg.db import tables as t
from deltareg.db.access.grants import count_legacy, holdings_of, people_of
from deltareg.db.session import create_engine, read, write
from deltareg_migrations import schema as migrations

T0 = 1_700_000_000_000_000
PEOPLE = {1: ("ada", "user"), 2: ("bob", "user"), 3: ("ci", "service"), 4: ("w", "worker")}
TOKENS = (
    {"principal_id": 1, "scopes": ["admin", "read"]},
    {"principal_id": 1, "scopes": ["push"], "revoked_at": T0},
    {"principal_id": 2, "scopes": ["read", "promote"], "expires_at": 9 * T0},
    {"principal_id": 2, "scopes": ["break-glass"], "expires_at": T0},
    {"principal_id": 3, "scopes": ["push", "read"], "created_by": 1},
    {"principal_id": 3, "scopes": ["serve"], "created_by": 2},
    {"principal_id": 4, "scopes": ["verify"], "created_by": None},
)


@pytest.fixture
def migrated(empty_database_url):
    """Bring a database of the release before, with tokens and namespaces, to this one."""
    migrations.upgrade(empty_database_url, revision="0018")
    engine = create_engine(empty_database_url)
    old = {
        table: sa.table(table, *(sa.column(name) for name in names))
        for table, names in (
            ("principals", ("id", "name", "kind", "created_at")),
            ("namespaces", ("id", "name", "created_by", "created_at")),
        )
    }
    tokens = sa.table(
        "tokens",
        *(sa.column(c.name) for c in t.tokens.c if c.name not in {"id", "scopes"}),
        sa.column("scopes", sa.JSON()),
    )
    with write(engine) as conn:
        for number, (name, kind) in PEOPLE.items():
            values = {"id": number, "name": name, "kind": kind, "created_at": T0}
            conn.execute(sa.insert(old["principals"]).values(values))
        for number, maker in ((1, 2), (2, None)):
            values = {"id": number, "name": f"n{number}", "created_by": maker, "created_at": T0}
            conn.execute(sa.insert(old["namespaces"]).values(values))
        for number, values in enumerate(TOKENS):
            fixed = {"token_hash": str(number), "display": "d", "kind": "pat", "created_at": T0}
            conn.execute(sa.insert(tokens).values(fixed | {"created_by": 1} | values))
    migrations.upgrade(empty_database_url)
    yield engine
    engine.dispose()


def test_each_principal_holds_everywhere_what_its_live_tokens_allow(migrated):
    with read(migrated) as conn:
        held = {name: set(holdings_of(conn, number).split(",")) for number, (name, _) in PEOPLE.items()}
        assert count_legacy(conn) == (9, 4)

    assert held == {
        "ada": {"admin  ", "reader  "},
        "bob": {"reader  ", "promoter  ", "owner n1 "},
        "ci": {"pusher  ", "reader  ", "server  "},
        "w": {"verifier  "},
    }


def test_who_made_the_first_token_of_a_script_stands_behind_it(migrated):
    with read(migrated) as conn:
        assert people_of(conn, [1, 2, 3, 4]) == {1: {1}, 2: {2}, 3: {1}, 4: {4}}
