"""The answer to who may do what, over grants, a right and a resource."""

from typing import get_args

import pytest

from deltareg.refs import LineRef
from deltareg.service.authority.decide import AccessDecision, decide
from deltareg.service.authority.grants import SCOPES, Grant, Right, grants_of
from deltareg.service.authority.resources import EVERYTHING, SOMEWHERE, Base, Namespace
from deltareg.service.registry import Caller
from deltareg.wire import Scope

LAB = LineRef("lab", "x")


def test_rights_are_the_scopes_of_the_wire():
    assert {right.value for right in SCOPES} == set(get_args(Scope))


@pytest.mark.parametrize("on", [EVERYTHING, SOMEWHERE, Namespace("lab"), LAB, Base("tiny")])
@pytest.mark.parametrize("asked", list(Right))
@pytest.mark.parametrize("held", sorted(SCOPES))
def test_the_scopes_of_a_token_reach_everything(held, asked, on):
    is_implied = held is Right.ADMIN and asked is not Right.BREAK_GLASS

    answer = decide(grants_of([held.value]), asked, on)

    assert answer is (AccessDecision.ALLOWED if held is asked or is_implied else AccessDecision.REFUSED)


def test_a_scope_of_a_later_release_allows_nothing():
    assert grants_of(["read", "teleport"]) == {Grant(Right.READ)}


@pytest.mark.parametrize(
    ("right", "on", "expected"),
    [
        (Right.READ, LineRef("mine", "x"), AccessDecision.ALLOWED),
        (Right.READ, Namespace("mine"), AccessDecision.ALLOWED),
        (Right.READ, Base("mine/x:v1"), AccessDecision.ALLOWED),
        (Right.READ, Base("tiny"), AccessDecision.ALLOWED),
        (Right.READ, SOMEWHERE, AccessDecision.ALLOWED),
        (Right.READ, LineRef("mine2", "x"), AccessDecision.HIDDEN),
        (Right.READ, Namespace("min"), AccessDecision.HIDDEN),
        (Right.READ, Base("lab/x:v1"), AccessDecision.HIDDEN),
        (Right.READ, EVERYTHING, AccessDecision.REFUSED),
        (Right.PROMOTE, LAB, AccessDecision.REFUSED),
        (Right.PUSH, Base("tiny"), AccessDecision.REFUSED),
        (Right.PUSH, Base("mine/x:v1"), AccessDecision.ALLOWED),
        (Right.ADMIN, EVERYTHING, AccessDecision.REFUSED),
        (Right.BREAK_GLASS, LineRef("mine", "x"), AccessDecision.REFUSED),
    ],
)
def test_an_admin_of_a_namespace_is_one_there(right, on, expected):
    assert decide([Grant(Right.ADMIN, Namespace("mine"))], right, on) is expected


def test_who_may_push_somewhere_but_not_read_is_told_so():
    pusher = Caller("ada", 1, 1, frozenset({Grant(Right.PUSH, Namespace("lab"))}))
    reader = frozenset({*pusher.grants, Grant(Right.READ, Namespace("mine"))})

    assert decide(pusher.grants, Right.READ, LineRef("mine", "x")) is AccessDecision.REFUSED
    assert decide(reader, Right.READ, LAB) is AccessDecision.REFUSED, "it is known to be there"
    assert pusher.sees(LAB)
    assert not pusher.sees(LineRef("mine", "x"))
