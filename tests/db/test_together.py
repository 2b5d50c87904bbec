"""Several queries in one statement give what each gives by itself, on both databases."""

from dataclasses import dataclass

import pytest
import sqlalchemy as sa

from deltareg.db.session import read, write
from deltareg.db.sql.fetch import fetch_all
from deltareg.db.sql.together import CombinedQuery, QueryPart
from deltareg.db.tables import principals, suites, tokens

TEXTS = ["plain", "", "ü\u2014😀", 'say "so"', "back\\slash", "two\nlines\t", "null", "{}", "'; --"]


@dataclass(frozen=True, slots=True)
class Named:
    """A principal."""

    name: str
    id: int
    disabled_at: int | None


@dataclass(frozen=True, slots=True)
class Held:
    """A token: a list as JSON, a number that needs 64 bits, and a truth."""

    display: str
    scopes: list[str]
    namespaces: list[str] | None
    expires_at: int | None
    is_pat: bool


_BY_NAME = sa.select(principals.c.id, principals.c.name, principals.c.disabled_at)
_TOKENS = sa.select(
    tokens.c.display,
    tokens.c.scopes,
    tokens.c.namespaces,
    tokens.c.expires_at,
    (tokens.c.kind == "pat").label("is_pat"),
).where(tokens.c.principal_id >= sa.bindparam("least"))
NAMES = QueryPart(_BY_NAME, Named, order=(principals.c.name.desc(), principals.c.id))
TWO = QueryPart(_BY_NAME, Named, order=(principals.c.id.desc(),), limit=2)
TOKENS = QueryPart(_TOKENS, Held, order=(tokens.c.id,))
NONE = QueryPart(_BY_NAME.where(principals.c.name == sa.bindparam("nobody")), Named)
ALL = CombinedQuery(NAMES, TWO, TOKENS, NONE)


@pytest.fixture
def filled(engine):
    with write(engine) as conn:
        for number, text in enumerate(TEXTS):
            name = f"{text}{number}"
            added = sa.insert(principals).values(name=name, kind="user")
            owner = conn.execute(added.returning(principals.c.id)).scalar_one()
            conn.execute(
                sa.insert(tokens).values(
                    token_hash=f"h{number}",
                    display=text,
                    principal_id=owner,
                    kind="pat",
                    scopes=[text, "read"],
                    namespaces=None if number % 2 else [text],
                    expires_at=None if number % 3 else 2**62 + number,
                    note="",
                )
            )
    return engine


def test_parts_give_what_they_give_alone(filled):
    with read(filled) as conn:
        found = ALL.run(conn, least=2, nobody="nobody")
        names = fetch_all(conn, _BY_NAME.order_by(*NAMES.order), Named)
        two = fetch_all(conn, _BY_NAME.order_by(*TWO.order).limit(2), Named)
        held = fetch_all(conn, _TOKENS.params(least=2).order_by(tokens.c.id), Held)

    assert found.all(NAMES) == names
    assert found.all(TWO) == two
    assert found.all(TOKENS) == held
    assert len(held) > 5
    assert {type(each.is_pat) for each in found.all(TOKENS)} == {bool}
    assert (found.all(NONE), found.one(NONE), found.one(NAMES)) == ([], None, names[0])


def test_it_is_one_statement(filled):
    seen = []
    with read(filled) as conn:
        ALL.run(conn, least=0, nobody="")
        sa.event.listen(filled, "before_cursor_execute", lambda *given: seen.append(given[2]))
        found = ALL.run(conn, least=0, nobody="")

    assert len(found.all(NAMES)) >= len(TEXTS)
    assert seen == []  # it is prepared: not even SQLAlchemy looks at it again


def test_what_json_does_not_hold_is_no_part():
    @dataclass(frozen=True)
    class Bytes:
        document: bytes

    @dataclass(frozen=True)
    class Other:
        id: int

    with pytest.raises(TypeError, match="does not go through JSON"):
        CombinedQuery(QueryPart(sa.select(sa.literal(b"x", sa.LargeBinary).label("document")), Bytes))
    with pytest.raises(TypeError, match="does not go through JSON"):
        CombinedQuery(QueryPart(sa.select(sa.literal(0.1, sa.Float).label("id")), Other))
    with pytest.raises(TypeError, match="selects beside them name"):
        CombinedQuery(QueryPart(sa.select(suites.c.id, suites.c.name), Other))
