"""Groups and roles of one's own: what they give, who sees them, and what nobody gets by them."""

import pytest
import sqlalchemy as sa

from deltareg.db import tables as t
from deltareg.db.access.principals import add_principal
from deltareg.db.access.principals import principal_id as id_of
from deltareg.db.session import read, write
from deltareg.db.sql.row_protocols import present
from deltareg.errors import Conflict, Forbidden, InvalidInput, NotFound
from deltareg.refs import LineRef
from deltareg.service.access import explain, groups, making, members, offboarding, people, roles, tokens
from deltareg.service.authority.grants import Right
from deltareg.service.authority.resources import EVERYTHING, Channel, Namespace
from deltareg.service.names.namespaces import rename_namespace
from deltareg.wire import GroupSet, MemberAdd, Rename, RoleSet, TokenCreate
from tests.service.test_grants import Place

LINE = LineRef("lab", "bert-7b")


class Lab(Place):
    """Such a registry with people who act by tokens of theirs."""

    secrets: dict[str, str]

    def who(self, name):
        return self.of(self.secrets[name])


@pytest.fixture
def place(engine):
    """Give a registry with the namespace lab, which ann owns, and people in it."""
    place = Lab(engine)
    place.secrets = {who: place.secret(who, "read", "push", "admin") for who in ("ann", "bob", "cyd")}
    place.found(place.who("ann"))
    return place


def make(place, name, *people, source=""):
    groups.set_group(place.registry, place.root, GroupSet(name=name, source=source))
    for who in people:
        groups.join_group(place.registry, place.root, name, who)


def define(place, by, name, *rights, namespace="lab"):
    return roles.set_role(place.registry, by, RoleSet(name=name, rights=[*rights], namespace=namespace))


def actions(place):
    with read(place.registry.engine) as conn:
        query = sa.select(t.audit.c.action, t.audit.c.subject).order_by(t.audit.c.id)
        return [tuple(row) for row in conn.execute(query) if row.action.startswith(("group", "role"))]


def test_a_member_may_at_once_what_its_group_may_and_no_longer(place):
    make(place, "ml", "bob")
    place.add(place.root, "ml", "promoter")
    during = place.who("bob").may(Right.PROMOTE, on=LINE)
    groups.leave_group(place.registry, place.root, "ml", "bob")

    assert (during, place.who("bob").may(Right.PROMOTE, on=LINE)) == (True, False)
    assert actions(place) == [
        ("group.create", "group/ml"),
        ("group.join", "group/ml/bob"),
        ("group.leave", "group/ml/bob"),
    ]


def test_a_group_that_is_removed_takes_its_roles_along_and_keeps_its_name(place):
    make(place, "ml", "bob")
    place.add(place.root, "ml", "promoter")
    groups.remove_group(place.registry, place.root, "ml")
    gone = place.who("bob").may(Right.PROMOTE, on=LINE)
    with pytest.raises(InvalidInput, match="ml is a group"):
        place.secret("ml", "read")
    make(place, "ml", "cyd")

    assert not gone
    assert not place.who("cyd").may(Right.PROMOTE, on=LINE)


def test_who_may_promote_to_dev_need_not_to_prod(place):
    define(place, place.who("ann"), "releaser", "promote", "approve")
    place.add(place.who("ann"), "bob", "releaser", pattern="bert-*@dev")
    bob = place.who("bob")

    allowed = [(right.value, at) for right in Right for at in ("dev", "prod") if bob.may(right, on=Channel(LINE, at))]

    assert allowed == [("read", "dev"), ("read", "prod"), ("promote", "dev"), ("approve", "dev")]


def test_a_role_that_changes_or_goes_does_so_for_all_who_hold_it(place):
    define(place, place.who("ann"), "releaser", "promote")
    place.add(place.who("ann"), "bob", "releaser")
    define(place, place.who("ann"), "releaser", "push")
    changed = [place.who("bob").may(right, on=LINE) for right in (Right.PROMOTE, Right.PUSH)]
    roles.remove_role(place.registry, place.who("ann"), "releaser", "lab")

    assert changed == [False, True]
    assert not place.who("bob").may(Right.PUSH, on=LINE)
    with pytest.raises(InvalidInput, match="there is no role 'releaser'"):
        place.add(place.who("ann"), "bob", "releaser")


def test_strangers_find_no_group(place):
    """Neither by asking for it, nor by giving it a role in a namespace of their own to see who is in it."""
    make(place, "secret", "cyd")
    place.found(place.who("bob"), LineRef("mine", "x"))
    bob = place.who("bob")

    for ask in (
        lambda: groups.show_group(place.registry, bob, "secret"),
        lambda: groups.remove_group(place.registry, bob, "secret"),
        lambda: groups.join_group(place.registry, bob, "secret", "bob"),
        lambda: place.add(bob, "secret", "reader", "mine"),
        lambda: explain.explain_access(place.registry, bob, principal="secret", action="read", ref="mine"),
    ):
        with pytest.raises(NotFound, match=r"there is no (group|principal) secret"):
            ask()
    assert groups.list_groups(place.registry, bob, cursor=None, limit=50).items == []


def test_a_group_is_seen_by_its_members_and_by_who_manages_where_it_holds_a_role(place):
    make(place, "ml", "bob")
    place.add(place.root, "ml", "reader")

    shown = {who: groups.show_group(place.registry, place.who(who), "ml") for who in ("ann", "bob")}

    assert {who: [each.name for each in group.members] for who, group in shown.items()} == {
        "ann": ["bob"],
        "bob": ["bob"],
    }
    with pytest.raises(NotFound):
        groups.show_group(place.registry, place.who("cyd"), "ml")
    with pytest.raises(Forbidden):
        groups.leave_group(place.registry, place.who("ann"), "ml", "bob")


def test_nobody_gets_by_a_group_or_a_role_what_they_lack(place):
    """An admin may do all but break glass, an owner what owners may, a maintainer less."""
    make(place, "glass")
    breaker = tokens.bootstrap_token(place.registry, principal="eve", kind="pat", scopes=["admin", "break-glass"])
    members.add_member(place.registry, place.of(breaker), MemberAdd(principal="glass", role="break-glass"))
    place.add(place.who("ann"), "bob", "maintainer")

    for refused in (
        lambda: groups.join_group(place.registry, place.root, "glass", "root"),
        lambda: groups.set_group(place.registry, place.root, GroupSet(name="glass", source="okta")),
        lambda: define(place, place.who("ann"), "breaker", "break-glass"),
        lambda: define(place, place.root, "breaker", "break-glass", namespace=None),
        lambda: define(place, place.who("bob"), "mine", "push"),
        lambda: define(place, place.who("ann"), "all", "push", namespace=None),
    ):
        with pytest.raises(Forbidden):
            refused()


@pytest.mark.parametrize("name", ["owner", "admin", "break-glass"])
def test_a_role_is_not_called_as_a_built_in_one(place, name):
    with pytest.raises(InvalidInput, match="built in"):
        define(place, place.root, name, "push", namespace=None)


def test_a_name_means_one_role(place):
    define(place, place.who("ann"), "releaser", "promote")
    define(place, place.root, "trainer", "push", namespace=None)

    with pytest.raises(Conflict, match="a role of lab"):
        define(place, place.root, "releaser", "push", namespace=None)
    with pytest.raises(Conflict, match="for all namespaces"):
        define(place, place.who("ann"), "trainer", "promote")


@pytest.mark.parametrize("right", ["admin", "verify", "sudo"])
def test_a_role_of_ones_own_gives_no_right_of_owners_and_workers(place, right):
    with pytest.raises(InvalidInput, match="no right of a role"):
        define(place, place.root, "mine", right, namespace=None)


def test_the_last_who_own_a_namespace_stay_in_their_group(place):
    make(place, "ml", "bob", "cyd")
    place.add(place.root, "ml", "owner")
    listed = members.list_members(place.registry, place.root, "lab", cursor=None, limit=9).items
    members.end_member(place.registry, place.root, next(row.id for row in listed if row.principal == "ann"))
    groups.leave_group(place.registry, place.root, "ml", "bob")

    with pytest.raises(Conflict, match="in ml are the last who are owner of lab"):
        groups.leave_group(place.registry, place.root, "ml", "cyd")
    with pytest.raises(Conflict, match="the last"):
        groups.remove_group(place.registry, place.root, "ml")


def test_a_group_that_a_provider_keeps_is_not_changed_by_hand(place):
    make(place, "ml", source="okta")
    with write(place.registry.engine) as conn:
        groups.follow_provider(conn, present(id_of(conn, "bob")), source="okta", groups=["ml", "new"])

    with pytest.raises(InvalidInput, match="okta keeps the members of ml"):
        groups.join_group(place.registry, place.root, "ml", "cyd")
    with pytest.raises(InvalidInput, match="okta keeps the members of ml"):
        groups.leave_group(place.registry, place.root, "ml", "bob")
    assert [row for row in actions(place) if row[0] == "group.join"] == [
        ("group.join", "group/ml/bob"),
        ("group.join", "group/new/bob"),
    ]


def test_a_group_is_not_called_as_a_person_nor_a_person_as_a_group(place):
    make(place, "ml")

    with pytest.raises(Conflict, match="bob is no group"):
        make(place, "bob")
    with pytest.raises(InvalidInput, match="ml is a group"):
        tokens.bootstrap_token(place.registry, principal="ml", kind="pat", scopes=["read"])


def test_a_worker_and_a_group_are_in_no_group(place):
    make(place, "ml")
    make(place, "ops")
    with write(place.registry.engine) as conn:
        add_principal(conn, "gpu", kind="worker")

    for name in ("gpu", "ops"):
        with pytest.raises(InvalidInput, match="people and services are in groups"):
            groups.join_group(place.registry, place.root, "ml", name)


def test_roles_of_ones_own_follow_a_line_a_channel_and_a_namespace_that_are_renamed(place):
    define(place, place.who("ann"), "releaser", "promote")
    place.add(place.who("ann"), "bob", "releaser", pattern="bert-*@prod")
    rename_namespace(place.registry, place.who("ann"), "lab", Rename(to="den"))

    assert place.who("bob").may(Right.PROMOTE, on=Channel(LineRef("den", "bert-7b"), "prod"))
    listed = roles.list_roles(place.registry, place.who("ann"), "den").items
    assert [role.name for role in listed if not role.is_built_in] == ["releaser"]


def test_the_explanation_names_the_group(place):
    make(place, "ml", "bob")
    place.add(place.root, "ml", "promoter")

    asked = {"principal": "bob", "action": "promote", "ref": "lab/bert-7b"}
    told = explain.explain_access(place.registry, place.who("bob"), **asked)

    assert "bob, in the group ml, is promoter of lab" in [reason.what for reason in told.because if reason.is_met]


def test_an_admin_by_a_group_is_one(place):
    make(place, "admins", "bob")
    members.add_member(place.registry, place.root, MemberAdd(principal="admins", role="admin"))

    assert place.who("bob").may(Right.ADMIN, on=EVERYTHING)
    assert place.who("bob").may(Right.PUSH, on=Namespace("lab"))


def test_a_script_that_nobody_stands_behind_any_more_joins_a_group_that_owns_another(place):
    make(place, "nobody")
    make(place, "team", "bob")
    for name, owner in (("bot", "ann"), ("ci", "team")):
        asked = TokenCreate(principal=name, kind="ci", scopes=["read"], acts_for=owner)
        making.create_token(place.registry, place.root, asked)
    people.hand_over(place.registry, place.root, "bot", to="nobody")

    groups.join_group(place.registry, place.root, "team", "bot")

    shown = people_of_script(place, "ci"), people_of_script(place, "bot")
    groups.join_group(place.registry, place.root, "nobody", "cyd")
    assert shown == (["bob"], [])
    assert (people_of_script(place, "ci"), people_of_script(place, "bot")) == (["bob", "cyd"], ["cyd"])


def test_a_script_that_was_nobodys_and_becomes_somebodys_joins_a_group_that_owns_another(place):
    make(place, "nobody")
    make(place, "team", "bob")
    make(place, "crew", "ann")
    for name, owner in (("bot", "nobody"), ("ci", "team"), ("job", "crew")):
        asked = TokenCreate(principal=name, kind="ci", scopes=["read"], acts_for=owner)
        making.create_token(place.registry, place.root, asked)
    groups.join_group(place.registry, place.root, "team", "bot")
    groups.join_group(place.registry, place.root, "nobody", "cyd")

    groups.join_group(place.registry, place.root, "crew", "ci")

    assert people_of_script(place, "job") == ["ann", "bob", "cyd"]


def people_of_script(place, name):
    return offboarding.show_principal(place.registry, place.root, name).people


def test_a_group_that_is_named_again_is_kept_by_whom_it_was(place):
    make(place, "ml", source="okta")

    named = groups.set_group(place.registry, place.root, GroupSet(name="ml"))
    taken = groups.set_group(place.registry, place.root, GroupSet(name="ml", source=""))
    made = groups.set_group(place.registry, place.root, GroupSet(name="crew"))

    assert (named.source, taken.source, made.source) == ("okta", "", "")
