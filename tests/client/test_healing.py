"""What the store has damaged is known as such, blocks nobody, and the next push of it heals it."""

import shutil

import pytest
import sqlalchemy as sa

from deltareg.db import tables as t
from deltareg.db.session import read, write
from deltareg.errors import Conflict, Corrupt, Forbidden, InvalidInput, NotFound
from deltareg.service import digest_cache
from deltareg.wire import LeaseRequest, ProofReport, RunCreate, RunFailure, WrongPart
from tests.client.checkpoints import LINE, write_run
from tests.client.reencoding import WORKER, work
from tests.e2e.test_data_path import same_files
from tests.fixtures.registries import BOTH_DATABASES, ONE_STACK, SAMPLES
from tests.proving import look, prove_all, prover_of
from tests.service.rows import unguarded

NEARLY_WHOLE = "deltareg.client.packs.pack_reader.is_nearly_whole"


@pytest.fixture
def server(registry_server):
    return registry_server


@pytest.fixture
def run(server, tmp_path):
    """Push a base and two of three checkpoints, all proven; give the folders of the three."""
    base, *checkpoints = write_run(tmp_path / "run", 3, late=True)
    server.pushed(base, *checkpoints[:2], line=LINE)
    server.step("proven", lambda: prove(server))
    return checkpoints


def prove(server):
    prove_all(prover_of(server))


def packs_of(server, number):
    query = (
        sa.select(t.packs.c.physical_key)
        .join(t.version_packs, t.version_packs.c.pack_id == t.packs.c.id)
        .join(t.versions, t.versions.c.id == t.version_packs.c.version_id)
        .where(t.versions.c.number == number)
        .order_by(t.packs.c.id)
    )
    with read(server.registry.engine) as conn:
        return conn.execute(query).scalars().all()


def rewrite(store, key, change):
    """Put other bytes in the place of an object, as a disk does that fails."""
    data = bytearray(b"".join(store.read(key)))
    store.delete(key)
    data = change(data)
    if data is not None:
        store.write(key, [bytes(data)])


def flip(data):
    data[len(data) // 2] ^= 1
    return data


def flip_all(data):
    return bytearray(byte ^ 0x55 for byte in data)


def cut(data):
    return data[: len(data) // 2]


def lose(data):
    return None


DAMAGES = [flip, *(pytest.param(one, marks=pytest.mark.soak) for one in (flip_all, cut, lose))]


def numbers(client):
    return [(row.version, row.proof) for row in client.lines.versions(LINE).items]


@BOTH_DATABASES
@pytest.mark.parametrize("damage", DAMAGES)
def test_pushing_again_what_is_damaged_sends_and_replaces_it(server, run, tmp_path, damage):
    client = server.client()
    before = client.show(f"{LINE}:v1")
    rewrite(server.registry.store, packs_of(server, 1)[0], damage)

    again = client.push(run[0], LINE, base="base")
    if client.show(f"{LINE}:v2").proof == "corrupt":  # v1 is stored otherwise now
        client.push(run[1], LINE, base="base")
    prove(server)
    admin = server.client(("read", "admin"), principal="root")

    assert again.uploaded_bytes > 0, "it was not there already"
    assert (again.version.ref, again.version.digest) == (before.ref, before.digest)
    for number, folder in enumerate(run[:2], 1):
        server.client().pull(f"{LINE}:v{number}", tmp_path / f"out{number}")
        assert same_files(tmp_path / f"out{number}", folder)
        assert client.show(f"{LINE}:v{number}").proof == "proven"
    admin.storage.collect(dry_run=False, grace_s=0)
    assert admin.storage.fsck(read_data=True).findings == []


@ONE_STACK
@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_pack_does_not_stop_the_next_push_of_the_line(server, run, tmp_path, damage):
    client = server.client()
    for key in packs_of(server, 2):
        rewrite(server.registry.store, key, damage)

    pushed = client.push(run[2], LINE, base="base").version
    for _ in range(3):
        prove(server)
        if client.show(pushed.ref).proof == "corrupt":
            client.push(run[2], LINE, base="base")
    server.client().pull(pushed.ref, tmp_path / "out")

    assert client.show(pushed.ref).proof == "proven"
    assert same_files(tmp_path / "out", run[2])


@BOTH_DATABASES
def test_a_proof_that_finds_damage_accuses_nobody(server, run, tmp_path):
    client = server.client()
    rewrite(server.registry.store, packs_of(server, 1)[0], flip_all)

    asked = client.runs.prove(f"{LINE}:v1", again=True)
    prove(server)

    assert client.runs.show(asked.id).proof == "corrupt"
    with pytest.raises(Corrupt, match="the store has lost or changed"):
        client.pull(f"{LINE}:v1", tmp_path / "out")
    with pytest.raises(Corrupt) as refused:
        client.pull(f"{LINE}:v2", tmp_path / "out2")
    assert f"deltareg push PATH {LINE} --base base" in refused.value.fix
    for folder in run[:2]:
        client.push(folder, LINE, base="base")
    prove(server)
    assert {client.show(f"{LINE}:v{n}").proof for n in (1, 2)} == {"proven"}
    server.client().pull(f"{LINE}:v2", tmp_path / "out2")
    assert same_files(tmp_path / "out2", run[1])


@ONE_STACK
def test_damage_to_what_a_verification_compares_with_is_found_out(server, run):
    """Its worker cannot read what the channel serves, which is said of that version."""
    client, admin = server.client(), server.client(("read", "promote", "admin"), principal="root")
    server.verified(f"{LINE}:v1")
    admin.promote(f"{LINE}:v1", "prod", reason="first")
    client.versions.flatten(f"{LINE}:v2")
    work(server.client(WORKER, principal="worker", kind="wrk"), prover_of(server))
    for key in packs_of(server, 1):
        rewrite(server.registry.store, key, flip)

    asked = client.runs.create(RunCreate(ref=f"{LINE}:v2", suite="deep"))
    worker = server.client(WORKER, principal="worker", kind="wrk")
    grant = worker.lease(LeaseRequest(worker="w1", what=["verify"], run=asked.id))
    failure = RunFailure(fence=grant.fence, error="damaged", is_unreadable=True)
    worker.fail_run(grant.run, failure)

    assert grant.promoted == f"{LINE}:v1"
    assert client.show(f"{LINE}:v1").proof == "corrupt"
    assert client.push(run[0], LINE, base="base").uploaded_bytes > 0


@ONE_STACK
def test_a_damaged_base_is_healed_by_pushing_it_again(server, run, tmp_path):
    client = server.client()
    with read(server.registry.engine) as conn:
        held = sa.select(t.packs.c.physical_key).join(t.base_packs, t.base_packs.c.pack_id == t.packs.c.id)
        keys = conn.execute(held).scalars().all()
    for key in keys:
        rewrite(server.registry.store, key, flip)

    again = client.bases.push(tmp_path / "run" / "base", "base")
    prove(server)

    assert again.uploaded_bytes > 0
    assert client.bases.show("base").proof == "proven"
    with server.client().bases.fetch("base") as base:
        assert len(base.tensors) > 0


@ONE_STACK
def test_a_former_form_is_served_where_the_new_one_is_damaged(server, run, tmp_path):
    client = server.client()
    client.versions.flatten(f"{LINE}:v2")
    work(server.client(WORKER, principal="worker", kind="wrk"), prover_of(server))
    kept = set(packs_of(server, 1))
    for key in set(packs_of(server, 2)) - kept:
        rewrite(server.registry.store, key, flip)

    again = client.push(run[1], LINE, base="base")
    server.client().pull(f"{LINE}:v2", tmp_path / "out")

    assert again.uploaded_bytes == 0, "it is there, in its former form"
    assert same_files(tmp_path / "out", run[1])
    assert client.storage.history(f"{LINE}:v2").forms[0].why == "revert"


@BOTH_DATABASES
def test_a_check_of_pieces_is_runs_that_go_on_where_they_stood(server, run, tmp_path):
    admin = server.client(("read", "admin", "push"), principal="root")
    for key in packs_of(server, 2):
        rewrite(server.registry.store, key, flip_all)

    begun = admin.storage.check_pieces()
    again = admin.storage.check_pieces(check=begun.id)
    prove(server)
    done = admin.storage.show_check(begun.id)

    assert (begun.total, begun.waiting, again.total) == (3, 3, 3)
    assert (done.waiting, done.proven, done.corrupt) == (0, 1, 2)
    assert {one.subject for one in done.to_push} == {f"{LINE}:v1", f"{LINE}:v2"}
    for folder in run[:2]:
        server.client().push(folder, LINE, base="base")
    prove(server)
    after = admin.storage.check_pieces()
    prove(server)
    assert admin.storage.show_check(after.id).proven == 3


@ONE_STACK
def test_a_share_is_drawn_and_something_always_is(server, run):
    admin = server.client(("read", "admin"), principal="root")

    found = [admin.storage.check_pieces(share=share) for share in (1e-9, 0.5, 1.0)]

    assert [one.is_queued for one in found] == [True] * 3
    assert found[0].total == 1
    assert found[2].total == 3
    with pytest.raises(NotFound):
        admin.storage.show_check("00000000-0000-4000-8000-000000000000")
    with pytest.raises(Forbidden):
        server.client(("read", "push"), principal="bob").storage.check_pieces()


@ONE_STACK
@pytest.mark.parametrize(
    "where",
    [
        "versions.manifest",
        pytest.param("versions.storage_map", marks=pytest.mark.soak),
        pytest.param("bases.manifest", marks=pytest.mark.soak),
    ],
)
def test_a_damaged_document_is_healed_by_the_push_that_is_named(server, run, tmp_path, where):
    admin, client = server.client(("read", "admin"), principal="root"), server.client()
    table, column = where.split(".")
    with write(server.registry.engine) as conn, unguarded(conn, t.metadata.tables[table]):
        conn.execute(sa.text(f"UPDATE {table} SET {column} = :raw WHERE id = 1"), {"raw": GARBAGE})
    forget_what_is_kept()

    named = admin.storage.fsck(repair=True).to_push
    if table == "bases":
        client.bases.push(tmp_path / "run" / "base", "base")
    else:
        client.push(run[0], LINE, base="base")
    prove(server)
    server.client().pull(f"{LINE}:v1", tmp_path / "out")

    subject = "base/base" if table == "bases" else f"{LINE}:v1"
    assert [one.subject for one in named] == [subject]
    assert admin.storage.fsck(read_data=True, repair=True).to_push == []
    assert same_files(tmp_path / "out", run[0])


@BOTH_DATABASES
def test_a_proof_that_was_under_way_does_not_hide_what_was_found_meanwhile(server, run, tmp_path):
    """The race: a worker has read all of it, then the store fails, and fsck is there first."""
    admin, client, prover = (server.client(ADMIN, principal="root"), server.client(), prover_of(server))
    asked = client.runs.prove(f"{LINE}:v1", again=True)
    grant = prover.lease(LeaseRequest(worker="prover", what=["prove"], run=asked.id))
    report = look(prover, grant)
    rewrite(server.registry.store, packs_of(server, 1)[0], lose)
    named = {one.subject for one in admin.storage.fsck(read_data=True, repair=True).to_push}

    told = prover.complete_proof(asked.id, report)

    assert f"{LINE}:v1" in named
    assert told.proof == "corrupt"
    assert client.show(f"{LINE}:v1").proof == "corrupt", "it has lost bytes, whoever read them once"
    for folder in run[:2]:
        client.push(folder, LINE, base="base")
    prove(server)
    server.client().pull(f"{LINE}:v1", tmp_path / "out")
    assert same_files(tmp_path / "out", run[0])


@BOTH_DATABASES
def test_damage_that_was_mended_before_the_report_accuses_nobody(server, run, monkeypatch):
    """The store gave other bytes for a while, and the worker wanted stretches and no whole pack."""
    monkeypatch.setattr(NEARLY_WHOLE, lambda *_: False)
    client, prover, store = server.client(), prover_of(server), server.registry.store
    key = packs_of(server, 1)[0]
    sound = b"".join(store.read(key))
    asked = client.runs.prove(f"{LINE}:v1", again=True)
    rewrite(store, key, flip_all)
    grant = prover.lease(LeaseRequest(worker="prover", what=["prove"], run=asked.id))
    report = look(prover, grant)
    assert report.wrong

    rewrite(store, key, lambda _: sound)
    with pytest.raises(Conflict, match="nobody is accused for it"):
        prover.complete_proof(asked.id, report)

    assert client.show(f"{LINE}:v1").proof == "proven"
    prover.fail_run(asked.id, RunFailure(fence=grant.fence, error="other bytes"))
    prove(server)
    assert client.runs.show(asked.id).proof == "proven"


@BOTH_DATABASES
def test_who_says_that_bytes_are_wrong_says_which_it_read(server, run):
    client, prover = server.client(), prover_of(server)
    asked = client.runs.prove(f"{LINE}:v1", again=True)
    grant = prover.lease(LeaseRequest(worker="prover", what=["prove"], run=asked.id))
    wrong = [WrongPart(name="adapter_model.safetensors", detail="it is something else")]
    report = look(prover, grant).model_copy(update={"wrong": wrong})

    with pytest.raises(InvalidInput, match="does not say which bytes"):
        prover.complete_proof(asked.id, report)
    with pytest.raises(Conflict, match="nobody is accused for it"):
        prover.complete_proof(asked.id, report.model_copy(update={"read": f"sha256:{'0' * 64}"}))

    assert client.show(f"{LINE}:v1").proof == "proven"


@ONE_STACK
def test_a_proof_from_a_cache_does_not_hide_damage(server, run):
    """A worker that has all of it from before proves it again without asking the store."""
    admin, client = server.client(ADMIN, principal="root"), server.client()
    rewrite(server.registry.store, packs_of(server, 1)[0], flip)
    admin.storage.fsck(read_data=True, repair=True)

    asked, prover = client.runs.prove(f"{LINE}:v1"), prover_of(server)
    grant = prover.lease(LeaseRequest(worker="prover", what=["prove"], run=asked.id))
    told = prover.complete_proof(
        asked.id, ProofReport(fence=grant.fence, storage_revision=grant.storage_revision, pieces=1, wrong=[])
    )

    assert told.proof == "corrupt"
    assert client.show(f"{LINE}:v1").proof == "corrupt"


@BOTH_DATABASES
def test_a_version_that_was_damaged_while_it_was_deleted_comes_back_as_such(server, run, tmp_path):
    admin, client = server.client((*ADMIN, "push"), principal="root"), server.client()
    admin.versions.delete(f"{LINE}:v2")
    for key in set(packs_of(server, 2)) - set(packs_of(server, 1)):
        rewrite(server.registry.store, key, flip)
    admin.storage.fsck(read_data=True, repair=True)

    back = admin.versions.restore(f"{LINE}:v2")

    assert back.proof == "corrupt"
    with pytest.raises(Corrupt, match="the store has lost or changed"):
        client.pull(f"{LINE}:v2", tmp_path / "out")
    again = client.push(run[1], LINE, base="base")
    prove(server)
    server.client().pull(f"{LINE}:v2", tmp_path / "out")
    assert (again.version.version, client.show(f"{LINE}:v2").proof) == (2, "proven")
    assert same_files(tmp_path / "out", run[1])


@BOTH_DATABASES
@pytest.mark.parametrize("delta", ["lora", pytest.param("full", marks=pytest.mark.soak)])
def test_a_damaged_version_that_others_stand_on_is_healed_by_the_pushes_named(server, tmp_path, delta):
    """Its packs as a version and those of what folding it gives, which no folder holds."""
    server.step((delta, "stack"), lambda: push_stack(server, delta))
    admin, store = server.client(ADMIN, principal="root"), server.registry.store
    for key, _ in list(store.keys("blobs/")):
        rewrite(store, key, flip)
    folders = {"base/tinyllama": BASE, "team/tuned:v1": DELTAS / delta}
    pushed: list[str] = []
    named = admin.storage.fsck(read_data=True, repair=True).to_push
    while named and len(pushed) < 5:
        heal(server, named[0], folders.get(named[0].subject, DELTAS / "lora_v2"))
        pushed.append(named[0].subject)
        prove(server)
        named = admin.storage.fsck(read_data=True, repair=True).to_push
    client = server.client(principal="bob")
    client.pull("team/chat:v1", tmp_path / "out")
    with client.bases.fetch("team/tuned:v1") as base:
        found = str(base.identity.root)

    assert named == []
    assert pushed == ["base/tinyllama", "team/tuned:v1", "base/team/tuned:v1"]
    assert client.show("team/tuned:v1").proof == client.show("team/chat:v1").proof == "proven"
    assert found == client.bases.show("team/tuned:v1").root
    assert client.bases.show("team/tuned:v1").proof == "proven"
    assert same_files(tmp_path / "out", DELTAS / "lora_v2")


@BOTH_DATABASES
def test_a_base_of_a_namespace_offers_its_pieces_there_and_is_healed_there(server, tmp_path):
    admin, client = server.client(ADMIN, principal="root"), server.client()
    first = client.bases.push(BASE, "org/llama")
    prove(server)
    twin = tmp_path / "twin"
    shutil.copytree(BASE, twin)
    (twin / "chat_template.jinja").write_text("another")
    second = client.bases.push(twin, "org/llama-chat")
    shared = client.bases.push(BASE, "llama")
    prove(server)
    twin_of_all = client.bases.push(twin, "llama-chat")
    with write(server.registry.engine) as conn:
        conn.execute(sa.delete(t.base_packs).where(t.base_packs.c.base_id == 1))

    found = admin.storage.fsck(repair=True)

    assert second.uploaded_bytes < first.uploaded_bytes / 4, "its tensors are there"
    assert twin_of_all.uploaded_bytes < shared.uploaded_bytes / 4
    assert {one.outcome for one in found.findings} == {"healed"}
    assert found.to_push == []
    with read(server.registry.engine) as conn:
        of_first = sa.select(t.packs.c.scope).join(t.base_packs, t.base_packs.c.pack_id == t.packs.c.id)
        scopes = conn.execute(of_first.where(t.base_packs.c.base_id == 1)).scalars().all()
    assert set(scopes) == {"ns:org"}


def push_stack(server, delta):
    client = server.client()
    client.bases.push(BASE, "tinyllama")
    client.push(DELTAS / delta, "team/tuned", base="tinyllama")
    prove(server)
    client.push(DELTAS / "lora_v2", "team/chat", base="team/tuned:v1")
    prove(server)


def heal(server, named, folder):
    """Do what a repair says, on a machine that has the folder and nothing else."""
    words = named.fix.split()
    client = server.client(cache_dir=server.folder / f"cache-{len(words)}-{folder.name}")
    if words[1] == "base":
        assert words[2:4] == ["push", "PATH"]
        client.bases.push(folder, words[4])
        return
    assert (words[1:3], words[4]) == (["push", "PATH"], "--base")
    client.push(folder, words[3], base=words[5])


ADMIN = ("read", "admin")
BASE = SAMPLES / "bases" / "tinyllama"
DELTAS = SAMPLES / "deltas" / "tinyllama"
GARBAGE = b"\\x28\\xb5\\x2f\\xfd and so on"


def forget_what_is_kept():
    """Let the server be as one that has just started."""
    for value in vars(digest_cache).values():
        if isinstance(value, digest_cache.DigestCache):
            value._found.clear()
