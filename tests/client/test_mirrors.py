"""Two registries in step by digest: both written while apart, cut anywhere, over HTTP and by a folder."""

import pytest

from deltareg.errors import IntegrityFailure, InvalidInput
from deltareg.service.upkeep import fsck
from tests.fixtures.registries import SAMPLES
from tests.proving import prove_all, prover_of

DELTAS = SAMPLES / "deltas" / "tinyllama"


def push(client, delta, line="team/lora", **options):
    return client.push(DELTAS / delta, line, base="tinyllama", **options).version


def held(client, line="team/lora"):
    """Give what a registry has of a line: by digest, what was signed about it by others or its own workers."""
    found = {}
    for version in client.versions.list(line):
        signed = {one.digest for one in client.signatures.list(version.ref)}
        found[version.digest] = len(signed | {one.digest for one in client.evidence.list(version.ref) if one.signed_by})
    return found


@pytest.mark.soak
def test_two_registries_that_were_both_written_are_equal_after(two, tmp_path):
    here, there = (server.client() for server in two)
    here.bases.push(SAMPLES / "bases" / "tinyllama", "tinyllama")
    push(here, "lora", semver="1.0.0", labels={"run": "7"}, message="the first")
    prove_all(prover_of(two[0]))
    two[0].verified("team/lora:v1")
    first = there.mirrors.bring(here.mirrors.source())
    prove_all(prover_of(two[1]))
    # The partition: both go on by themselves, and both give the number 2 and a semver.
    mine, yours = push(here, "lora_v2", semver="2.0.0"), push(there, "lora_bf16", semver="2.0.0")

    to_there = there.mirrors.bring(here.mirrors.source(["team"]))
    to_here = here.mirrors.bring(there.mirrors.source(["team/lora"]))
    again = [there.mirrors.bring(here.mirrors.source()), here.mirrors.bring(there.mirrors.source())]

    assert first.brought == ["team/lora:v1"]
    assert first.evidence == 1
    assert (to_there.brought, to_here.brought) == (["team/lora:v3"], ["team/lora:v3"])
    assert len(to_there.conflicts) == 2
    assert any(mine.digest[:19] in text and "it is team/lora:v3 here" in text for text in to_there.conflicts)
    assert [report.brought for report in again] == [[], []]
    assert [(report.sent_bytes, report.left, report.evidence) for report in again] == [(0, [], 0)] * 2
    assert held(here).keys() == held(there).keys() == {*held(here)} | {mine.digest, yours.digest}
    assert there.show("team/lora:v1").labels["run"] == "7"
    for ref in (f"team/lora@{digest}" for digest in held(here)):
        assert contents(here.pull(ref).path) == contents(there.pull(ref).path)
    assert [fsck.check(s.registry.engine, s.registry.store, read_data=True).findings for s in two] == [(), ()]


def contents(folder):
    return {path.relative_to(folder): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.soak
def test_verdicts_arrive_as_attestations_that_a_policy_may_name(two):
    here, there = (server.client() for server in two)
    here.bases.push(SAMPLES / "bases" / "tinyllama", "tinyllama")
    push(here, "lora")
    verdict = two[0].verified("team/lora:v1")

    there.mirrors.bring(here.mirrors.source())

    (said,) = there.evidence.list("team/lora:v1")
    assert said.outcome == "pass"
    assert there.show("team/lora:v1").verdict is None
    assert there.evidence.show("team/lora:v1").body == here.verdicts.envelope(verdict.id).envelope


@pytest.mark.soak
def test_what_was_deleted_stays_so_and_what_is_revoked_is_so_on_both(two):
    here, there = (server.client() for server in two)
    here.bases.push(SAMPLES / "bases" / "tinyllama", "tinyllama")
    for delta in ("lora", "lora_v2"):
        push(here, delta)
    there.mirrors.bring(here.mirrors.source())
    there.versions.delete("team/lora:v1")
    here.versions.revoke("team/lora:v2", reason="poisoned data")

    report = there.mirrors.bring(here.mirrors.source())

    assert report.brought == []
    assert [text for text in report.left if text.startswith("team/lora:v1: it was deleted")]
    assert there.show("team/lora:v1").is_deleted
    assert "poisoned data" in there.show("team/lora:v2").revocation.reason


def test_a_bundle_brings_the_same_without_a_network(two, tmp_path):
    here, there = (server.client() for server in two)
    here.bases.push(SAMPLES / "bases" / "tinyllama", "tinyllama")
    push(here, "lora")
    two[0].verified("team/lora:v1")
    assert here.mirrors.save(tmp_path / "bundle", ["team"]).versions == 1
    (pack, *_) = sorted((tmp_path / "bundle" / "packs").iterdir())
    raw = pack.read_bytes()

    with pytest.raises(InvalidInput):
        there.mirrors.load(tmp_path)
    pack.write_bytes(raw[:-1] + b"\0" if raw[-1] else raw[:-1] + b"\1")
    with pytest.raises(IntegrityFailure, match="damaged in the bundle"):
        there.mirrors.load(tmp_path / "bundle")
    pack.write_bytes(raw)
    report = there.mirrors.load(tmp_path / "bundle")

    assert report.brought == ["team/lora:v1"]
    assert report.evidence == 1
    assert held(here).keys() == held(there).keys()
