"""What a token allows: its scopes, with the roles of its principal, at the moment of use."""

from typing import Any

import pytest
import sqlalchemy as sa

from deltareg.db import tables as t
from deltareg.db.access import grants, principals
from deltareg.db.lines import deltas
from deltareg.db.session import read, write
from deltareg.errors import Conflict, Forbidden, InvalidInput, NotFound
from deltareg.refs import LineRef
from deltareg.service.access import explain, making, members, namespaces, review, tokens
from deltareg.service.access.founding import found_namespace, require_push
from deltareg.service.authority.grants import Right
from deltareg.service.authority.resources import EVERYTHING, Channel, Namespace
from deltareg.service.registry import Registry
from deltareg.store.memory import MemoryStore
from deltareg.wire import MemberAdd, NamespaceChange, NamespaceCreate, TokenCreate
from tests.fixtures.registries import SCOPES

LAB = LineRef("lab", "bert-7b")
PAGE: dict[str, Any] = {"cursor": None, "limit": 50}


class Place:
    """A registry with an admin, in which people get tokens and roles."""

    def __init__(self, engine):
        self.registry = Registry(engine, MemoryStore())
        secret = tokens.bootstrap_token(
            self.registry, principal="root", kind="pat", scopes=["admin"], also_held=["break-glass"]
        )
        self.root = self.of(secret)

    def of(self, secret):
        """Find whose a token is, as each request does."""
        return tokens.authenticate(self.registry, secret, request_id="r")

    def secret(self, name, *scopes, by=None, **more):
        wanted = {"everywhere": False} | more
        request = TokenCreate(principal=name, scopes=[*scopes] or ["read", "push"], **wanted)
        return making.create_token(self.registry, by or self.root, request).token

    def caller(self, name, *scopes, **more):
        return self.of(self.secret(name, *scopes, **more))

    def found(self, who, line=LAB):
        """Make the namespace of a line by pushing first."""
        with write(self.registry.engine) as conn:
            require_push(conn, who, on=line)
            place = found_namespace(conn, who, line)
            deltas.add_delta(conn, place, line.name, created_by=who.principal_id)

    def add(self, by, name, role, namespace="lab", pattern=""):
        request = MemberAdd(principal=name, role=role, namespace=namespace, pattern=pattern)
        return members.add_member(self.registry, by, request)


@pytest.fixture
def place(engine):
    return Place(engine)


@pytest.fixture
def one_place(sqlite_engine):
    return Place(sqlite_engine)


def test_who_pushes_first_into_a_namespace_owns_it(place):
    secret = place.secret("ada", *SCOPES[:2], "admin")
    place.found(place.of(secret))

    ada, bob = place.of(secret), place.caller("bob")

    assert ada.may(Right.ADMIN, on=LAB)
    assert not ada.may(Right.ADMIN, on=LineRef("lab2", "x"))
    assert namespaces.show_namespace(place.registry, ada, "lab").owners == ["ada"]
    with pytest.raises(Forbidden, match="'push' on lab/bert-7b"):
        place.found(bob)
    place.found(bob, LineRef("mine", "x"))


def test_of_two_who_push_first_at_once_one_owns_it(place):
    ada, bob = place.caller("ada"), place.caller("bob")
    with write(place.registry.engine) as conn:
        require_push(conn, bob, on=LAB)  # there is none yet
    place.found(ada)

    with write(place.registry.engine) as conn, pytest.raises(Forbidden):
        found_namespace(conn, bob, LAB)

    assert namespaces.show_namespace(place.registry, ada, "lab").owners == ["ada"]


def test_a_token_never_allows_more_than_its_principal_holds_now(place):
    owner = place.secret("ada", *SCOPES[:2], "admin")
    place.found(place.of(owner))
    secret = place.secret("bob", "read", "push", "promote", "admin")

    before = place.of(secret).may(Right.PUSH, on=LAB)
    given = place.add(place.of(owner), "bob", "pusher")
    during = place.of(secret)
    members.end_member(place.registry, place.of(owner), given.id)
    after = place.of(secret)

    assert not before
    assert during.may(Right.PUSH, on=LAB)
    assert not during.may(Right.PROMOTE, on=LAB)
    assert not during.may(Right.ADMIN, on=EVERYTHING)
    assert not after.may(Right.PUSH, on=LAB)


def test_a_token_for_a_scope_allows_nothing_else_that_its_principal_holds(one_place):
    place = one_place
    place.found(place.caller("ada", "push"))

    pushes, reads = place.caller("ada", "push"), place.caller("ada", "read")

    assert pushes.may(Right.PUSH, on=LAB)
    assert not pushes.may(Right.READ, on=LAB)
    assert reads.may(Right.READ, on=LAB)
    assert not reads.may(Right.PUSH, on=LAB)


def test_a_token_for_some_namespaces_reaches_no_other(one_place):
    place = one_place
    place.found(place.caller("ada"))
    place.found(place.caller("ada"), LineRef("other", "x"))

    limited = place.caller("ada", "read", "push", "admin", namespaces=["other"])
    wide = place.caller("root", "admin", namespaces=["other"])

    assert limited.may(Right.PUSH, on=LineRef("other", "x"))
    assert not limited.may(Right.READ, on=LAB), "although all read it"
    assert not limited.may_found("third")
    assert wide.may(Right.ADMIN, on=Namespace("other"))
    assert not wide.may(Right.READ, on=LAB)
    assert not wide.may(Right.ADMIN, on=EVERYTHING)
    with pytest.raises(InvalidInput, match="not one for everywhere"):
        place.secret("ada", "read", namespaces=["other"], everywhere=True)


def test_a_private_namespace_is_there_for_its_members_alone(place):
    owner = place.secret("ada", *SCOPES[:2], "admin")
    place.found(place.of(owner))
    secret = place.secret("bob", "read")
    seen = place.of(secret)
    change = NamespaceChange(visibility="private")
    namespaces.change_namespace(place.registry, place.of(owner), "lab", change)

    hidden = place.of(secret)

    assert seen.sees(LAB)
    assert not hidden.sees(LAB)
    with pytest.raises(NotFound, match="there is no namespace lab"):
        namespaces.show_namespace(place.registry, hidden, "lab")
    with pytest.raises(NotFound, match="there is no namespace lab"):
        members.list_members(place.registry, hidden, "lab", **PAGE)
    assert namespaces.list_namespaces(place.registry, hidden, **PAGE).items == []
    place.add(place.of(owner), "bob", "reader")
    assert place.of(secret).sees(LAB)


def test_another_server_learns_at_once_that_a_namespace_became_private(place):
    owner = place.secret("ada", *SCOPES[:2], "admin")
    place.found(place.of(owner))
    other = Registry(place.registry.engine, MemoryStore())
    secret = place.secret("bob", "read")
    assert tokens.authenticate(other, secret, request_id="").sees(LAB)

    change = NamespaceChange(visibility="private")
    namespaces.change_namespace(place.registry, place.of(owner), "lab", change)

    assert not tokens.authenticate(other, secret, request_id="").sees(LAB)


def test_a_namespace_may_be_private_from_the_start(one_place):
    place = one_place
    create = NamespaceCreate(name="den", visibility="private")
    namespaces.create_namespace(place.registry, place.caller("ada"), create)

    bob = place.caller("bob")

    assert not bob.sees(Namespace("den"))
    with pytest.raises(Conflict, match="is taken"):
        namespaces.create_namespace(place.registry, bob, create)
    with pytest.raises(Forbidden, match="'push' on den/x"):
        place.found(bob, LineRef("den", "x"))


@pytest.mark.parametrize(
    ("role", "given"),
    [("owner", True), ("maintainer", True), ("pusher", True), ("server", True), ("break-glass", False)],
)
def test_an_owner_gives_what_an_owner_has(one_place, role, given):
    place = one_place
    owner = place.secret("ada", "read", "push", "admin")
    place.found(place.of(owner))
    place.secret("bob", "read")

    if given:
        assert place.add(place.of(owner), "bob", role).role == role
    else:
        with pytest.raises(Forbidden, match="nobody gives what they lack"):
            place.add(place.of(owner), "bob", role)


def test_a_maintainer_gives_no_more_than_it_has_and_takes_no_more(one_place):
    place = one_place
    place.found(place.caller("ada", "read", "push", "admin"))
    place.secret("cyd", "read")
    owner = place.caller("ada", "read", "push", "admin")
    place.secret("bob", "admin")
    place.add(owner, "bob", "maintainer")
    bob = place.caller("bob", "read", "admin")
    (owned,) = [item for item in members.list_members(place.registry, bob, "lab", **PAGE).items if item.role == "owner"]

    assert place.add(bob, "cyd", "pusher").role == "pusher"
    for forbidden in (
        lambda: place.add(bob, "cyd", "owner"),
        lambda: place.add(bob, "cyd", "pusher", namespace=None),
        lambda: members.end_member(place.registry, bob, owned.id),
        lambda: place.add(place.caller("bob", "read", "push"), "cyd", "reader"),
    ):
        with pytest.raises(Forbidden):
            forbidden()


def test_the_last_owner_and_the_last_admin_stay(place):
    place.found(place.caller("ada", "read", "push"))
    ada = place.caller("ada", "read", "admin")
    everywhere = members.list_members(place.registry, place.root, None, **PAGE).items
    (admin,) = [item for item in everywhere if item.role == "admin"]
    (owner,) = members.list_members(place.registry, ada, "lab", **PAGE).items

    with pytest.raises(Conflict, match="root is the last admin"):
        members.end_member(place.registry, place.root, admin.id)
    with pytest.raises(Conflict, match="ada is the last owner of lab"):
        members.end_member(place.registry, ada, owner.id)


def test_an_admin_without_break_glass_cannot_mint_it_for_a_second_name(place):
    scopes = ("admin", "break-glass")

    with pytest.raises(Forbidden, match="'break-glass', and nobody gives"):
        place.secret("second", *scopes, everywhere=True)
    with pytest.raises(Forbidden, match="'break-glass'"):
        place.secret("second", *scopes, everywhere=None)
    own = place.caller("root", *scopes)
    place.secret("oncall", "break-glass", by=own, everywhere=True)
    place.add(own, "oncall", "break-glass", namespace=None)
    with pytest.raises(Forbidden, match="'break-glass'"):
        place.secret("oncall", "break-glass")


def test_an_admin_who_does_not_hold_break_glass_makes_no_token_for_it(one_place):
    place = one_place
    other = place.caller("other", "admin", everywhere=True)

    for name in ("other", "third"):
        with pytest.raises(Forbidden, match="'break-glass'"):
            place.secret(name, "break-glass", by=other, everywhere=True)


def test_a_token_gives_no_roles_to_who_does_not_ask_for_them(one_place):
    request = TokenCreate(principal="ada", scopes=["read", "promote"])

    made = making.create_token(one_place.registry, one_place.root, request)
    silent = one_place.of(made.token)

    assert not silent.may(Right.PROMOTE, on=EVERYTHING)
    assert made.lacking == ["promote"]
    assert "`everywhere`" in made.warnings[0]
    said = making.create_token(one_place.registry, one_place.root, request.model_copy(update={"everywhere": False}))
    assert said.warnings == []


@pytest.mark.parametrize(
    ("pattern", "allowed", "refused"),
    [
        ("bert-*", [LAB, Channel(LAB, "prod"), Channel(LAB, "dev")], [LineRef("lab", "gpt")]),
        ("bert-*@prod", [Channel(LAB, "prod")], [LAB, Channel(LAB, "dev")]),
        ("*@dev-*", [Channel(LAB, "dev-1")], [Channel(LAB, "dev"), Channel(LAB, "prod")]),
    ],
)
def test_a_role_may_be_about_some_lines_or_channels(one_place, pattern, allowed, refused):
    place = one_place
    place.found(place.caller("ada"))
    owner = place.caller("ada", "admin")
    secret = place.secret("bob", "read", "promote")
    place.add(owner, "bob", "promoter", pattern=pattern)
    bob = place.of(secret)

    assert all(bob.may(Right.PROMOTE, on=on) for on in allowed)
    assert not any(bob.may(Right.PROMOTE, on=on) for on in refused)
    assert not bob.may(Right.PROMOTE, on=Channel(LineRef("other", "bert-7b"), "prod"))


@pytest.mark.parametrize(
    "request_",
    [
        MemberAdd(principal="bob", role="admin", namespace="lab"),
        MemberAdd(principal="bob", role="verifier", namespace="lab"),
        MemberAdd(principal="bob", role="owner", namespace="lab", pattern="x*"),
        MemberAdd(principal="bob", role="pusher", namespace="lab", pattern="x@prod"),
        MemberAdd(principal="bob", role="promoter", namespace="lab", pattern="x y"),
        MemberAdd(principal="bob", role="promoter", namespace="lab", pattern="x,owner lab "),
        MemberAdd(principal="bob", role="promoter", pattern="x"),
        MemberAdd(principal="bob", role="owner"),
    ],
)
def test_what_is_no_role_for_a_place_is_refused(one_place, request_):
    place = one_place
    place.found(place.root)
    place.secret("bob", "read")

    with pytest.raises(InvalidInput):
        members.add_member(place.registry, place.root, request_)


def test_whose_a_script_is_stands_behind_it(place):
    by_root = place.secret("ci", "push", kind="ci", acts_for="root")
    place.found(place.of(by_root))
    (first, second) = members.list_members(place.registry, place.root, "lab", **PAGE).items

    assert {(m.principal, m.role, m.person) for m in (first, second)} == {
        ("root", "owner", None),
        ("ci", "pusher", "root"),
    }
    with read(place.registry.engine) as conn:
        ci, root = (principals.principal_id(conn, name) or 0 for name in ("ci", "root"))
        assert grants.people_of(conn, [ci, root]) == {ci: {root}, root: {root}}


@pytest.mark.parametrize(
    ("who", "action", "ref", "allowed", "fix"),
    [
        ("ada", "push", "lab/bert-7b", True, ""),
        ("ada", "push", "fresh/x", True, ""),
        ("ada", "promote", "lab/bert-7b@prod", False, "token create --for ada --scope promote"),
        ("bob", "push", "lab/x", False, "member add lab bob --role pusher"),
        ("bob", "read", "lab/x", True, ""),
        ("bob", "admin", "lab", False, "member add lab bob --role owner"),
        ("bob", "verify", "everywhere", False, "member add --everywhere bob --role verifier"),
        ("none", "read", "lab", False, "token create --for none --scope read"),
    ],
)
def test_access_is_explained_with_what_would_give_it(one_place, who, action, ref, allowed, fix):
    place = one_place
    place.found(place.caller("ada"))
    place.secret("bob", "read")
    with write(place.registry.engine) as conn:
        principals.add_principal(conn, "none", kind="user")

    found = explain.explain_access(place.registry, place.root, principal=who, action=action, ref=ref)

    assert found.allowed is allowed
    assert fix in found.fix
    assert found.because


def test_the_explanation_is_what_happens(one_place):
    place = one_place
    place.found(place.caller("ada"))
    secret = place.secret("bob", "read", "push", "promote")
    place.add(place.caller("ada", "admin"), "bob", "promoter", pattern="bert-*@prod")
    bob = place.of(secret)

    for action in Right:
        for ref in ("lab", "lab/bert-7b", "lab/gpt", "lab/bert-7b@prod", "everywhere", "base:tiny"):
            said = explain.explain_access(place.registry, bob, principal="bob", action=action, ref=ref).allowed
            assert said is bob.may(action, on=explain.parse_resource(ref)), (action, ref)


def test_others_access_is_explained_to_who_manages_members(one_place):
    place = one_place
    place.found(place.caller("ada"))
    bob = place.caller("bob", "read")

    with pytest.raises(Forbidden, match="does not allow 'maintain'"):
        explain.explain_access(place.registry, bob, principal="ada", action="push", ref="lab/x")


def test_a_review_names_what_is_legacy_unused_and_wide(place):
    place.found(place.caller("ada"))
    with write(place.registry.engine) as conn:
        who = principals.add_principal(conn, "old", kind="user")
        values = {"principal_id": who, "role": "pusher", "is_legacy": True}
        conn.execute(sa.insert(t.grants).values(values))

    rows = review.review_access(place.registry, place.root, None, unused_days=30, **PAGE).items
    told = {(row.member.principal, row.member.role): row for row in rows}

    assert any("legacy" in text for text in told["old", "pusher"].findings)
    assert any("unused" in text for text in told["old", "pusher"].findings)
    assert "member rm --everywhere old --role pusher" in told["old", "pusher"].fix
    assert any("wide" in text for text in told["root", "admin"].findings)
    assert told["ada", "owner"].findings == []
    assert review.count_legacy(place.registry) == (1, 1)


def test_a_grant_ends_and_does_not_change_otherwise(place):
    place.found(place.caller("ada"))

    for change in (
        sa.update(t.grants).values(role="admin"),
        sa.update(t.grants).values(namespace_id=None, pattern=""),
        sa.delete(t.grants),
        sa.update(t.stand_ins).values(person_id=2),
    ):
        place.secret("ci", "push", kind="ci", acts_for="root")
        with pytest.raises(sa.exc.IntegrityError), write(place.registry.engine) as conn:
            conn.execute(change)


def test_a_role_is_given_up_by_a_token_that_could_use_it(one_place):
    place = one_place
    place.found(place.caller("ada"))
    place.secret("bob", "read")
    given = place.add(place.caller("ada", "admin"), "bob", "pusher")

    with pytest.raises(Forbidden):
        members.end_member(place.registry, place.caller("bob", "read"), given.id)
    ended = members.end_member(place.registry, place.caller("bob", "read", "push"), given.id)

    assert ended.id == given.id


@pytest.mark.parametrize("name", ["shared", "everywhere"])
def test_a_name_that_means_all_is_nobodys_to_take(one_place, name):
    ada = one_place.caller("ada")

    with pytest.raises(Forbidden):
        one_place.found(ada, LineRef(name, "x"))
    with pytest.raises(Forbidden):
        namespaces.create_namespace(one_place.registry, ada, NamespaceCreate(name=name))
    with pytest.raises(InvalidInput, match="kept for what belongs to all"):  # nor an admin's
        one_place.found(one_place.root, LineRef(name, "x"))
