"""The groups of a principal: what a sign-in provider says of them, and what they give."""

import pytest
import sqlalchemy as sa

from deltareg.db import tables as t
from deltareg.db.access.grants import add_grant, holdings_of
from deltareg.db.access.groups import (
    add_group,
    add_membership,
    delete_group,
    group_row,
    groups_of,
    members_of,
    replace_memberships,
)
from deltareg.db.access.principals import add_principal
from deltareg.db.session import read, write
from deltareg.db.sql.row_protocols import present
from deltareg.errors import InvalidInput


@pytest.fixture
def ana(engine):
    with write(engine) as conn:
        return add_principal(conn, "ana", kind="user")


def names(conn, who):
    return [(row.name, row.source) for row in groups_of(conn, who)]


def test_a_provider_makes_fills_and_empties_its_own_groups(engine, ana):
    with write(engine) as conn:
        first = replace_memberships(conn, ana, source="okta", groups=["ml", "ops"])
        again = replace_memberships(conn, ana, source="okta", groups=["ops", "ml"])
        then = replace_memberships(conn, ana, source="okta", groups=["ops", "web"])

        assert (first.made, first.joined, first.left) == (["ml", "ops"], ["ml", "ops"], [])
        assert (again.made, again.joined, again.left) == ([], [], [])
        assert (then.made, then.joined, then.left) == (["web"], ["web"], ["ml"])
        assert names(conn, ana) == [("ops", "okta"), ("web", "okta")]


def test_a_provider_takes_nobody_into_what_others_keep(engine, ana):
    """Where users of a provider name groups as they like, a name is no right."""
    with write(engine) as conn:
        for name, source in (("admins", ""), ("theirs", "dex")):
            assert add_group(conn, name, source=source, created_by=ana) is not None
        change = replace_memberships(conn, ana, source="okta", groups=["admins", "theirs", "ana", "No Name", "mine"])

        assert (change.joined, change.passed_over) == (["mine"], ["No Name", "admins", "ana", "theirs"])
        assert names(conn, ana) == [("mine", "okta")]


def test_a_provider_ends_no_membership_that_people_gave(engine, ana):
    with write(engine) as conn:
        group = present(add_group(conn, "ml", source="", created_by=None))
        add_membership(conn, group.id, ana, created_by=None)
        replace_memberships(conn, ana, source="okta", groups=[])

        assert names(conn, ana) == [("ml", "")]


def test_memberships_of_no_provider_are_not_replaced(engine, ana):
    with write(engine) as conn, pytest.raises(InvalidInput, match="has no provider"):
        replace_memberships(conn, ana, source="", groups=["ml"])


def test_a_member_holds_what_its_groups_hold_at_once(engine, ana):
    with write(engine) as conn:
        group = present(add_group(conn, "ml", source="", created_by=None))
        add_grant(conn, ana, role="reader", namespace_id=None, created_by=None)
        add_grant(conn, group.id, role="verifier", namespace_id=None, created_by=None)
        before = holdings_of(conn, ana)
        add_membership(conn, group.id, ana, created_by=None)
        during = set(holdings_of(conn, ana).split(","))
        delete_group(conn, group.id)

        assert (before, during) == ("reader  ", {"reader  ", "verifier  "})
        assert holdings_of(conn, ana) == "reader  "
        assert group_row(conn, "ml") is None
        assert members_of(conn, [group.id]) == []


@pytest.mark.parametrize("kind", ["group", "worker"])
def test_the_database_takes_people_and_services_into_groups(engine, kind):
    with write(engine) as conn:
        group = present(add_group(conn, "ml", source="", created_by=None))
        other = add_principal(conn, "other", kind=kind)

    with pytest.raises(sa.exc.IntegrityError, match="people and services"), write(engine) as conn:
        conn.execute(sa.insert(t.group_members).values(group_id=group.id, member_id=other))
    with read(engine) as conn:
        assert members_of(conn, [group.id]) == []


def test_the_database_gives_no_token_to_a_group(engine):
    with write(engine) as conn:
        group = present(add_group(conn, "ml", source="", created_by=None))
    values = {"token_hash": "h", "display": "d", "principal_id": group.id, "kind": "pat", "scopes": ["read"]}

    with pytest.raises(sa.exc.IntegrityError, match="a group has no tokens"), write(engine) as conn:
        conn.execute(sa.insert(t.tokens).values(values))
