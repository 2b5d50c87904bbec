"""Bytes: lies under true digests, what others sent, what is no delta at all."""

import filecmp
from contextlib import suppress

import sqlalchemy as sa

from deltareg.db import tables as t
from deltareg.errors import DeltaregError
from deltareg.wire import LeaseRequest, ProofReport
from tests.api import test_forgery as forgeries
from tests.api.forger import copy, post, text
from tests.hostile.table import attack
from tests.hostile.world import BASE
from tests.proving import push_base_lie, push_lie, zeros_of

PUSHERS = ("pusher",)


def lie(world, me):
    """Push zeros under the digests of a delta that somebody else is about to push."""
    honest = world.fresh()
    zeros = zeros_of(honest, honest.with_name(f"{honest.name}-zeros"))
    line = me.line(world)
    with suppress(DeltaregError):
        push_lie(me.client, honest, zeros, line, base="tinyllama")
    return honest, line


@attack("who pushes the same after zeros is left with the zeros", best=PUSHERS)
def _(world, me):
    honest, _ = lie(world, me)
    into = world.server.folder / f"out-{world.next()}"
    try:
        pushed = world.owner.push(honest, f"team/y{world.next()}", base="tinyllama")
        world.prove()
        world.reader.pull(pushed.version.ref, into)
    except DeltaregError:
        return True
    names = [path.name for path in into.iterdir()]
    return filecmp.cmpfiles(honest, into, names, shallow=False)[0] != names


@attack("what one claims is offered to another", best=PUSHERS)
def _(world, me):
    honest, _ = lie(world, me)
    try:
        pushed = world.owner.push(honest, f"team/y{world.next()}", base="tinyllama")
    except DeltaregError:  # it was offered what it may not rely on
        return True
    return pushed.version.uploaded_bytes == 0


@attack("a lie is proven by who told it", best=("pusher", "worker"))
def _(world, me):
    world.prove()
    _, line = lie(world, me)
    try:
        grant = me.client.lease(LeaseRequest(worker=me.name, what=["prove"]))
    except DeltaregError:
        return False
    if grant is None:
        return False
    report = ProofReport(fence=grant.fence, storage_revision=grant.storage_revision, pieces=1, wrong=[], sandbox="")
    with suppress(DeltaregError):
        me.client.complete_proof(grant.run, report)
    try:
        return world.owner.show(f"{line}:v1").proof == "proven"
    except DeltaregError:
        return False


@attack("a lie is on prod", best=PUSHERS)
def _(world, me):
    _, line = lie(world, me)
    return me.move(world, line=line, channel="prod", version=1)


@attack("zeros in the place of a base", best=PUSHERS)
def _(world, me):
    zeros = zeros_of(BASE, world.server.folder / f"zeros-{world.next()}")
    with suppress(DeltaregError):
        push_base_lie(me.client, BASE, zeros, "tinyllama")
    return world.owner.bases.show("tinyllama").proof != "proven"


@attack("a base of another config under a name that is taken", best=PUSHERS)
def _(world, me):
    before = world.owner.bases.show("tinyllama").identity
    with suppress(DeltaregError):
        me.client.bases.push(world.twin(rms_norm_eps=0.5 + world.next()), "tinyllama")
    return world.owner.bases.show("tinyllama").identity != before


@attack("a version is bound to the base of another with the same tensors", best=PUSHERS)
def _(world, me):
    name = f"team/aaa{world.next()}"
    with suppress(DeltaregError):
        me.client.bases.push(world.twin(rms_norm_eps=0.25 + world.next()), name)
    pushed = world.owner.push(world.fresh(), f"team/y{world.next()}", base=str(BASE))
    found = pushed.version.base.name
    with suppress(DeltaregError):
        world.owner.bases.delete(name)
    return found != "tinyllama"


@attack("a base that others stand on is renamed", but={"chief"}, best=("owner", "maintainer"))
def _(world, me):
    return me.does("POST", "/bases/tinyllama:rename", {"name": f"mine{world.next()}"})


@attack("a base that others stand on is deleted", best=("chief", "owner"))
def _(world, me):
    return me.does("DELETE", "/bases/tinyllama")


@attack("bytes of the vault come by their digest, through another version", best=("reader",))
def _(world, me):
    return any(
        me.gets(f"/blobs/{digest}", of=of)
        for digest in vault_packs(world)
        for of in ("team/chat:v1", "other/thing:v1", "base:tinyllama", "run:none")
    )


@attack("a push relies on a pack of the vault", best=("pusher", "owner", "chief"))
def _(world, me):
    push = copy(world.prepared)
    push.target, push.packs = me.line(world), []
    return push.send(me.http).status_code == 200


@attack("a push hears that the vault has its pieces", best=("pusher", "owner", "chief"))
def _(world, me):
    body = {"subject": "delta", "target": me.line(world), "manifest": text(world.prepared.manifest)}
    answer = post(me.http, "/uploads", body)
    return answer.is_success and bool(answer.json()["known"])


def vault_packs(world):
    with world.engine.connect() as conn:
        query = (
            sa.select(t.packs.c.digest)
            .join(t.version_packs, t.version_packs.c.pack_id == t.packs.c.id)
            .join(t.versions, t.versions.c.id == t.version_packs.c.version_id)
            .join(t.deltas, t.deltas.c.id == t.versions.c.delta_id)
            .where(t.deltas.c.name == "secret")
        )
        return list(conn.execute(query).scalars())


def forged(world, me, forge):
    """Send a push that somebody forged; whether it is taken."""
    push = copy(world.prepared)
    push.target = me.line(world)
    forge(push)
    return push.send(me.http).status_code == 200


def manifest(change):
    return lambda push: change(push.manifest)


def code_beside(m):
    raw = b"import os"
    m["files"].append({**m["files"][0], "path": "modeling_evil.py", "size_bytes": len(raw)})


def named(path):
    def rename(m):
        m["files"][0]["path"] = path

    return rename


FORGED = {
    "a header that is another": forgeries.other_header,
    "a header that unpacks to a quarter of a gigabyte": forgeries.bomb,
    "a header of a gigabyte": forgeries.large_header,
    "a map that leaves a piece out": forgeries.no_piece,
    "a tensor that is taken from elsewhere": forgeries.tensor_from_elsewhere,
    "a chunk outside its pack": forgeries.outside,
    "a codec that is none": forgeries.unknown_codec,
    "another rank than the tensors have": manifest(forgeries.rank),
    "a config that imports": manifest(forgeries.more_config),
    "a file of code": manifest(code_beside),
    "a file above the folder": manifest(named("../../etc/cron.d/x")),
    "a file by an absolute path": manifest(named("/etc/passwd")),
    "a file by a backslash": manifest(named("..\\..\\x")),
    "a pickle": manifest(named("adapter_model.bin")),
}
for _name, _forge in FORGED.items():
    attack(f"a push is taken that brings {_name}", best=PUSHERS)(
        lambda world, me, forge=_forge: forged(world, me, forge)
    )


@attack("an upload of another's is completed, filled or given up", best=("chief", "pusher"))
def _(world, me):
    push = copy(world.prepared)
    body = {"subject": "delta", "target": f"team/y{world.next()}", "manifest": text(push.manifest)}
    upload = post(world.me("maintainer").http, "/uploads", body).json()["id"]
    if me.name == "maintainer":
        return False
    path = f"/uploads/{upload}"
    tries = [
        me.gets(path),
        me.http.put(f"{path}/packs/0", content=b"x", headers={"X-Content-Digest": "x"}).is_success,
        me.does("POST", f"{path}:complete", {"storage_map": text(push.storage)}),
        me.does("DELETE", path),
    ]
    world.me("maintainer").ask("DELETE", path)
    return any(tries)


@attack("a worker pushes", best=("worker",), but=set())
def _(world, me):
    if me.name != "worker":
        return False
    return forged(world, me, lambda _: None)
