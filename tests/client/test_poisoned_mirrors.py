"""A mirror of a registry that somebody has taken over: nothing wrong comes, and what is here stays."""

import base64
import json

import pytest

from deltareg.errors import DeltaregError
from deltareg.service.upkeep import fsck
from tests.fixtures.registries import SAMPLES
from tests.fixtures.tampering import tampering
from tests.proving import prove_all, prover_of

DELTAS = SAMPLES / "deltas" / "tinyllama"


@pytest.fixture
def mirrored(two):
    """Give two clients: `team/lora:v1` is on both sides, `v2` with its verdict is at the source alone."""
    here, there = (server.client() for server in two)
    here.bases.push(SAMPLES / "bases" / "tinyllama", "tinyllama")
    here.push(DELTAS / "lora", "team/lora", base="tinyllama", golden=False)
    there.mirrors.bring(here.mirrors.source())
    here.push(DELTAS / "lora_v2", "team/lora", base="tinyllama", golden=False)
    two[0].verified("team/lora:v2")
    return here, there


def flipped(body):
    return body[:-1] + bytes([body[-1] ^ 1])


def json_changed(change):
    def act(body):
        document = json.loads(body)
        change(document)
        return json.dumps(document, sort_keys=True, separators=(",", ":")).encode()

    return act


def of_another(document):
    """Let the versions of a list have each other's digests."""
    items = document.get("items", [])
    digests = [item["digest"] for item in items][::-1]
    for item, digest in zip(items, digests, strict=True):
        item["digest"] = digest


def invented(document):
    for item in document.get("items", []):
        if item["version"] == 2:
            item["digest"] = f"sha256:{7:064x}"


def forged(document):
    """Let a signed verdict say something else."""
    for text in [document["envelope"]]:
        envelope = json.loads(text)
        statement = json.loads(base64.b64decode(envelope["payload"]))
        statement["predicate"] = json.loads(json.dumps(statement["predicate"]).replace("pass", "fail"))
        envelope["payload"] = base64.b64encode(json.dumps(statement).encode()).decode()
        document["envelope"] = json.dumps(envelope)


BYTES = {
    "a byte of a pack": ("/blobs/", flipped),
    "a cut pack": ("/blobs/", lambda body: body[: len(body) // 2]),
    "a longer pack": ("/blobs/", lambda body: body + b"\0" * 4096),
    "a pack that breaks off": ("/blobs/", lambda _: None),
    "another manifest": ("/versions/2/manifest", json_changed(lambda d: d.update(parents=[f"sha256:{1:064x}"]))),
    "a manifest that breaks off": ("/versions/2/manifest", lambda _: None),
    "no manifest": ("/versions/2/manifest", lambda _: b"{}"),
    "a storage map that lacks a piece": ("/versions/2/storage", json_changed(lambda d: d["pieces"].popitem())),
    "a digest of nothing": ("/team/lora/versions?", json_changed(invented)),
    "a list that breaks off": ("/team/lora/versions?", lambda _: None),
}


def state(client):
    return {version.digest: (version.ref, version.is_revoked) for version in client.versions.list("team/lora")}


def bring_tampered(here, there, two, change):
    """Bring through a proxy; gives the report, or the error that ended it."""
    with tampering(here.config.server, change) as url:
        source = two[0].client(("read",), principal="mirror", server=url, retries=0, patience_s=0)
        try:
            return there.mirrors.bring(source.mirrors.source(["team"]))
        except DeltaregError as error:
            return error


@pytest.mark.parametrize("what", BYTES)
def test_what_is_not_what_its_digest_says_does_not_come(two, mirrored, what):
    here, there = mirrored
    part, act = BYTES[what]
    before, hits = state(there), []

    def change(path, body):
        if part in path:
            hits.append(path)
            return act(body)
        return body

    outcome = bring_tampered(here, there, two, change)

    assert hits
    assert isinstance(outcome, DeltaregError) or outcome.left
    assert state(there) == before
    assert there.mirrors.bring(here.mirrors.source()).brought == ["team/lora:v2"]
    assert state(there).keys() == state(here).keys()
    prove_all(prover_of(two[1]))
    assert fsck.check(two[1].registry.engine, two[1].registry.store, read_data=True).findings == ()


def test_versions_that_changed_places_are_known_by_what_they_are(two, mirrored):
    here, there = mirrored
    there.mirrors.bring(here.mirrors.source())
    before = state(there)

    outcome = bring_tampered(
        here, there, two, lambda path, body: json_changed(of_another)(body) if "/team/lora/versions?" in path else body
    )

    assert isinstance(outcome, DeltaregError) or not outcome.brought
    assert state(there) == before


def test_an_older_list_takes_nothing_away(two, mirrored):
    here, there = mirrored
    there.mirrors.bring(here.mirrors.source())
    before = state(there)
    older = json_changed(lambda d: d.update(items=[each for each in d["items"] if each["version"] == 1]))

    outcome = bring_tampered(
        here, there, two, lambda path, body: older(body) if "/team/lora/versions?" in path else body
    )

    assert (outcome.brought, outcome.left) == ([], [])
    assert state(there) == before


def test_a_forged_verdict_is_refused(two, mirrored):
    here, there = mirrored

    outcome = bring_tampered(
        here, there, two, lambda path, body: json_changed(forged)(body) if path.endswith("/envelope") else body
    )

    assert outcome.brought == ["team/lora:v2"]
    assert outcome.evidence == 0
    assert any("a thing signed about it" in text for text in outcome.left)
    assert list(there.evidence.list("team/lora:v2")) == []


def test_a_base_is_the_one_that_its_digest_says(two):
    here, there = (server.client() for server in two)
    here.bases.push(SAMPLES / "bases" / "tinyllama", "tinyllama")
    here.push(DELTAS / "lora", "team/lora", base="tinyllama", golden=False)
    other = json_changed(lambda d: d.update(source={"library": "other", "version": "1"}))

    outcome = bring_tampered(
        here, there, two, lambda path, body: other(body) if "/bases/tinyllama/manifest" in path else body
    )

    assert "another manifest than that of base:tinyllama" in str(outcome)
    assert list(there.bases.list()) == []
    assert list(there.lines.list()) == []
