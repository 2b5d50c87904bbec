"""Organisation: groups, roles of one's own, services and files of access give nobody more than they had."""

import httpx
import sqlalchemy as sa

from deltareg.db import tables as t
from deltareg.db.access import groups, owners, principals
from deltareg.db.access.grants import add_grant, lock_keepers
from deltareg.db.session import write
from deltareg.db.sql.row_protocols import present
from deltareg.service.access.groups import follow_provider
from tests.api.forger import copy
from tests.hostile.people_attacks import ADMINS, OWNERS, SELVES, does
from tests.hostile.table import attack, some


def group(world, *members, role=None, namespace="team"):
    """Make a group of some people, with a role in a namespace; gives its name."""
    name = f"group-{world.next()}"
    with write(world.engine) as conn:
        made = present(groups.add_group(conn, name, source="", created_by=None))
        for who in members:
            groups.add_membership(conn, made.id, world.ids[who], created_by=None)
        if role is not None:
            add_grant(conn, made.id, role=role, namespace_id=_space(conn, namespace), created_by=None)
    return name


def script_of(world, owner, *roles):
    """Make a script that somebody owns, with roles in `team`; gives its token."""
    name = f"team-s{world.next()}"
    with write(world.engine) as conn:
        row = present(principals.principal_row(conn, owner))
        number = principals.add_principal(conn, name, kind="service")
        owners.set_owner(conn, number, row.id, created_by=None)
        for role in roles:
            add_grant(conn, number, role=role, namespace_id=_space(conn, "team"), created_by=None)
    answer = world.me("chief").ask(
        "POST",
        "/tokens",
        {
            "principal": name,
            "kind": "ci",
            "acts_for": owner,
            "scopes": ["read", "push", "promote", "approve"],
            "expires_in_s": 86_400,
        },
    )
    return name, answer.json()["token"]


def _space(conn, name):
    return conn.execute(sa.select(t.namespaces.c.id).where(t.namespaces.c.name == name)).scalar_one()


def _owners(world, namespace):
    with write(world.engine) as conn:
        return lock_keepers(conn, _space(conn, namespace), "owner")


@attack("somebody gets into a group, or lets its name mean another", but=ADMINS, best=("owner", "maintainer", "pusher"))
def _(world, me):
    name, own = group(world, "owner", role="owner", namespace="vault"), SELVES.get(me.name, me.name)
    tries = [
        me.does("POST", f"/groups/{name}/members", {"principal": own}),
        me.does("POST", "/groups", {"name": name, "source": "acme"}),
        me.does("POST", "/groups", {"name": f"new-{world.next()}", "source": "acme"}),
        me.name != "owner" and me.does("DELETE", f"/groups/{name}/members/owner"),
        me.does("DELETE", f"/groups/{name}"),
    ]
    return some(*tries)


@attack("a role of one's own gives what its maker lacks", best=("chief", "owner", "maintainer"))
def _(world, me):
    """An admin lacks nothing but the glass; nobody else says what a role is outside of their namespace."""
    name = f"role-{world.next()}"
    allowed = {"chief": 3, "owner": 1, "foreign": 1}.get(me.name, 0)
    wide = [["read", "break-glass"], ["break-glass"]]
    made = [me.does("POST", "/roles", {"name": name, "namespace": space, "rights": each})
            for space in ("team", None) for each in wide]  # fmt: skip
    own = [
        me.does("POST", "/roles", {"name": f"{name}-x", "namespace": space, "rights": ["read", "push"]})
        for space in ("team", "other", None)
    ]
    return some(*made, sum(own) > allowed)


@attack("a role is widened by who holds it", but=OWNERS, best=("pusher", "maintainer"))
def _(world, me):
    name, own = f"held-{world.next()}", SELVES.get(me.name, me.name)
    owner = world.me("owner")
    owner.ask("POST", "/roles", {"name": name, "namespace": "team", "rights": ["read"]})
    owner.ask("POST", "/members", {"principal": own, "role": name, "namespace": "team"})
    wider = me.does("POST", "/roles", {"name": name, "namespace": "team", "rights": ["read", "promote", "approve"]})
    return some(wider, me.does("DELETE", f"/roles/{name}?namespace=team"))


@attack("a group's script is the second person of one who is in it", best=("approver",))
def _(world, me):
    """The script of a group asks, and a member of the group approves."""
    if me.name not in {"approver", "maintainer"}:
        return False
    crew = group(world, me.name)
    _, secret = script_of(world, crew, "maintainer")
    line = me.line(world)
    world.client_of("owner").push(world.fresh(), line, base="tinyllama")
    world.prove()
    world.owner.channels.set_policy(line, "prod", {"smoke": False, "approvals": 1}, reason="x")
    path = f"/deltas/{line}/channels/prod/revisions"
    asked = {"kind": "promote", "version": 1, "reason": "x"}
    answer = world.server.http(secret).post(path, json=asked, headers={"If-Match": '"r0"'})
    assert answer.json()["code"] == "approval_due", answer.text
    me.ask("POST", f"/requests/{answer.json()['request']}:approve", {"message": "fine"})
    return world.revision(line, "prod") > 0


@attack("a script that was handed over obeys who had it", best=("pusher",))
def _(world, me):
    own = SELVES.get(me.name, me.name)
    if own in {"anonymous", "script", "worker"}:  # who own nothing
        return False
    name, secret = script_of(world, own, "pusher")
    http = world.server.http(secret)
    made = [http.post("/tokens:renew", json={}).json().get("token")]
    narrow = {"principal": name, "kind": "ci", "scopes": ["read"], "expires_in_s": 7_200}
    made.append(http.post("/tokens", json=narrow).json().get("token"))
    assert all(made)
    world.me("chief").ask("POST", f"/principals/{name}:give", {"to": "reader" if own != "reader" else "owner"})
    return some(*[does(world, each, "GET", "/whoami") for each in (secret, *made)])


@attack("who comes back comes back with their old tokens", best=("stranger",))
def _(world, me):
    """Somebody leaves and returns: what they, or who stole it, held before opens nothing."""
    chief, name = world.me("chief"), f"gone-{world.next()}"
    if me.name not in {"stranger", "chief"}:
        return False
    wanted = {"principal": name, "scopes": ["read", "push"], "expires_in_s": 86_400}
    old = chief.ask("POST", "/tokens", wanted).json()["token"]
    http = world.server.http(old)
    made = [old, http.post("/tokens", json={"principal": name, "expires_in_s": 7_200}).json()["token"]]
    code = http.post("/sessions", json={}).json()["code"]
    chief.ask("POST", f"/principals/{name}:disable")
    assert chief.does("POST", f"/principals/{name}:enable")
    renewed = [world.server.http(each).post("/tokens:renew", json={}).is_success for each in made]
    login = http.post(f"{world.server.url}/ui/login", data={"code": code}, headers={"Sec-Fetch-Site": "same-origin"})
    return some(*renewed, *[does(world, each, "GET", "/whoami") for each in made], login.status_code == 303)


@attack("a namespace is made where admins alone make them", but=ADMINS, best=("pusher", "owner", "limited"))
def _(world, me):
    """It is asked for, and who asks grants it."""
    name, own = f"mine-{world.next()}", world.tokens[me.name]
    headers = {"Authorization": f"Bearer {own}"} if own else {}

    def post(path, body):
        return world.strict.post(path, json=body, headers=headers)

    asked = post("/namespaces", {"name": name})
    number = asked.json().get("request", 0)
    assert number or me.name not in {"pusher", "owner"}, asked.text
    tries = [
        asked.status_code == 201,
        post(f"/namespace-requests/{number}:grant", {"reason": "please"}).is_success,
        post("/access:apply", {"document": {"namespaces": {name: {}}}}).is_success,
    ]
    with write(world.engine) as conn:
        made = t.namespaces.c.name == name
        return some(*tries, conn.execute(sa.select(t.namespaces.c.id).where(made)).first() is not None)


@attack("a namespace is left without an owner by a file", best=("chief", "owner"))
def _(world, me):
    """Or by what empties it: the last owner is pruned, or a group that is the last is emptied."""
    name = f"kept-{world.next()}"
    owner = world.me("owner")
    assert owner.does("POST", "/namespaces", {"name": name})
    before = _owners(world, name)
    for members in ({}, {"reader": ["reader"]}):
        document = {"namespaces": {name: {"members": members}}}
        me.ask("POST", "/access:apply", {"document": document, "prune": True})
    return before > 0 and _owners(world, name) == 0


@attack("a file of access gives what its author lacks", but=(), best=("chief", "owner", "maintainer", "pusher"))
def _(world, me):
    own = SELVES.get(me.name, me.name)
    documents = [
        {"everywhere": {"stranger": ["break-glass"]}},
        {"namespaces": {"team": {"members": {own: ["break-glass"]}}}},
        {"namespaces": {"team": {"roles": {f"r{world.next()}": ["break-glass"]}}}},
    ]
    if me.name != "chief":
        documents += [
            {"everywhere": {own: ["admin"]}},
            {"services": {"script": {"owner": own}}},
            {"groups": {f"g{world.next()}": {"members": [own]}}},
            {"roles": {f"r{world.next()}": ["push"]}},
        ]
    if me.name not in {"chief", "foreign"}:
        documents.append({"namespaces": {"other": {"members": {own: ["owner"]}}}})
    if me.name not in OWNERS:
        documents.append({"namespaces": {"team": {"members": {own: ["owner"]}}}})
    answers = [me.ask("POST", "/access:apply", {"document": each}) for each in documents]
    return any(answer.is_success and answer.json()["changes"] for answer in answers)


@attack("an owner raises a quota", but=ADMINS, best=("owner", "maintainer"))
def _(world, me):
    limits, own = {"limits": {"bytes": None, "lines": 10**6}}, SELVES.get(me.name, me.name)
    return some(
        me.does("PUT", "/namespaces/team/quota", limits),
        me.does("PUT", f"/principals/{own}/quota", limits),
        me.does("PUT", "/quota", limits),
        me.does("PUT", "/principals/*/quota", limits),
        me.does("PUT", "/namespaces/*/quota", limits),
    )


@attack("a quota is less than nothing, or no number", best=("chief",))
def _(_, me):
    wrong = (-1, 1.5, "1e3", True, 2**63, [1])
    return some(*[me.does("PUT", "/namespaces/nowhere/quota", {"limits": {"bytes": each}}) for each in wrong])


@attack("a namespace leaves its quota behind by another name", best=("owner",))
def _(world, me):
    name = f"full-{world.next()}"
    if not me.does("POST", "/namespaces", {"name": name}):
        return False
    assert world.me("chief").does("PUT", f"/namespaces/{name}/quota", {"limits": {"lines": 0}})
    pushed = [_pushes(world, me, name)]
    if me.does("POST", f"/namespaces/{name}:rename", {"name": f"{name}-b"}):
        pushed += [_pushes(world, me, f"{name}-b"), _pushes(world, me, name)]
    return some(*pushed)


def _pushes(world, me, namespace):
    push = copy(world.prepared)
    push.target = f"{namespace}/x"
    return push.send(me.http).status_code == 200


@attack("what one pushes counts as another's", best=("pusher", "script"))
def _(world, me):
    """Neither the owner of a namespace nor somebody with the same bytes is charged for them."""
    if me.name not in {"pusher", "script", "maintainer"}:
        return False
    before = [_used(world, name) for name in ("foreign", "reader")]
    push = copy(world.prepared)
    push.target = me.line(world)
    assert push.send(me.http).is_success
    return [_used(world, name) for name in ("foreign", "reader")] != before


def _used(world, name):
    uses = world.me("chief").http.get(f"/principals/{name}/quota").json()["uses"]
    return {each["resource"]: each["used"] for each in uses}


@attack("a provider puts somebody into a group that it does not keep", best=("stranger", "pusher"))
def _(world, me):
    """Under the name of a group that people keep, of another provider's, of a person, and in other letters."""
    own = SELVES.get(me.name, me.name)
    if own in {"anonymous", "worker"}:  # who do not sign in
        return False
    kept, other = group(world, "owner", role="owner"), group(world, "owner", role="owner")
    with write(world.engine) as conn:
        groups.set_source(conn, present(groups.group_row(conn, other)).id, "elsewhere")
    names = (kept, other, "chief", "script", kept.upper(), f" {kept}", kept.replace("g", "\u0261"), f"{kept}\u200b")
    with write(world.engine) as conn:
        follow_provider(conn, world.ids[own], source="acme", groups=names)
        mine = {row.name for row in groups.groups_of(conn, world.ids[own])}
    return bool(mine & {*names, kept, other}) and own != "owner"


@attack("a group that a provider filled is one that people keep, by a word of nobody", best=("chief",))
def _(world, me):
    """A name that somebody took at the provider, before an admin makes a group of it: to name it changes nothing."""
    name = f"early-{world.next()}"
    with write(world.engine) as conn:
        follow_provider(conn, world.ids["stranger"], source="acme", groups=[name])
    me.ask("POST", "/groups", {"name": name})
    me.ask("POST", f"/groups/{name}/members", {"principal": "reader"})
    with write(world.engine) as conn:
        row = present(groups.group_row(conn, name))
        return row.source != "acme" or groups.is_member(conn, row.id, world.ids["reader"])


@attack("a group that was removed comes back with what it held", best=("reader",))
def _(world, me):
    own = SELVES.get(me.name, me.name)
    if own not in {"reader", "stranger", "pusher"}:
        return False
    chief, name = world.me("chief"), group(world, own, role="owner", namespace="vault")
    assert me.gets("/namespaces/vault")
    assert chief.does("DELETE", f"/groups/{name}")
    assert chief.does("POST", "/groups", {"name": name})
    after_removal = me.gets("/namespaces/vault")
    assert chief.does("POST", f"/groups/{name}/members", {"principal": own})
    return some(after_removal, me.gets("/namespaces/vault"))


@attack("who has lost a role gives it on", best=("maintainer",))
def _(world, me):
    """By the token that was made when they held it: to a friend, to a group of theirs, by a role of one's own."""
    name, chief = f"former-{world.next()}", world.me("chief")
    if me.name != "maintainer":
        return False
    secret = chief.ask("POST", "/tokens", {"principal": name, "scopes": ["read", "promote", "admin"]}).json()["token"]
    given = chief.ask("POST", "/members", {"principal": name, "role": "owner", "namespace": "team"}).json()["id"]
    crew, http = group(world, "reader", role="reader"), world.server.http(secret)
    friend = {"principal": "stranger", "role": "pusher", "namespace": "team"}
    script = {"kind": "ci", "namespaces": ["team"], "acts_for": name}
    assert http.post("/members", json=friend).is_success
    assert chief.does("DELETE", f"/members/{given}")
    tries = [
        http.post("/members", json={**friend, "role": "promoter"}),
        http.post("/members", json={**friend, "principal": crew, "role": "promoter"}),
        http.post("/roles", json={"name": f"r{world.next()}", "namespace": "team", "rights": ["promote"]}),
        http.post("/tokens", json={**script, "principal": f"team-{name}"}),
        http.post("/access:apply", json={"document": {"namespaces": {"team": {"members": {crew: ["promoter"]}}}}}),
    ]
    assert chief.does("DELETE", f"/members/{_grant_of(chief, 'stranger')}")
    return some(*[answer.is_success for answer in tries])


def _grant_of(me, principal):
    listed = me.http.get("/members", params={"namespace": "team", "limit": 200}).json()["items"]
    return next(row["id"] for row in listed if row["principal"] == principal)


@attack("a code to log in with is good twice, or after its token", best=("reader", "anonymous"))
def _(world, me):
    """The one invitation that there is, to a browser: used by a second one, or when its token has ended."""
    chief, name = world.me("chief"), f"invites-{world.next()}"
    made = chief.ask("POST", "/tokens", {"principal": name, "scopes": ["read"], "expires_in_s": 7_200}).json()
    http = world.server.http(made["token"])
    first, second = (http.post("/sessions", json={}).json()["code"] for _ in range(2))

    def logs_in(code):
        headers = {"Sec-Fetch-Site": "same-origin"}
        with httpx.Client() as browser:
            return browser.post(f"{world.server.url}/ui/login", data={"code": code}, headers=headers).status_code == 303

    assert logs_in(first)
    again = logs_in(first)
    assert chief.does("POST", f"/tokens/{made['id']}:revoke")
    return some(again, logs_in(second))
