"""Rights: what is others' is neither read, nor changed, nor taken; nobody gives what they lack."""

from dataclasses import replace

import sqlalchemy as sa

from deltareg.db import tables as t
from deltareg.db.session import write
from deltareg.service.trail.seal import seal_some
from deltareg.wire import RunCreate
from tests.api.forger import post, text
from tests.api.world import plain
from tests.hostile.table import attack, some
from tests.hostile.world import LINE, SECRET
from tests.signers import key_of

ADMINS, OWNERS = {"chief"}, {"chief", "owner"}
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
        "/access/holders?namespace=vault",
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
        me.does("POST", "/gc/runs", {"dry_run": True}),
        me.gets("/gc/plans"),
        me.does("POST", "/fsck", {}),
        me.does("POST", "/fsck/checks", {}),
        me.gets("/audit"),
        me.gets("/access/review"),
        me.gets("/access/holders"),
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


@attack("the trail of another namespace is read", but=ADMINS, best=("foreign", "maintainer"))
def _(world, me):
    """By its name, by a subject, by the number of a row, and as an excerpt."""
    if me.name in READERS:  # the vault's owner
        return False
    with world.engine.connect() as conn:
        place = sa.select(t.namespaces.c.id).where(t.namespaces.c.name == "vault").scalar_subquery()
        query = sa.select(t.audit_places.c.audit_id).where(t.audit_places.c.namespace_id == place)
        numbers = conn.execute(query.order_by(t.audit_places.c.audit_id).limit(3)).scalars().all()
    assert numbers
    own = {"foreign": "other", "maintainer": "team"}.get(me.name, "team")
    asked = [
        {"namespace": "vault"},
        {"namespace": own, "subject": "namespace/vault"},
        {"namespace": own, "actor": "owner", "subject": f"delta/{SECRET}"},
        {"subject": "namespace/vault"},
    ]
    seal_some(replace(world.server.registry, signer=key_of("the server")))
    read = [me.http.get(path, params=each) for path in ("/audit", "/audit/excerpt") for each in asked]
    return some(
        *[each.is_success and "vault" in each.text for each in read],
        *[me.gets(f"/audit/rows/{number}/proof") for number in numbers],
    )


@attack("the proof of a colleague's version is cancelled", but=OWNERS | {"maintainer"}, best=("pusher", "foreign"))
def _(world, me):
    """Which would leave it unproven for good: whoever pushed asks for it, and nobody else ends it."""
    if me.name == "liner":  # maintains lines x*, but none called y*
        return False
    pushed = world.client_of("owner").push(world.fresh(), f"team/y{world.next()}", base="tinyllama")
    runs = world.me("owner").http.get("/runs", params={"ref": pushed.version.ref}).json()["items"]
    proofs = [run["id"] for run in runs if run["what"] == "prove"]
    assert proofs
    ended = [me.does("POST", f"/runs/{each}:cancel") for each in proofs]
    world.prove()
    return some(*ended, world.owner.show(pushed.version.ref).proof != "proven")


@attack("a run gets ahead by being asked for again", but={"chief"}, best=("pusher", "owner"))
def _(world, me):
    """Asked for again while it waits, it keeps its turn, and is there once."""
    world.stop_others()
    foreign = world.me("foreign")
    mine = me.ask("POST", "/runs", {"ref": f"{LINE}:v2", "again": True})
    if not mine.is_success:
        return False
    others = foreign.ask("POST", "/runs", {"ref": "other/thing:v1", "again": True}).json()["id"]
    before = _turns(world)
    tries = [
        me.ask("POST", "/runs", {"ref": f"{LINE}:v2", "again": True, **more}) for more in ({}, {"priority": "normal"})
    ]
    after = _turns(world)
    world.stop_others()
    assert others in before
    assert all(each.is_success for each in tries)
    return before.index(others) < after.index(others) or len(after) > len(before)


def _turns(world):
    return [run.id for run in world.chief.runs.queue(limit=200).items if run.what == "verify"]
