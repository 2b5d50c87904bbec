"""People: nobody is two, nobody gets more by a token than they have, nobody outlives their leaving."""

from tests.hostile.table import attack, some

ADMINS = {"chief"}
OWNERS = {"chief", "owner"}
SELVES = {"read-only": "owner", "limited": "owner", "revoked": "owner", "expired": "owner"}
"""Whose tokens the last of the people have."""


def token(me, **more):
    """Ask for a token; give its secret, or nothing."""
    answer = me.ask("POST", "/tokens", {"scopes": ["read"], **more})
    return answer.json()["token"] if answer.is_success else None


def does(world, secret, method, path, json=None):
    """Whether something is done with a token."""
    return world.server.http(secret).request(method, path, json=json).is_success


@attack("a token is made for somebody else", but=ADMINS, best=("owner", "maintainer", "script"))
def _(world, me):
    made = [token(me, principal=name) for name in ("chief", "reader", f"new-{world.next()}") if name != me.name]
    made.append(me.name != "worker" and token(me, principal="worker", kind="wrk"))
    return some(*made, token(me, principal=f"w{world.next()}", kind="wrk"))


@attack("a script gets a token beyond what its maker owns", but=ADMINS, best=("owner", "maintainer", "limited"))
def _(world, me):
    name = f"team-x{world.next()}"
    tries: tuple[dict[str, object], ...] = (
        {"namespaces": ["other"]},
        {"namespaces": ["team", "other"]},
        {"namespaces": None},
        {"namespaces": ["team"], "scopes": ["read", "break-glass"]},
        {"namespaces": ["team"], "everywhere": True},
        {"namespaces": ["team"], "acts_for": "chief"},
    )
    if me.name != "script":
        tries += ({"namespaces": ["team"], "principal": "script"},)
    asked = {"principal": name, "kind": "ci", "acts_for": SELVES.get(me.name, me.name)}
    return some(*[token(me, **{**asked, **each}) for each in tries])


@attack("somebody makes scripts in a namespace of others", but=OWNERS, best=("maintainer", "pusher", "liner"))
def _(world, me):
    asked = {"kind": "ci", "namespaces": ["team"], "acts_for": SELVES.get(me.name, me.name)}
    return token(me, principal=f"team-y{world.next()}", **asked) is not None


@attack(
    "a token of one's own is wider than the one it is made with", but=ADMINS, best=("read-only", "limited", "pusher")
)
def _(world, me):
    name = SELVES.get(me.name, me.name)
    secrets = [
        token(me, principal=name, scopes=["read", "break-glass"]),
        token(me, principal=name, everywhere=True),
        *([token(me, principal=name, scopes=["push"])] if me.name == "read-only" else []),
        *([token(me, principal=name, namespaces=["team"])] if me.name == "limited" else []),
    ]
    return some(*[secret for secret in secrets if secret and me.name != "breaker"])


@attack("a renewed token allows more than the one before", best=("read-only", "limited"))
def _(world, me):
    own = token(me, principal=SELVES.get(me.name, me.name), scopes=["read"], expires_in_s=7200)
    if own is None:
        return False
    wider = [does(world, own, "POST", "/tokens:renew", {"scopes": [scope]}) for scope in ("push", "admin", "approve")]
    new = world.server.http(own).post("/tokens:renew", json={}).json().get("token")
    return some(*wider, bool(new) and does(world, new, "POST", "/deltas/team/chat/versions/1:flatten"))


@attack("a revoked token lives on in what was made with it", best=("owner", "reader", "worker"))
def _(world, me):
    name = SELVES.get(me.name, me.name)
    leaked = token(me, principal=name, expires_in_s=7200)
    if leaked is None:
        return False
    thief = world.server.http(leaked)
    renewed = thief.post("/tokens:renew", json={}).json().get("token")
    made = thief.post("/tokens", json={"principal": name}).json().get("token")
    number = thief.get("/whoami").json()["token_id"]
    me.ask("POST", f"/tokens/{number}:revoke")
    return some(*[bool(each) and does(world, each, "GET", "/whoami") for each in (leaked, renewed, made)])


@attack("somebody sees or ends the token of another", but=ADMINS, best=("owner", "maintainer", "reader"))
def _(world, me):
    foreign = world.me("foreign")
    number = foreign.http.get("/whoami").json()["token_id"]
    seen = [row["principal"] for row in me.http.get("/tokens", params={"limit": 200}).json().get("items", [])]
    if me.name == "foreign":
        return "owner" in seen
    return some("foreign" in seen, "chief" in seen, me.does("POST", f"/tokens/{number}:revoke"))


@attack("somebody who is no admin disables or hands over", but=ADMINS, best=("owner", "maintainer", "pusher"))
def _(world, me):
    return some(
        me.does("POST", "/principals/reader:disable"),
        me.does("POST", "/principals/reader:enable"),
        me.does("POST", "/principals/script:give", {"to": "reader"}),
        me.gets("/principals"),
        me.gets("/principals/chief"),
    )


@attack("somebody grants a namespace to themselves", but=ADMINS, best=("owner", "pusher"))
def _(_, me):
    return some(*[me.does("POST", f"/namespace-requests/{number}:grant", {}) for number in (1, 2)])
