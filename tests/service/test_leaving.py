"""Who is disabled gets nothing more, at once, and what they leave is listed."""

import pytest
import sqlalchemy as sa

from deltareg.db import tables as t
from deltareg.db.access.grants import holdings_of
from deltareg.db.hub.hub_drafts import add_ticket, ticket_row
from deltareg.db.session import read, write
from deltareg.errors import Conflict, Forbidden, NotFound, Unauthenticated
from deltareg.service.access import keeping, making, members, offboarding, people, sessions
from deltareg.service.access.people import find_or_add_person
from deltareg.service.authority.grants import Right
from deltareg.wire import TokenCreate, TokenRenew
from tests.fixtures.registries import SAMPLES
from tests.service.test_grants import LAB, PAGE
from tests.service.test_own_tokens import is_live, lab, make, one_lab, owner_of, renew, script  # noqa: F401
from tests.service.test_people import APPROVES, asking, opened_by  # noqa: F401


def disable(place, name, by=None):
    return people.disable_person(place.registry, by or place.root, name)


def test_tokens_and_sessions_end_at_once_and_stay_ended(lab):  # noqa: F811
    secrets = [lab.secret("bob", "read", "push") for _ in range(2)]
    code = sessions.open_session(lab.registry, lab.of(secrets[0])).code
    session = sessions.begin_by_token(lab.registry, secrets[1], bound_to="", browser="b", request_id="r")

    shown = disable(lab, "bob")

    assert shown.disabled_at
    assert (shown.tokens, shown.sessions) == ([], 0)
    assert shown.roles == ["pusher of lab"], "for when they come back"
    people.enable_person(lab.registry, lab.root, "bob")
    assert not any(is_live(lab, secret) for secret in secrets)
    with pytest.raises(Unauthenticated):
        sessions.find_session(lab.registry, session, bound_to="", request_id="r")
    with pytest.raises(Unauthenticated):
        sessions.begin_by_code(lab.registry, code, bound_to="", browser="b", request_id="r")
    assert lab.of(lab.secret("bob", "push")).may(Right.PUSH, on=LAB)


def test_nobody_makes_or_renews_a_token_of_who_is_disabled(one_lab):  # noqa: F811
    place = one_lab
    secret = place.secret("bob", "read")
    bob = place.of(secret)  # as of a request that was let in a moment before
    disable(place, "bob")

    with pytest.raises(Conflict, match="bob is disabled"):
        make(place, place.root, "bob", "read")
    with pytest.raises(Conflict):
        making.create_token(place.registry, bob, TokenCreate(principal="bob"))
    with pytest.raises(Conflict):
        keeping.renew_token(place.registry, bob, TokenRenew())
    with pytest.raises(Unauthenticated), write(place.registry.engine) as conn:
        find_or_add_person(conn, "bob")


def test_what_others_do_in_the_name_of_who_is_disabled_is_nothing(one_lab):  # noqa: F811
    """Rules of channels and webhooks ask what somebody holds now."""
    with read(one_lab.registry.engine) as conn:
        ada = conn.execute(sa.select(t.principals.c.id).where(t.principals.c.name == "ada")).scalar_one()
        before = holdings_of(conn, ada)
    disable(one_lab, "ada")

    with read(one_lab.registry.engine) as conn:
        assert (before, holdings_of(conn, ada)) == ("owner lab ", "")


def test_a_ticket_of_the_hub_does_not_outlive_its_owner(one_lab):  # noqa: F811
    bob = one_lab.caller("bob", "push").principal_id
    ticket = {"line": "lab/x", "principal_id": bob, "sha256": "a" * 64, "size_bytes": 1, "lives_us": 10**9}
    with write(one_lab.registry.engine) as conn:
        add_ticket(conn, "before", **ticket)
    disable(one_lab, "bob")
    with write(one_lab.registry.engine) as conn:
        add_ticket(conn, "on its way", **ticket)

        assert ticket_row(conn, "before") is None
        assert ticket_row(conn, "on its way") is None


def test_the_last_admin_stays_and_who_is_disabled_is_no_other(lab):  # noqa: F811
    with pytest.raises(Conflict, match="last admin"):
        disable(lab, "root")
    second = lab.secret("second", "admin", everywhere=True)
    disable(lab, "second")
    with pytest.raises(Conflict, match="last admin"):
        disable(lab, "root")
    held = members.list_members(lab.registry, lab.root, None, **PAGE).items
    (row,) = [each for each in held if (each.principal, each.role) == ("root", "admin")]
    with pytest.raises(Conflict, match="last admin"):
        members.end_member(lab.registry, lab.root, row.id)
    people.enable_person(lab.registry, lab.root, "second")
    assert not is_live(lab, second)
    assert disable(lab, "root").disabled_at


def test_only_admins_disable_enable_and_hand_over(one_lab):  # noqa: F811
    ada = owner_of(one_lab)
    script(one_lab, ada)
    for act in (people.disable_person, people.enable_person):
        for name in ("bob", "ada", "nobody"):
            with pytest.raises(Forbidden):
                act(one_lab.registry, ada, name)
    with pytest.raises(Forbidden):
        people.hand_over(one_lab.registry, ada, "lab-ci", to="bob")
    with pytest.raises(NotFound):
        disable(one_lab, "nobody")


def test_what_somebody_leaves_is_listed_with_what_takes_it_over(lab):  # noqa: F811
    ada = owner_of(lab)
    bot = script(lab, ada).token
    with write(lab.registry.engine) as conn:
        conn.execute(
            sa.insert(t.hub_drafts).values(line="lab/x", principal_id=ada.principal_id, changes=b"{}", touched_at=1)
        )

    planned = offboarding.show_principal(lab.registry, lab.root, "ada")
    gone = disable(lab, "ada")

    assert [(each.kind, each.name) for each in gone.leaves] == [
        ("namespace", "lab"),
        ("draft", "lab/x"),
        ("account", "lab-ci"),
    ]
    assert planned.leaves == gone.leaves
    assert planned.tokens
    assert gone.leaves[-1].fix == "deltareg principal give lab-ci --to NAME"
    assert is_live(lab, bot), "until somebody hands it over"
    people.hand_over(lab.registry, lab.root, "lab-ci", to="bob")
    assert not is_live(lab, bot), "who leaves knows its secret"
    lab.add(lab.root, "bob", "owner")
    left = offboarding.show_principal(lab.registry, lab.root, "ada").leaves
    assert [(each.kind, each.name) for each in left] == [("draft", "lab/x")]


def test_a_disabled_machine_and_a_disabled_script_get_nothing_either(one_lab):  # noqa: F811
    bot = script(one_lab, owner_of(one_lab)).token
    worker = one_lab.secret("gpu-1", "read", "verify", kind="wrk", everywhere=True)

    for name in ("lab-ci", "gpu-1"):
        disable(one_lab, name)

    assert not is_live(one_lab, bot)
    assert not is_live(one_lab, worker)


def test_each_change_of_a_principal_is_in_the_trail_once(one_lab):  # noqa: F811
    for _ in range(2):
        disable(one_lab, "bob")
    for _ in range(2):
        people.enable_person(one_lab.registry, one_lab.root, "bob")

    with read(one_lab.registry.engine) as conn:
        query = sa.select(t.audit.c.action, t.audit.c.after).where(t.audit.c.subject == "principal/bob")
        rows = conn.execute(query.order_by(t.audit.c.id)).all()
    assert [row.action for row in rows] == ["principal.disable", "principal.enable"]
    assert rows[0].after == {"disabled": True, "tokens_revoked": 1, "sessions_ended": 0, "runs_cancelled": 0}


def test_the_approval_of_who_left_does_not_count(asking):  # noqa: F811
    request = opened_by(asking, "bob")
    asking.client(APPROVES, principal="cyd").requests.approve(request)
    admin = asking.client()

    admin.principals.disable("cyd")

    assert admin.requests.show(request).missing == 2
    admin.principals.enable("cyd")
    assert admin.requests.show(request).missing == 1


def test_the_next_request_is_refused_also_where_answers_are_cached(registry_server):
    server = registry_server
    server.line("lora")
    token = server.token("read", "push", "verify", principal="dan")
    http, admin = server.http(token), server.client()
    paths = ("/resolve?ref=team/lora@prod", "/whoami", "/deltas", "/events", "/deltas/team/lora/versions/1")
    first = {path: http.get(path) for path in paths}
    dan = server._client(token, ("read", "push"), "dan", "pat")
    asked = dan.verify("team/lora:v1", again=True)
    proofs = [run.id for run in admin.runs.list(limit=200).items if run.what == "prove"]

    report = admin.principals.disable("dan")

    assert {answer.status_code for answer in first.values()} == {200}
    for path, before in first.items():
        tags = {"If-None-Match": before.headers["ETag"]} if "ETag" in before.headers else {}
        assert http.get(path, headers=tags).status_code == 401
    assert http.post("/runs", json={"ref": "team/lora:v1"}).status_code == 401
    assert (admin.runs.show(asked.id).state, report.tokens) == ("cancelled", [])
    assert [run.id for run in admin.runs.list(limit=200).items if run.what == "prove"] == proofs


def test_an_upload_that_is_open_goes_on_for_nobody(registry_server):
    server = registry_server
    server.line("lora")
    token = server.token("read", "push", principal="dan")
    http, admin = server.http(token), server.client()
    dan = server._client(token, ("read", "push"), "dan", "pat")
    dan.push(SAMPLES / "deltas" / "tinyllama" / "lora_v2", "dan/x", base="tinyllama")
    with write(server.registry.engine) as conn:
        conn.execute(sa.update(t.uploads).where(t.uploads.c.target == "dan/x").values(state="open"))
        (upload,) = conn.execute(sa.select(t.uploads.c.id).where(t.uploads.c.target == "dan/x")).scalars()

    left = admin.principals.disable("dan").leaves

    assert ("upload", "dan/x") in {(each.kind, each.name) for each in left}
    assert http.put(f"/uploads/{upload}/packs/1", content=b"x").status_code == 401
    assert http.post(f"/uploads/{upload}:complete", json={"storage_map": "{}"}).status_code == 401
