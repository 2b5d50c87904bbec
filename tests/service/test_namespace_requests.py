"""Namespaces where admins alone make them: others ask, and get no further by themselves."""

from dataclasses import replace

import pytest

from deltareg.errors import ApprovalDue, Conflict, Forbidden, InvalidInput, NotFound
from deltareg.refs import LineRef
from deltareg.service.access import explain, namespace_requests, namespaces, people
from deltareg.service.authority.grants import Right
from deltareg.service.authority.resources import Namespace
from deltareg.service.names.namespaces import rename_namespace
from deltareg.wire import NamespaceCreate, Rename
from tests.service.test_grants import LAB, PAGE, Place

OTHER = LineRef("other", "x")


@pytest.fixture
def closed(engine):
    """Let admins alone make namespaces; ada owns `lab` already."""
    return shut(Place(engine))


@pytest.fixture
def one_closed(sqlite_engine):
    return shut(Place(sqlite_engine))


def shut(place):
    place.found(place.caller("ada"))
    place.registry = replace(place.registry, namespaces_by="admins")
    place.root = place.caller("root", "admin", by=place.root)
    return place


def ask(place, caller, name="fresh", **more):
    """Ask for a namespace; give the number of the request."""
    with pytest.raises(ApprovalDue) as due:
        namespaces.create_namespace(place.registry, caller, NamespaceCreate(name=name, **more))
    return due.value.request


def listed(place, caller, state="open"):
    return namespace_requests.list_namespace_requests(place.registry, caller, state=state, **PAGE).items


def grant(place, caller, number):
    return namespace_requests.grant_namespace(place.registry, caller, number, reason="")


def test_who_asks_gets_the_namespace_when_an_admin_grants_it(closed):
    bob = closed.caller("bob")
    number = ask(closed, bob, visibility="private", reason="a team of two")

    again = ask(closed, bob)
    (waits,) = listed(closed, closed.root)
    granted = grant(closed, closed.root, number)
    bob = closed.caller("bob", "read", "push", "admin")

    assert again == number
    assert (waits.opener, waits.reason, waits.state) == ("bob", "a team of two", "open")
    assert (granted.state, granted.decided_by) == ("granted", "root")
    assert bob.may(Right.ADMIN, on=Namespace("fresh"))
    shown = namespaces.show_namespace(closed.registry, bob, "fresh")
    assert (shown.owners, shown.visibility) == (["bob"], "private")
    assert grant(closed, closed.root, number) == granted
    assert listed(closed, closed.root) == []


def test_a_script_asks_for_its_owner(one_closed):
    place = one_closed
    place.secret("bob", "read")
    bot = place.caller("bot", "read", "push", kind="ci", acts_for="bob")

    grant(place, place.root, ask(place, bot))

    assert namespaces.show_namespace(place.registry, place.root, "fresh").owners == ["bob"]
    assert place.caller("bot", "push", kind="ci").may(Right.PUSH, on=LineRef("fresh", "x"))


def test_nobody_makes_a_namespace_by_another_way(one_closed):
    place = one_closed
    bob, ada = place.caller("bob"), place.caller("ada", "read", "push", "admin")
    wide = place.caller("wide", "push", everywhere=True)

    for who in (bob, ada, wide):
        with pytest.raises(Forbidden):
            place.found(who, OTHER)
    with pytest.raises(Forbidden, match="admins make the namespaces"):
        rename_namespace(place.registry, ada, "lab", Rename(to="other"))
    assert (
        "namespace"
        not in explain.explain_access(place.registry, bob, principal="bob", action="push", ref="other/x")
        .because[0]
        .what
    )
    place.found(ada, LineRef("lab", "second"))
    place.found(place.root, OTHER)


def test_only_admins_decide_and_only_once(one_closed):
    place = one_closed
    bob, ada = place.caller("bob"), place.caller("ada", "read", "push", "admin")
    number = ask(place, bob)

    for who in (bob, ada):
        with pytest.raises(Forbidden):
            grant(place, who, number)
        with pytest.raises(Forbidden):
            namespace_requests.refuse_namespace(place.registry, who, number, reason="x")
    refused = namespace_requests.refuse_namespace(place.registry, place.root, number, reason="use lab")
    with pytest.raises(Conflict, match="was refused by root"):
        grant(place, place.root, number)
    with pytest.raises(NotFound):
        grant(place, place.root, 99)

    assert (refused.state, refused.decision) == ("refused", "use lab")
    assert [row.state for row in listed(place, bob, None)] == ["refused"]
    assert listed(place, ada, None) == []


def test_a_request_says_nothing_of_names_that_are_taken(one_closed):
    """As `lab` might be private; who decides is told."""
    place = one_closed
    number = ask(place, place.caller("bob"), "lab")

    with pytest.raises(Conflict, match="the name lab is taken"):
        grant(place, place.root, number)
    assert not place.caller("bob", "push").may(Right.PUSH, on=LAB)


def test_what_is_no_name_or_reserved_is_not_asked_for(one_closed):
    for name in ("shared", "models"):
        with pytest.raises(InvalidInput, match="kept for what belongs to all"):
            namespaces.create_namespace(one_closed.registry, one_closed.caller("bob"), NamespaceCreate(name=name))
    with pytest.raises(Forbidden):
        namespaces.create_namespace(
            one_closed.registry, one_closed.caller("bob", "read"), NamespaceCreate(name="fresh")
        )


def test_nobody_floods_admins_with_requests(one_closed):
    bob = one_closed.caller("bob")
    for number in range(20):
        ask(one_closed, bob, f"n{number}")

    with pytest.raises(Conflict, match="20 requests of bob wait"):
        namespaces.create_namespace(one_closed.registry, bob, NamespaceCreate(name="one-more"))


def test_who_left_gets_no_namespace(one_closed):
    number = ask(one_closed, one_closed.caller("bob"))
    people.disable_person(one_closed.registry, one_closed.root, "bob")

    with pytest.raises(Conflict, match="bob is disabled"):
        grant(one_closed, one_closed.root, number)
