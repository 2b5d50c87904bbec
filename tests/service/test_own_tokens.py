"""Tokens that people make and renew for themselves and their scripts: nobody gains by it."""

import pytest
import sqlalchemy as sa

from deltareg.db import tables as t
from deltareg.db.access import principals
from deltareg.db.session import read, write
from deltareg.db.sql.clock import US_PER_S, now_us
from deltareg.errors import Conflict, Forbidden, InvalidInput, NotFound, Unauthenticated
from deltareg.refs import LineRef
from deltareg.service.access import keeping, making, offboarding
from deltareg.service.access.tokens import whoami
from deltareg.service.authority.grants import Right
from deltareg.service.authority.resources import EVERYTHING, Namespace
from deltareg.wire import TokenCreate, TokenRenew
from tests.service.test_grants import LAB, PAGE, Place

HOUR = 3600


@pytest.fixture
def lab(engine):
    """Let ada own `lab` and bob push there; `other` is somebody else's."""
    return filled(engine)


@pytest.fixture
def one_lab(sqlite_engine):
    return filled(sqlite_engine)


def filled(engine):
    place = Place(engine)
    place.found(place.caller("ada"))
    place.found(place.caller("eve"), LineRef("other", "x"))
    place.secret("bob", "read")
    place.add(owner_of(place), "bob", "pusher")
    return place


def owner_of(place, **more):
    """Give ada with a token for all that owners do."""
    return place.caller("ada", "admin", **more)


def make(place, by, principal, *scopes, **more):
    request = TokenCreate(principal=principal, scopes=[*scopes] or ["read"], **more)
    return making.create_token(place.registry, by, request)


def script(place, by, name="lab-ci", *scopes, **more):
    wanted = {"kind": "ci", "namespaces": ["lab"], **more}
    with read(place.registry.engine) as conn:
        if principals.principal_row(conn, name) is None and wanted["kind"] == "ci":
            wanted.setdefault("acts_for", by.principal)
    return make(place, by, name, *(scopes or ("read", "push")), **wanted)


def renew(place, secret, **more):
    return keeping.renew_token(place.registry, place.of(secret), TokenRenew(**more))


def is_live(place, secret):
    try:
        place.of(secret)
    except Unauthenticated:
        return False
    return True


def seen(place, caller):
    return {row.principal for row in keeping.list_tokens(place.registry, caller, **PAGE).items}


def test_an_owner_makes_a_token_for_a_script_inside_the_namespace(lab):
    ada = owner_of(lab)
    made = script(lab, ada)

    before = lab.of(made.token).may(Right.PUSH, on=LAB)
    lab.add(ada, "lab-ci", "pusher")
    bot = lab.of(made.token)

    assert (made.people, made.lacking) == (["ada"], [])
    assert not before, "a token gives no role"
    assert bot.may(Right.PUSH, on=LAB)
    assert not bot.may(Right.READ, on=LineRef("other", "x"))
    assert whoami(lab.registry, bot).acts_for == "ada"


@pytest.mark.parametrize(
    ("name", "more"),
    [
        ("lab-ci", {"namespaces": ["other"]}),
        ("lab-ci", {"namespaces": ["lab", "other"]}),
        ("lab-ci", {"namespaces": ["fresh"]}),
        ("lab-ci", {"namespaces": None}),
        ("lab-ci", {"namespaces": None, "everywhere": True}),
        ("lab-ci", {"scopes": ("read", "break-glass")}),
        ("lab-ci", {"kind": "wrk", "scopes": ("read", "verify")}),
        ("lab-ci", {"kind": "pat"}),
        ("lab-ci", {"acts_for": "eve"}),
        ("root", {}),
        ("eve", {}),
        ("bob", {}),
        ("new-person", {}),
        ("labs-ci", {}),
        ("lab", {}),
    ],
)
def test_an_owner_makes_no_token_beyond_the_namespace(one_lab, name, more):
    with pytest.raises(Forbidden):
        script(one_lab, owner_of(one_lab), name, *more.pop("scopes", ()), **more)

    with read(one_lab.registry.engine) as conn:
        assert principals.principal_id(conn, "lab-ci") is None


@pytest.mark.parametrize("scopes", [("read",), ("push",), ("read", "push", "promote")])
def test_who_does_not_own_the_namespace_makes_no_token_in_it(one_lab, scopes):
    with pytest.raises(Forbidden):
        script(one_lab, one_lab.caller("bob", *scopes, "admin"), "lab-ci", "read")
    with pytest.raises(Forbidden):
        script(one_lab, one_lab.caller("ada", *scopes), "lab-ci", "read")


def test_nobody_makes_a_token_for_the_script_of_another_owner(one_lab):
    """Not even in a namespace that both own: it would act in the other's name."""
    place = one_lab
    script(place, owner_of(place))
    place.add(owner_of(place), "bob", "owner")
    bob = place.caller("bob", "admin")
    place.secret("deploy", "read", kind="ci", acts_for="eve")

    with pytest.raises(Forbidden, match="not a service account of yours"):
        script(place, bob)
    with pytest.raises(Forbidden):
        script(place, bob, "deploy")
    (row,) = [row for row in keeping.list_tokens(place.registry, bob, **PAGE).items if row.principal == "lab-ci"]
    assert keeping.revoke_token(place.registry, bob, row.id).revoked_at, "but they take it away"


def test_a_script_makes_tokens_for_itself_alone(one_lab):
    place = one_lab
    secret = script(place, owner_of(place), "lab-ci", "read", "admin").token
    place.add(owner_of(place), "lab-ci", "owner")
    bot = place.of(secret)

    with pytest.raises(Forbidden, match="no person"):
        script(place, bot, "lab-bot", "read")
    own = make(place, bot, "lab-ci", "read")

    assert (own.kind, own.namespaces) == ("ci", ["lab"])


@pytest.mark.parametrize(
    ("more", "error"),
    [
        ({"scopes": ["read", "promote"]}, Forbidden),
        ({"scopes": ["admin"]}, Forbidden),
        ({"scopes": ["break-glass"]}, Forbidden),
        ({"namespaces": ["other"]}, Forbidden),
        ({"namespaces": ["lab", "other"]}, Forbidden),
        ({"everywhere": True}, InvalidInput),
        ({"acts_for": "ada"}, InvalidInput),
    ],
)
def test_a_token_of_ones_own_is_never_wider(one_lab, more, error):
    bob = one_lab.caller("bob", "read", "push", namespaces=["lab"])
    wanted = {"scopes": ["read"]} | more

    with pytest.raises(error):
        making.create_token(one_lab.registry, bob, TokenCreate(principal="bob", **wanted))


def test_a_token_of_ones_own_keeps_the_limits_and_ends_with_the_one_it_is_made_with(lab):
    secret = lab.secret("bob", "read", "push", namespaces=["lab"], expires_in_s=HOUR)
    made = make(lab, lab.of(secret), "bob", "push", expires_in_s=300 * 86_400)
    child = lab.of(made.token)

    assert (made.namespaces, made.kind) == (["lab"], "pat")
    assert made.expires_at <= whoami(lab.registry, lab.of(secret)).expires_at
    assert child.may(Right.PUSH, on=LAB)
    assert not child.may(Right.READ, on=LineRef("other", "x"))

    grandchild = make(lab, child, "bob", "push").token
    keeping.revoke_token(lab.registry, lab.of(secret), lab.of(secret).token_id)
    assert [is_live(lab, each) for each in (secret, made.token, grandchild)] == [False, False, False]


def test_an_admins_token_ends_with_the_one_that_made_it_for_them_and_others_stay(one_lab):
    place = one_lab
    leaked = place.secret("root", "admin")
    own = place.secret("root", "admin", by=place.of(leaked))
    others = place.secret("cyd", "read", by=place.of(leaked))

    keeping.revoke_token(place.registry, place.root, place.of(leaked).token_id)

    assert [is_live(place, each) for each in (own, others)] == [False, True]


def test_a_renewed_token_allows_the_same_for_as_long_again(lab):
    secret = lab.secret("bob", "read", "push", namespaces=["lab"], expires_in_s=30 * 86_400)
    old = whoami(lab.registry, lab.of(secret))

    new = renew(lab, secret)
    now = whoami(lab.registry, lab.of(new.token))

    assert (now.scopes, now.namespaces, now.principal) == (["read", "push"], ["lab"], "bob")
    assert (now.expires_at or "") >= (old.expires_at or "z")
    assert is_live(lab, secret), "for an hour"
    with read(lab.registry.engine) as conn:
        ends, at = conn.execute(sa.select(t.tokens.c.expires_at, now_us()).where(t.tokens.c.id == old.token_id)).one()
    assert 0 < ends - at <= HOUR * US_PER_S


def test_a_renewed_token_is_never_wider(one_lab):
    secret = one_lab.secret("bob", "read", "push")

    less = renew(one_lab, secret, scopes=["read"])

    assert less.scopes == ["read"]
    for scope in ("push", "admin", "break-glass"):
        with pytest.raises(Forbidden):
            renew(one_lab, less.token, scopes=[scope])


def test_whose_renewed_token_was_lost_renews_again_and_the_lost_one_ends(one_lab):
    secret = one_lab.secret("bob", "read")
    lost = renew(one_lab, secret).token

    new = renew(one_lab, secret)

    assert not is_live(one_lab, lost)
    assert is_live(one_lab, new.token)
    life = one_lab.secret("bob", "read")  # of the same length
    ends = [str(whoami(one_lab.registry, one_lab.of(secret)).expires_at)[:13] for secret in (new.token, life)]
    assert ends[0] == ends[1]


def test_who_stole_a_token_that_was_renewed_since_gets_no_new_one(one_lab):
    stolen = one_lab.secret("bob", "read")
    used = renew(one_lab, stolen).token
    one_lab.of(used)

    with pytest.raises(Conflict, match="was renewed"):
        renew(one_lab, stolen)
    assert is_live(one_lab, used)


def test_what_a_thief_renewed_and_made_ends_with_the_stolen_token(one_lab):
    place = one_lab
    stolen = place.secret("bob", "read", "push")
    renewed = renew(place, stolen).token
    made = make(place, place.of(renewed), "bob", "read").token
    again = renew(place, made).token
    bob = place.caller("bob", "read")

    keeping.revoke_token(place.registry, bob, place.of(stolen).token_id)

    assert [is_live(place, each) for each in (stolen, renewed, made, again)] == [False] * 4
    assert is_live(place, place.secret("bob", "read"))


@pytest.mark.parametrize(("life_s", "is_renewed"), [(3599, False), (3600, False), (3601, True)])
def test_an_hour_is_an_hour_on_both_databases(lab, life_s, is_renewed):
    secret = lab.secret("ci", "read", kind="ci", acts_for="root", expires_in_s=life_s)
    with read(lab.registry.engine) as conn:
        (made,) = [row for row in principals.token_rows(conn) if row.principal == "ci"]

    assert made.expires_at == made.created_at + life_s * 1_000_000
    if is_renewed:
        assert renew(lab, secret).principal == "ci"
        return
    with pytest.raises(InvalidInput, match="an hour at most"):
        renew(lab, secret)


def test_a_token_for_one_job_is_not_renewed(one_lab):
    for secret in (
        one_lab.secret("bob", "read", expires_in_s=HOUR),
        one_lab.secret("ci", "read", kind="ci", acts_for="root", expires_in_s=900),
    ):
        with pytest.raises(InvalidInput, match="an hour at most"):
            renew(one_lab, secret)


def test_a_token_without_an_end_is_renewed_without_one(one_lab):
    secret = one_lab.secret("bob", "read")
    with write(one_lab.registry.engine) as conn:
        conn.execute(sa.update(t.tokens).values(expires_at=None))

    new = renew(one_lab, secret)

    assert new.expires_at is None
    assert whoami(one_lab.registry, one_lab.of(secret)).expires_at


def test_everybody_sees_and_ends_what_is_theirs_and_nothing_else(lab):
    ada, bob, eve = owner_of(lab), lab.caller("bob", "read"), lab.caller("eve", "admin")
    made = script(lab, ada)
    lab.secret("both", "read", kind="ci", acts_for="eve", namespaces=["lab", "other"])
    both = lab.secret("wide", "read", kind="ci", acts_for="root")

    assert seen(lab, ada) == {"ada", "lab-ci"}
    assert seen(lab, bob) == {"bob"}
    assert seen(lab, eve) == {"eve", "both"}
    assert seen(lab, lab.of(made.token)) == {"lab-ci"}
    assert {"root", "ada", "bob", "wide"} < seen(lab, lab.root)
    for caller in (bob, eve, lab.of(both)):
        with pytest.raises(NotFound):
            keeping.revoke_token(lab.registry, caller, made.id)
    with pytest.raises(NotFound):
        keeping.revoke_token(lab.registry, ada, bob.token_id)
    assert keeping.revoke_token(lab.registry, ada, made.id).revoked_at


def test_a_token_limited_to_a_namespace_sees_the_scripts_of_that_one_alone(one_lab):
    place = one_lab
    place.found(place.caller("ada"), LineRef("second", "x"))
    ada = owner_of(place)
    for name in ("lab", "second"):
        script(place, ada, f"{name}-ci", "read", namespaces=[name])
    place.add(ada, "bob", "owner", namespace="second")

    assert seen(place, place.caller("bob", "admin", namespaces=["second"])) == {"bob", "second-ci"}
    assert seen(place, place.caller("bob", "read")) == {"bob"}


def test_an_admin_of_one_namespace_is_none_of_everything(one_lab):
    wide = one_lab.caller("root", "admin", namespaces=["lab"])

    assert not wide.may(Right.ADMIN, on=EVERYTHING)
    with pytest.raises(Forbidden):
        make(one_lab, wide, "ada", "read")
    with pytest.raises(Forbidden):
        make(one_lab, wide, "root", "admin", namespaces=["other"])
    assert wide.may(Right.ADMIN, on=Namespace("lab"))
    assert script(one_lab, wide).people == ["root"]


def test_somebody_looks_at_what_there_is_of_themselves_and_of_nobody_else(one_lab):
    place = one_lab
    ada = owner_of(place)
    script(place, ada)

    own = offboarding.show_principal(place.registry, ada, "ada")

    assert own.owns == ["lab-ci"]
    assert {(each.kind, each.name) for each in own.leaves} == {("namespace", "lab"), ("account", "lab-ci")}
    with pytest.raises(Forbidden):
        offboarding.show_principal(place.registry, ada, "bob")
