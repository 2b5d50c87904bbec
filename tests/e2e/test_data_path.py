"""The shortest complete path on both stacks: push, verify, promote, pull, diff, roll back, free."""

import filecmp
import threading
from pathlib import Path

import pytest

from deltareg.errors import BaseMismatch, Blocked, Conflict, GateFailed, GatePending, Refused
from tests.fixtures.registries import BOTH_DATABASES, BUCKET, BUCKET_MARKS, LOCAL, ONE_STACK
from tests.proving import prove_all, prover_of

SAMPLES = Path(__file__).parents[1] / "samples"
BASES, DELTAS = SAMPLES / "bases", SAMPLES / "deltas"
KINDS = [
    (LOCAL, "tinyllama", "lora", "lora"),
    (LOCAL, "tinyllama", "full", "full"),
    (LOCAL, "tinygpt2", "bitfit", "bitfit"),
    pytest.param(BUCKET, "tinyllama", "full", "full", marks=BUCKET_MARKS),
]


def same_files(left, right):
    """Tell whether two folders hold the same files, byte for byte."""
    names = [sorted(p.relative_to(f).as_posix() for p in f.rglob("*") if p.is_file()) for f in (left, right)]
    return names[0] == names[1] and not filecmp.cmpfiles(left, right, names[0], shallow=False)[1]


def push(client, delta, line, **options):
    return client.push(DELTAS / delta, line, base=delta.partition("/")[0], **options)


@pytest.fixture
def server(registry_server):
    """Run a registry that holds the bases."""
    registry_server.step("two bases", lambda: push_bases(registry_server.client()))
    return registry_server


def push_bases(client):
    for name in ("tinyllama", "tinygpt2"):
        client.bases.push(BASES / name, name)


def test_a_base_is_one_however_it_is_cut(registry_server):
    client = registry_server.client()

    whole = client.bases.push(BASES / "tinyllama", "whole")
    prove_all(prover_of(registry_server))  # before that nobody builds on it
    shards = client.bases.push(BASES / "tinyllama_sharded", "shards")
    again = client.bases.push(BASES / "tinyllama", "whole")

    assert whole.created
    assert whole.is_stored
    assert whole.uploaded_bytes > 0
    assert shards.root == whole.root
    assert shards.uploaded_bytes < whole.uploaded_bytes / 5
    assert (again.created, again.root) == (False, whole.root)
    assert client.bases.fingerprint(BASES / "tinyllama_sharded").root.hex == whole.root[7:]
    assert [base.name for base in client.bases.list().items] == ["shards", "whole"]


@ONE_STACK
def test_a_base_name_is_never_given_another_content(server):
    client = server.client()

    with pytest.raises(Refused, match="base_mismatch"):
        client.bases.push(BASES / "tinyllama_other", "tinyllama")


@pytest.mark.parametrize(("both_stacks", "base", "delta", "kind"), KINDS, indirect=["both_stacks"])
def test_a_delta_comes_back_as_it_went_in(server, tmp_path, base, delta, kind):
    client, reader = server.client(), server.client(("read",), principal="reader")

    report = push(client, f"{base}/{delta}", f"team/{kind}", message="first")
    pulled = reader.pull(f"team/{kind}:v1", tmp_path / "pulled")
    first = reader.materialize(f"team/{kind}:v1", tmp_path / "merged")
    second = server.client(("read",)).materialize(
        f"team/{kind}:v1", tmp_path / "again", base=BASES / base, expect=first.root
    )

    assert (report.created, report.version.kind, report.version.ref) == (True, kind, f"team/{kind}:v1")
    assert report.version.base.name == base
    assert report.uploaded_bytes == report.version.uploaded_bytes > 0
    assert same_files(DELTAS / base / delta, tmp_path / "pulled")
    assert pulled.digest == report.version.digest
    assert first.root == second.root
    assert same_files(tmp_path / "merged", tmp_path / "again")
    assert not list(tmp_path.glob(".*"))


@ONE_STACK
def test_a_full_fine_tune_materializes_to_itself(server, tmp_path):
    client = server.client()
    push(client, "tinyllama/full", "team/full")

    merged = client.materialize("team/full:v1", tmp_path / "merged")

    assert merged.root == str(client.bases.fingerprint(DELTAS / "tinyllama" / "full").root)


@BOTH_DATABASES
def test_the_same_push_makes_one_version(server):
    client, other = server.client(), server.client(principal="bob")
    first = push(client, "tinyllama/lora", "team/lora")

    again = push(client, "tinyllama/lora", "team/lora")
    bobs = push(other, "tinyllama/lora", "team/lora")

    assert first.created
    assert (again.created, again.uploaded_bytes, again.version.ref) == (False, 0, "team/lora:v1")
    assert (bobs.created, bobs.version.digest) == (False, first.version.digest)
    assert len(client.versions.list("team/lora").items) == 1


@BOTH_DATABASES
@pytest.mark.parametrize("principals", [("ada", "ada"), ("ada", "bob")])
def test_two_pushes_at_once_make_one_version(server, principals):
    clients = [server.client(principal=name) for name in principals]
    reports, together = [], threading.Barrier(2)

    def run(client):
        together.wait()
        reports.append(push(client, "tinyllama/lora", "fresh/lora"))

    threads = [threading.Thread(target=run, args=[client]) for client in clients]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert [report.version.ref for report in reports] == ["fresh/lora:v1"] * 2
    assert len(clients[0].versions.list("fresh/lora").items) == 1
    assert clients[0].storage.fsck(read_data=True).findings == []


@BOTH_DATABASES
def test_two_lines_of_a_fresh_namespace_are_made_at_once(server):
    together, done = threading.Barrier(4), []

    def run(name, client):
        together.wait()
        done.append(push(client, "tinyllama/lora_qv", f"fresh/{name}").version.ref)

    threads = [threading.Thread(target=run, args=[n, server.client(principal=n)]) for n in "abcd"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert sorted(done) == [f"fresh/{name}:v1" for name in "abcd"]


def test_one_base_is_pushed_by_two_at_once(registry_server):
    together, done = threading.Barrier(2), []

    def run(client):
        together.wait()
        done.append(client.bases.push(BASES / "tinyllama", "tinyllama").root)

    clients = [registry_server.client(principal=name) for name in ("ada", "bob")]
    threads = [threading.Thread(target=run, args=[client]) for client in clients]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert len(done) == 2
    assert len(set(done)) == 1


@ONE_STACK
def test_another_base_is_refused(server, tmp_path):
    client = server.client()
    push(client, "tinyllama/lora", "team/lora")
    push(client, "tinyllama/full", "team/full")

    for line in ("lora", "full"):
        with pytest.raises(BaseMismatch, match="another base"):
            client.materialize(f"team/{line}:v1", tmp_path / "out", base=BASES / "tinyllama_other")
    with pytest.raises(BaseMismatch, match="knows no base"):
        client.push(DELTAS / "tinyllama/lora", "team/x", base=str(BASES / "tinyllama_other"))

    assert not (tmp_path / "out").exists()


def test_the_story_of_a_line(server, tmp_path):
    client = server.client()
    push(client, "tinyllama/lora", "team/lora", message="first", semver="1.0.0")
    promotion = promote_first(server, client)
    push(client, "tinyllama/lora_v2", "team/lora", message="more", parents=["team/lora:v1"], labels={"data": "two"})
    compare_both(client)
    promote_second(server, client)
    roll_back(client, promotion)
    look_back(client)
    everything_left_a_trace(client)
    free_the_second(client, tmp_path)


def promote_first(server, client):
    with pytest.raises(GatePending):
        client.promote("team/lora", "prod")
    assert [u.rule for u in client.gate("team/lora", "prod").unmet] == ["missing", "proven"]
    verdict = server.verified("team/lora:v1")
    assert verdict.counts
    assert client.gate("team/lora", "prod").allowed
    move = client.promote("team/lora", "prod", reason="checked")
    assert (move.revision, move.version, move.previous) == (1, 1, None)
    with pytest.raises(Conflict, match="already"):
        client.promote("team/lora:v1", "prod")
    return client.channels.show("team/lora", "prod").at


def compare_both(client):
    diff = client.diff("team/lora:v1", "team/lora:v2")
    assert diff.is_different
    assert not client.diff("team/lora:v1", "team/lora:1.0.0").is_different
    assert client.show("team/lora").ref == "team/lora:v2"
    lineage = client.versions.lineage("team/lora:v2")
    assert [(e.parent, e.relation) for e in lineage.up] == [
        ("team/lora:v1", "parent"),
        ("base:tinyllama", "base"),
        ("base:tinyllama", "base"),
    ]
    assert [e.child for e in client.versions.lineage("team/lora:v1").down] == ["team/lora:v2"]


def promote_second(server, client):
    server.verified("team/lora:v2")
    move = client.promote("team/lora:v2", "prod", if_current=1)
    assert (move.revision, move.version, move.previous) == (2, 2, 1)
    assert client.show("team/lora@prod").ref == "team/lora:v2"


def roll_back(client, promoted_at):
    plan = client.rollback("team/lora", "prod", dry_run=True)
    assert (plan.version, plan.verify_run) == (1, None)
    assert client.channels.show("team/lora", "prod").version == 2
    move = client.rollback("team/lora", "prod", reason="worse")
    assert (move.kind, move.revision, move.version, move.previous) == ("rollback", 3, 1, 2)
    assert client.runs.show(move.verify_run).state == "queued"
    assert client.channels.show("team/lora", "prod").quarantined == [2]
    with pytest.raises(Blocked, match="quarantined"):
        client.promote("team/lora:v2", "prod")
    assert client.channels.show("team/lora", "prod", at=promoted_at).version == 1
    cleared = client.channels.clear_quarantine("team/lora", "prod", 2, reason="the data was wrong")
    assert cleared.quarantined == []
    assert client.promote("team/lora:v2", "prod").revision == 4
    assert client.rollback("team/lora", "prod", version=1).revision == 5


def look_back(client):
    history = client.channels.history("team/lora", "prod").items
    assert [(r.revision, r.kind, r.version) for r in reversed(history)] == [
        (1, "promote", 1),
        (2, "promote", 2),
        (3, "rollback", 1),
        (4, "promote", 2),
        (5, "rollback", 1),
    ]
    for revision in history:
        then = client.channels.show("team/lora", "prod", at=revision.at)
        assert (then.revision, then.version) == (revision.revision, revision.version)
    log = [(entry.event, entry.ref) for entry in client.lines.log("team/lora").items]
    assert log[-2:] == [("verdict", "team/lora:v1"), ("push", "team/lora:v1")]
    assert [event for event, _ in log].count("rollback") == 2
    assert {entry.event for entry in client.lines.log("team/lora", channel="prod").items} == {
        "promote",
        "rollback",
        "clear",
    }


def everything_left_a_trace(client):
    rows = client.audit.list(subject="team/lora", limit=200).items
    assert [row.action for row in reversed(rows)] == [
        "version.push",
        "version.prove",
        "channel.promote",
        "version.push",
        "version.prove",
        "channel.promote",
        "channel.rollback",
        "channel.clear",
        "channel.promote",
        "channel.rollback",
    ]
    assert {row.actor for row in rows if row.action != "version.prove"} == {"ada"}
    assert all(row.request_id and row.token_id for row in rows)
    assert rows[0].before == {"revision": 4, "version": 2}


def free_the_second(client, tmp_path):
    assert client.versions.delete("team/lora:v2").is_deleted
    with pytest.raises(Conflict, match="serves"):
        client.versions.delete("team/lora:v1")
    assert [v.version for v in client.versions.list("team/lora").items] == [1]
    assert client.storage.collect(dry_run=False, grace_s=0).packs == 0, "a rollback may need it"
    assert client.storage.fsck(read_data=True).findings == []
    client.pull("team/lora", tmp_path / "prod")
    assert same_files(DELTAS / "tinyllama" / "lora", tmp_path / "prod")


@BOTH_DATABASES
def test_a_version_that_another_was_made_from_is_not_deleted(server):
    client = server.client()
    push(client, "tinyllama/lora", "team/lora")
    push(client, "tinyllama/lora_v2", "team/lora", parents=["team/lora:v1"])

    with pytest.raises(Conflict, match="made from"):
        client.versions.delete("team/lora:v1")

    client.versions.delete("team/lora:v2")
    assert client.versions.delete("team/lora:v1").is_deleted


@ONE_STACK
def test_a_failed_version_is_kept_out_of_every_channel(server):
    client = server.client()
    push(client, "tinyllama/lora", "team/lora")

    server.verified("team/lora", verdict="fail", fail="effect")

    with pytest.raises(GateFailed, match="effect"):
        client.promote("team/lora", "prod")
    assert client.show("team/lora").verdict == "fail"


def test_deleting_and_collecting_gives_the_space_back(server):
    client = server.client()
    before = sum(size for _, size in server.registry.store.keys("blobs/"))
    push(client, "tinyllama/full", "team/full")
    push(client, "tinyllama/lora", "team/lora")
    client.versions.delete("team/full:v1")

    plan = client.storage.collect(dry_run=True, grace_s=0)
    freed = client.storage.collect(dry_run=False, grace_s=0)

    after = sum(size for _, size in server.registry.store.keys("blobs/"))
    lora = client.show("team/lora:v1")
    assert plan.packs == freed.packs > 0
    assert freed.bytes == plan.bytes > 0
    assert before <= after <= before + lora.uploaded_bytes
    assert client.storage.fsck(read_data=True).findings == []
    assert client.storage.collect(dry_run=False, grace_s=0).bytes == 0


@BOTH_DATABASES
def test_a_deleted_version_can_be_pushed_again_under_a_new_number(server, tmp_path):
    client = server.client()
    push(client, "tinyllama/lora", "team/lora")
    client.versions.delete("team/lora:v1")
    client.storage.collect(dry_run=False, grace_s=0)

    again = push(client, "tinyllama/lora", "team/lora")

    assert (again.created, again.version.version) == (True, 2)
    client.pull("team/lora:v2", tmp_path / "pulled")
    assert same_files(DELTAS / "tinyllama" / "lora", tmp_path / "pulled")


@ONE_STACK
def test_a_registered_base_serves_as_well(registry_server, tmp_path):
    client = registry_server.client()
    info = client.bases.register(BASES / "tinyllama", "tinyllama")

    push(client, "tinyllama/full", "team/full")
    pulled = client.pull("team/full:v1", tmp_path / "pulled")
    stored = client.bases.push(BASES / "tinyllama", "tinyllama")

    assert (info.is_stored, info.location) == (False, str((BASES / "tinyllama").absolute()))
    assert same_files(DELTAS / "tinyllama" / "full", tmp_path / "pulled")
    assert pulled.fetched_bytes > 0
    assert (stored.is_stored, stored.created) == (True, True)
