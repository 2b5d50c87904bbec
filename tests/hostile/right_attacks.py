"""Rights: what is others' is neither read, nor changed, nor taken; nobody gives what they lack."""

import sqlalchemy as sa

from deltareg.db import tables as t
from deltareg.db.session import write
from deltareg.wire import RunCreate
from tests.api.forger import post, text
from tests.api.world import plain
from tests.hostile.table import attack, some, waits
from tests.hostile.world import LINE, SECRET

OWNERS = {"chief", "owner"}
READERS = OWNERS | {"read-only", "worker"}
"""Who may see the vault: its owner by any token that is not limited, and workers, who judge all."""
VAULT = f"/deltas/{SECRET}"


def secrets(world):
    """Give all addresses under which something of the vault is told."""
    known = world.__dict__.setdefault("secrets", {})
    if not known:
        verdict = world.owner.verdicts.list(f"{SECRET}:v1", limit=1).items[0]
        known |= {"verdict": verdict.id, "run": verdict.run}
    return [
        "/namespaces/vault",
        f"{VAULT}/versions",
        f"{VAULT}/log",
        f"{VAULT}/channels",
        f"{VAULT}/channels/prod",
        f"{VAULT}/channels/prod/policy",
        f"{VAULT}/channels/prod/revisions",
        f"{VAULT}/channels/prod/readiness",
        *(f"{VAULT}/versions/1{end}" for end in ("", "/manifest", "/storage", "/lineage", "/pulls")),
        f"{VAULT}/versions/1/gate?channel=prod",
        f"/resolve?ref={SECRET}:v1",
        f"/verdicts/{known['verdict']}",
        f"/verdicts/{known['verdict']}/envelope",
        f"/runs/{known['run']}",
        f"/runs/{known['run']}/log",
        "/stats/storage?namespace=vault",
        "/members?namespace=vault",
        "/access/review?namespace=vault",
        f"/access/explain?principal=owner&action=read&ref={SECRET}",
    ]


@attack("the vault is read by its name", but=READERS, best=("maintainer", "foreign"))
def _(world, me):
    return some(*[me.gets(path) for path in secrets(world)])


@attack("the vault is found in a list", but=READERS, best=("maintainer", "foreign"))
def _(world, me):
    lists = (
        "/deltas",
        "/namespaces",
        "/runs",
        "/verdicts",
        "/queue",
        "/requests",
        "/audit",
        "/fleet/agents",
        "/bases",
        "/stats/storage",
        "/members",
    )
    return any("vault" in me.http.get(path, params={"limit": 200}).text for path in lists)


@attack("what is hidden is told by another answer than what is not there", but=READERS, best=("maintainer", "foreign"))
def _(_, me):
    there = me.http.get(f"/deltas/{SECRET}/versions/1")
    nowhere = me.http.get("/deltas/vault/nothing/versions/1")
    return plain(there) != plain(nowhere, line=("nothing", "secret"))


@attack("the answer to another's request is given by its key", but=OWNERS, best=("maintainer", "limited"))
def _(world, me):
    key = {"Idempotency_Key": "guessed", "If_Match": '"r0"'}
    body = {"kind": "freeze", "reason": "because", "dry_run": False}
    path = f"{VAULT}/channels/dev/revisions"
    world.me("owner").ask("POST", path, body, **key)
    return me.does("POST", path, body, **key)


@attack("what is corrupt tells of the vault in its refusal", but=READERS, best=("reader", "pusher"))
def _(world, me):
    """It stands on what only the vault's owner sees, as the command that heals it would say."""
    ref = world.__dict__.get("on_secret")
    if ref is None:
        pushed = world.owner.push(world.fresh(), f"team/y{world.next()}", base=f"{SECRET}:v1")
        ref = world.__dict__["on_secret"] = pushed.version.ref
        line, number = ref.removeprefix("team/").split(":v")
        own = sa.select(t.deltas.c.id).where(t.deltas.c.name == line).scalar_subquery()
        with write(world.engine) as conn:
            which = (t.versions.c.delta_id == own, t.versions.c.number == int(number))
            conn.execute(sa.update(t.versions).where(*which).values(corrupt_at=1))
    path = f"/deltas/{ref.partition(':')[0]}/versions/1"
    answers = [me.http.get(f"{path}{end}").text for end in ("", "/storage", "/lineage")]
    return any("vault" in one for one in answers)


WRITES = {
    "pushes to": lambda world, me: (
        post(
            me.http,
            "/uploads",
            {"subject": "delta", "target": f"vault/x{world.next()}", "manifest": text(world.prepared.manifest)},
        ).is_success
    ),
    "moves a channel of": lambda world, me: me.move(world, line=SECRET, version=1),
    "makes a channel in": lambda world, me: me.does("PUT", f"{VAULT}/channels/x{world.next()}"),
    "deletes a version of": lambda _, me: (
        me.http.request("DELETE", f"{VAULT}/versions/1", params={"dry_run": "true"}).is_success
    ),
    "flattens a version of": lambda _, me: me.does("POST", f"{VAULT}/versions/1:flatten"),
    "verifies a version of": lambda _, me: me.does("POST", "/runs", {"ref": f"{SECRET}:v1"}),
    "proves a version of": lambda _, me: me.does("POST", "/runs", {"ref": f"{SECRET}:v1", "what": "prove"}),
    "opens": lambda _, me: me.does("PATCH", "/namespaces/vault", {"visibility": "public"}),
    "joins": lambda _, me: me.does("POST", "/members", {"principal": me.name, "role": "owner", "namespace": "vault"}),
    "makes": lambda _, me: me.does("POST", "/namespaces", {"name": "vault"}),
    "keeps a base in": lambda world, me: (
        post(
            me.http,
            "/uploads",
            {
                "subject": "base",
                "target": f"vault/b{world.next()}",
                "register_only": True,
                "manifest": text(world.prepared.manifest),
            },
        ).is_success
    ),
}
for _name, _act in WRITES.items():
    _but = OWNERS | {"worker"} if _name == "proves a version of" else OWNERS
    attack(f"somebody {_name} the vault", but=_but, best=("maintainer", "foreign"))(_act)


@attack("one's role in a namespace is raised", but=OWNERS, best=("maintainer", "pusher"))
def _(world, me):
    body = {"principal": me.name, "role": "owner", "namespace": "team"}
    return me.does("POST", "/members", body)


@attack("a role everywhere is given", but={"chief"}, best=("owner", "maintainer"))
def _(world, me):
    return some(
        *[
            me.does("POST", "/members", {"principal": "stranger", "role": role})
            for role in ("reader", "admin", "break-glass", "verifier")
        ]
    )


@attack("the right to break the glass is given by who lacks it", best=("chief", "owner"))
def _(world, me):
    held = t.grants.c.role == "break-glass"
    before = world.count(t.grants, held)
    for body in (
        {"principal": "stranger", "role": "break-glass", "namespace": "team"},
        {"principal": "stranger", "role": "break-glass"},
        {"principal": me.name, "role": "break-glass"},
    ):
        me.ask("POST", "/members", body)
    return world.count(t.grants, held) != before


@attack("a role of another is ended", but=OWNERS | {"maintainer", "promoter"}, best=("pusher", "foreign"))
def _(world, me):
    with world.engine.connect() as conn:
        query = t.grants.select().where(t.grants.c.role == "promoter")
        number = conn.execute(query).first().id
    return me.does("DELETE", f"/members/{number}")


@attack("a token for another is made", but={"chief"}, best=("owner", "pusher"))
def _(world, me):
    body = {"principal": "chief" if me.name != "chief" else "owner", "scopes": ["read"]}
    return me.does("POST", "/tokens", body)


@attack("a token opens more than its maker may", best=("owner", "pusher", "limited", "read-only"))
def _(world, me):
    own = "owner" if me.name in {"limited", "read-only", "revoked", "expired"} else me.name
    body = {"principal": own, "scopes": ["read", "push", "admin", "promote"]}
    answer = me.ask("POST", "/tokens", body)
    if not answer.is_success or me.name in {"chief", "owner"}:
        return False
    http = world.server.http(answer.json()["token"])
    tries = [
        http.get(f"{VAULT}/versions/1").is_success and me.name not in READERS,
        http.post("/keys", json={"name": f"g{world.next()}", "key": "x"}).status_code == 201,
        me.name in {"limited", "read-only"} and http.post("/namespaces", json={"name": f"n{world.next()}"}).is_success,
    ]
    return any(tries)


@attack("a token of another is taken back", but={"chief"}, best=("maintainer",))
def _(world, me):
    with world.engine.connect() as conn:
        query = t.tokens.select().where(t.tokens.c.principal_id == world.ids["approver"])
        number = conn.execute(query).first().id
    return me.name != "approver" and me.does("POST", f"/tokens/{number}:revoke")


@attack(
    "a token that reads, is limited, taken back or over does something",
    best=("read-only", "limited", "revoked", "expired"),
)
def _(world, me):
    if me.name not in {"read-only", "limited", "revoked", "expired"}:
        return False
    tries = [
        me.move(world, kind="freeze"),
        me.does("PUT", f"/deltas/{LINE}/channels/x{world.next()}"),
        me.does("POST", "/runs", {"ref": f"{LINE}:v1", "again": True}),
        me.name in {"revoked", "expired"} and me.gets("/whoami"),
        me.name == "limited" and me.gets(f"{VAULT}/versions/1"),
    ]
    return any(tries)


@attack("a token is taken from elsewhere than its header", best=("anonymous",))
def _(world, me):
    if me.name != "anonymous":
        return False
    token = world.tokens["owner"]
    return some(
        me.gets("/whoami", token=token),
        me.gets("/whoami", access_token=token),
        me.does("GET", "/whoami", Cookie=f"token={token}"),
        me.does("GET", "/whoami", X_API_Key=token),
        me.does("GET", "/whoami", Authorization=token),
        me.does("GET", "/whoami", Authorization=f"Basic {token}"),
    )


@attack(
    "the run of another is cancelled",
    but={"chief", "owner", "maintainer", "pusher"},
    best=("foreign", "promoter", "worker"),
)
def _(world, me):
    if me.name in {"script", "liner"}:
        return False
    return me.does("POST", f"/runs/{world.queued()}:cancel")


@attack("a run goes before all others", but={"chief"}, best=("pusher", "owner"))
def _(world, me):
    body = RunCreate(ref=f"{LINE}:v1", again=True).model_dump(mode="json", exclude_defaults=True)
    return me.does("POST", "/runs", {**body, "priority": 1000})


@attack("a reserved name is taken", best=("chief", "owner", "pusher"))
def _(world, me):
    names = ("shared", "everywhere", "..", "-", "team/../vault")
    made = [me.does("POST", "/namespaces", {"name": name}) for name in names]
    pushed = [
        post(
            me.http, "/uploads", {"subject": "delta", "target": target, "manifest": text(world.prepared.manifest)}
        ).is_success
        for target in ("shared/x", "everywhere/x", "../x", "vault/../team/x", "team/v1@prod")
    ]
    channels = [me.does("PUT", f"/deltas/{LINE}/channels/{name}") for name in ("v7", "latest", "1.2.3")]
    return some(*made, *pushed, *channels)


@attack("the report of another's agent is replaced, or forgotten", best=("maintainer", "owner"))
def _(world, me):
    agent = {"engine": "dir", "every_s": 10, "serves": [{"channel": f"{LINE}@prod", "state": "ok"}]}
    name = f"host{world.next()}"
    assert world.me("chief").does("PUT", f"/fleet/agents/{name}", agent)
    if me.name == "chief":
        return False
    lied = me.does("PUT", f"/fleet/agents/{name}", {**agent, "every_s": 9})
    return lied or (me.name != "owner" and me.does("DELETE", f"/fleet/agents/{name}"))


@attack("what runs the registry is asked for", but={"chief"}, best=("owner", "maintainer"))
def _(world, me):
    return some(
        me.does("POST", "/gc", {"dry_run": True}),
        me.does("POST", "/fsck", {}),
        me.gets("/audit"),
        me.gets("/access/review"),
        me.gets("/tokens", principal="chief") and "drg_pat" in me.http.get("/tokens").text and me.name == "anonymous",
    )


@attack("the trail or a ledger is rewritten by a route", best=("chief",))
def _(world, me):
    before = world.count(t.audit), world.count(t.revisions)
    for path in ("/audit", "/audit/1", f"/deltas/{LINE}/channels/prod/revisions/1"):
        for method in ("PUT", "PATCH", "DELETE", "POST"):
            me.ask(method, path, {"reason": "x"})
    return (world.count(t.audit), world.count(t.revisions)) < before


@attack("another method than is asked for", best=("reader", "read-only"), but={"chief", "owner"})
def _(world, me):
    headers = {"X_HTTP_Method_Override": "DELETE", "X_Method_Override": "DELETE"}
    for method in ("GET", "POST"):
        me.ask(method, f"/deltas/{LINE}/versions/2", **headers)
    return world.owner.show(f"{LINE}:v2").is_deleted


@attack("a file of the server is read", best=("chief",))
def _(world, me):
    ways = ("..%2f..%2f..%2fetc%2fpasswd", "%2e%2e/%2e%2e/etc/passwd", "....//etc/passwd", "file:%2f%2f%2fetc%2fpasswd")
    paths = ("/blobs/", "/suite-files/", "/bases/", "/deltas/", "/suites/", "/runs/", "/uploads/")
    return any("root:" in me.http.get(path + way).text for path in paths for way in ways)


@attack("what is nested without an end is read", best=("pusher",))
def _(world, me):
    deep = "[" * 100_000 + "]" * 100_000
    sent = [
        me.http.post(path, content=deep, headers={"Content-Type": "application/json"})
        for path in ("/uploads", "/runs", "/leases", "/suites")
    ]
    return any(answer.is_success or answer.status_code >= 500 for answer in sent)


waits("a row of the trail is edited, and nobody can tell", "the tamper-evident log")
waits("a client is shown an older or another log than it saw", "the tamper-evident log")
