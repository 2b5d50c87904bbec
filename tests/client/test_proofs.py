"""Bytes are offered once somebody else has decoded them; a lie is found out and healed."""

import numpy as np
import pytest
import sqlalchemy as sa
from safetensors.numpy import load_file

from deltareg.client import WorkerClient
from deltareg.db import tables as t
from deltareg.db.session import read, write
from deltareg.errors import BadSignature, Corrupt, Forbidden, GatePending, InvalidInput
from deltareg.service.push.backlog import settle_some_claims
from deltareg.service.runs.dead_proofs import ask_again
from deltareg.wire import LeaseRequest, ProofReport, RunFailure, RunInfo, WrongPart
from tests.fixtures.registries import BOTH_DATABASES, ONE_STACK, SAMPLES
from tests.proving import look, prove_all, prover_of, push_base_lie, push_lie, zeros_of
from tests.signers import enrol_named, key_of, sign_work

BASE, LORA = SAMPLES / "bases" / "tinyllama", SAMPLES / "deltas" / "tinyllama" / "lora"


@pytest.fixture
def server(both_stacks):
    return both_stacks


@pytest.fixture
def owner(server):
    server.pushed(BASE, line="proofs")
    return server.client(("read", "push", "promote"), principal="owner")


@pytest.fixture
def prover(server):
    return prover_of(server)


@pytest.fixture
def mallory(server):
    return server.client(("read", "push", "verify"), principal="mallory")


def same(folder, other):
    found, wanted = (load_file(path / "adapter_model.safetensors") for path in (folder, other))
    return all(np.array_equal(found[name], wanted[name]) for name in wanted)


def actions(server, *wanted):
    rows = server.client(("admin", "read"), principal="root").audit.list(limit=200).items
    return [row for row in reversed(list(rows)) if row.action in wanted]


@BOTH_DATABASES
def test_a_push_is_claimed_until_somebody_else_has_decoded_it(owner, prover):
    version = owner.push(LORA, "team/lora", base="base").version
    assert version.proof == "claimed"

    runs = prove_all(prover)

    assert [(run.base or run.ref, run.proof) for run in runs] == [("base", "proven"), ("team/lora:v1", "proven")]
    assert owner.show("team/lora").proof == "proven"
    assert owner.bases.show("base").proof == "proven"


@ONE_STACK
def test_claimed_pieces_are_offered_to_nobody(server, owner, prover):
    owner.push(LORA, "team/lora", base="base")
    other = server.client(("read", "push"), principal="bob")

    again = other.push(LORA, "team/other", base="base")
    assert again.uploaded_bytes > 0
    prove_all(prover)
    third = other.push(LORA, "team/third", base="base")

    assert third.uploaded_bytes == 0


@BOTH_DATABASES
def test_an_honest_push_after_a_lie_is_taken_whichever_comes_first(server, owner, mallory, prover, tmp_path):
    """The attack: zeros under true digests, then the owner's push that sent nothing."""
    lie = zeros_of(LORA, tmp_path / "lie")
    push_lie(mallory, LORA, lie, "team/lora", base="base")

    report = owner.push(LORA, "team/lora", base="base")
    assert report.uploaded_bytes > 0
    prove_all(prover)

    assert owner.show("team/lora:v1").proof == "proven"
    assert same(owner.pull("team/lora:v1", tmp_path / "pulled").path, LORA)
    (told,) = actions(server, "version.corrupt")
    assert (told.after["sent_by"], told.after["replaced_by"]) == ("mallory", "owner")


@BOTH_DATABASES
def test_a_lie_is_refused_to_all_until_the_same_bytes_come_again(server, owner, mallory, prover, tmp_path):
    lie = zeros_of(LORA, tmp_path / "lie")
    lied = push_lie(mallory, LORA, lie, "team/lora", base="base")
    prove_all(prover)

    with pytest.raises(Corrupt, match="the bytes that mallory sent") as refused:
        owner.pull("team/lora:v1", tmp_path / "pulled")
    assert "deltareg push PATH team/lora" in refused.value.fix
    assert owner.show("team/lora:v1").proof == "corrupt"

    healed = owner.push(LORA, "team/lora", base="base").version
    prove_all(prover)

    assert (healed.ref, healed.digest) == (lied.ref, lied.digest)
    assert owner.show("team/lora:v1").proof == "proven"
    assert same(owner.pull("team/lora:v1", tmp_path / "pulled").path, LORA)
    healing = actions(server, "version.corrupt", "version.heal", "version.prove")
    assert [(row.action, row.actor) for row in healing] == [
        ("version.corrupt", "prover"),
        ("version.heal", "owner"),
        ("version.prove", "prover"),
    ]


@ONE_STACK
def test_a_lie_in_one_line_does_nothing_to_another(owner, mallory, prover, tmp_path):
    lie = zeros_of(LORA, tmp_path / "lie")
    push_lie(mallory, LORA, lie, "team/hers", base="base")
    prove_all(prover)

    owner.push(LORA, "team/lora", base="base")
    prove_all(prover)

    assert same(owner.pull("team/lora:v1", tmp_path / "pulled").path, LORA)


@BOTH_DATABASES
def test_a_base_that_lies_is_refused_and_healed(server, mallory, prover, tmp_path):
    lie = zeros_of(BASE, tmp_path / "lie")
    push_base_lie(mallory, BASE, lie, "tinyllama")
    (run,) = prove_all(prover)
    assert run.proof == "corrupt"
    owner = server.client(("read", "push"), principal="owner")
    with pytest.raises(Corrupt, match="mallory"):
        owner.bases.fetch("tinyllama")

    owner.bases.push(BASE, "tinyllama")
    prove_all(prover)

    assert owner.bases.show("tinyllama").proof == "proven"
    with server.client(("read",), principal="reader").bases.fetch("tinyllama") as base:
        assert len(base.tensors) > 0


@BOTH_DATABASES
def test_who_sent_bytes_is_given_no_run_that_proves_them(owner, mallory, prover, server):
    prove_all(prover)
    mallory.push(LORA, "team/lora", base="base")
    enrol_named(server.registry.engine, "mallory")
    token = server.token("read", "verify", principal="mallory")

    with WorkerClient(server._config(token), key=key_of("mallory")) as herself:
        assert prove_all(herself, name="m") == []
    (run,) = prove_all(prover)

    assert run.proof == "proven"


@BOTH_DATABASES
def test_of_each_sender_one_form_of_a_claimed_version_waits(server, owner, mallory, prover):
    """Nobody fills the store by pushing again and again what somebody else has claimed."""
    owner.push(LORA, "team/lora", base="base")
    for _ in range(3):
        mallory.push(LORA, "team/lora", base="base")

    waiting = [one.state for one in owner.storage.history("team/lora:v1").forms]
    prove_all(prover)

    assert waiting == ["served", "proposed", "dropped", "dropped"]
    assert owner.show("team/lora:v1").proof == "proven"


@ONE_STACK
def test_doubts_about_what_is_proven_come_behind_what_waits_to_be(owner, prover):
    owner.push(LORA, "team/lora", base="base")
    prove_all(prover)

    doubted = owner.runs.prove("team/lora:v1", again=True)
    owner.push(LORA.with_name("lora_v2"), "team/lora", base="base")
    found = [run.ref for run in prove_all(prover)]

    assert doubted.priority == "low"
    assert found == ["team/lora:v2", "team/lora:v1"]


@ONE_STACK
def test_a_word_about_bytes_that_were_replaced_says_nothing(owner, mallory, prover, server, tmp_path):
    prove_all(prover)
    lie = zeros_of(LORA, tmp_path / "lie")
    push_lie(mallory, LORA, lie, "team/lora", base="base")
    request = LeaseRequest(worker="prover", what=["prove"])
    grant = prover.lease(request)
    report = look(prover, grant)
    prover.complete_proof(grant.run, report)
    owner.push(LORA, "team/lora", base="base")  # heals: another storage revision
    grant = prover.lease(request)

    late = report.model_copy(update={"fence": grant.fence})
    prover.complete_proof(grant.run, late)

    assert owner.show("team/lora:v1").proof == "claimed"
    assert [run.proof for run in prove_all(prover)] == ["proven"]


@ONE_STACK
def test_the_gate_asks_for_a_proof(server, owner, prover):
    owner.push(LORA, "team/lora", base="base")

    answer = owner.gate("team/lora:v1", "prod")
    unmet = {rule.rule: rule.fix for rule in answer.unmet}
    assert unmet["proven"] == "deltareg prove team/lora:v1 --wait"
    with pytest.raises(GatePending):
        owner.promote("team/lora:v1", "prod")
    server.verified("team/lora:v1")  # by another principal, which decoded it

    assert owner.show("team/lora:v1").proof == "proven"
    owner.promote("team/lora:v1", "prod")


@BOTH_DATABASES
def test_a_corrupt_version_goes_to_no_channel_even_by_break_glass(server, owner, mallory, prover, tmp_path):
    lie = zeros_of(LORA, tmp_path / "lie")
    push_lie(mallory, LORA, lie, "team/lora", base="base")
    prove_all(prover)
    breaker = server.client(("read", "promote", "break-glass"), principal="eve")

    with pytest.raises(Corrupt):
        breaker.channels.promote("team/lora:v1", "prod", reason="now", break_glass=True)


@ONE_STACK
def test_only_the_holder_of_a_run_says_what_came_of_it(server, owner, prover, mallory):
    owner.push(LORA, "team/lora", base="base")
    grant = prover.lease(LeaseRequest(worker="prover", what=["prove"]))
    forged = ProofReport(fence=grant.fence, storage_revision=1, pieces=1)
    reader = server.client(("read", "push"), principal="reader")

    with pytest.raises(Forbidden):
        reader.complete_proof(grant.run, forged)
    with pytest.raises(Exception, match="not under your lease"):
        mallory.complete_proof(grant.run, forged)
    with pytest.raises(Exception, match="not under your lease"):
        mallory.bring_stored(grant, None)


@ONE_STACK
def test_a_workers_token_without_its_key_proves_nothing(server, owner, prover):
    """The attack: a token and the public half of the key, which everybody may read."""
    prove_all(prover)
    owner.push(LORA, "team/lora", base="base")
    thief = server._client(prover._context.config.token, (), "prover", "wrk")
    grant = thief.lease(LeaseRequest(worker="prover", what=["prove"]))
    said = ProofReport(fence=grant.fence, storage_revision=1, pieces=1)
    signed = sign_work(grant, said, key_of("prover"))
    other_nonce = grant.model_copy(update={"nonce": "0" * 64})
    other_bytes = grant.model_copy(update={"digest": f"sha256:{'0' * 64}"})
    forged = [
        said,
        sign_work(grant, said, key_of("thief")),
        sign_work(other_nonce, said, key_of("prover")),
        sign_work(other_bytes, said, key_of("prover")),
        signed.model_copy(update={"wrong": [WrongPart(name="x", detail="")]}),
        signed.model_copy(update={"storage_revision": 2}),
        signed.model_copy(update={"envelope": signed.envelope[:-9]}),
    ]

    for report in forged:
        with pytest.raises((BadSignature, InvalidInput)):
            thief._context.api.post(f"/runs/{grant.run}:prove", report, RunInfo)
    claimed = owner.show("team/lora:v1").proof
    found = thief._context.api.post(f"/runs/{grant.run}:prove", signed, RunInfo)

    assert claimed == "claimed"
    assert found.proof == owner.show("team/lora:v1").proof == "proven"


@BOTH_DATABASES
def test_what_a_revoked_key_proved_is_proven_by_somebody_else(server, owner, prover):
    owner.push(LORA, "team/lora", base="base")
    prove_all(prover)
    other = server.client(("read", "verify"), principal="second", kind="wrk")
    owner.push(LORA.with_name("lora_v2"), "team/lora", base="base")
    prove_all(other, name="second")
    root = server.client(("read", "admin"), principal="root")

    root.keys.revoke(key_of("prover").keyid, reason="stolen")
    doubted = {ref: owner.show(ref).proof for ref in ("team/lora:v1", "team/lora:v2")}
    again = prove_all(other, name="second")
    root.keys.revoke(key_of("prover").keyid, reason="stolen")

    assert doubted == {"team/lora:v1": "claimed", "team/lora:v2": "proven"}
    assert {run.ref or run.base for run in again} == {"team/lora:v1", "base"}
    assert owner.show("team/lora:v1").proof == owner.bases.show("base").proof == "proven"
    assert [row.subject for row in actions(server, "version.doubt")] == ["team/lora:v1"]


@BOTH_DATABASES
def test_a_run_that_is_lost_is_done_by_another_and_death_leaves_a_claim(server, owner, prover):
    prove_all(prover)
    owner.push(LORA, "team/lora", base="base")
    request = LeaseRequest(worker="w1", what=["prove"])
    for _ in range(3):
        grant = prover.lease(request)
        prover.fail_run(grant.run, RunFailure(fence=grant.fence, error="killed"))

    assert prover.lease(request) is None
    assert owner.show("team/lora:v1").proof == "claimed"
    asked = owner.runs.prove("team/lora:v1")
    (run,) = prove_all(prover)

    assert (run.id, run.proof) == (asked.id, "proven")
    assert owner.runs.prove("team/lora:v1").id == run.id, "it has found out already"
    assert owner.runs.prove("team/lora:v1", again=True).state == "queued"


@BOTH_DATABASES
def test_a_proof_that_died_is_asked_for_again_by_itself(server, owner, prover):
    prove_all(prover)
    owner.push(LORA, "team/lora", base="base")
    kill_proofs(prover)

    assert ask_again(server.registry) == 0, "it is left alone for a while"
    assert [ask_again(server.registry, rest_s=0.0) for _ in range(2)] == [1, 0]
    (run,) = prove_all(prover)

    assert (run.ref, run.proof) == ("team/lora:v1", "proven")
    assert owner.show("team/lora:v1").proof == "proven"


@BOTH_DATABASES
def test_a_proof_that_dies_every_time_is_asked_for_eight_times(server, owner, prover):
    prove_all(prover)
    owner.push(LORA, "team/lora", base="base")

    deaths = 0
    while kill_proofs(prover):
        deaths += 1
        assert ask_again(server.registry, rest_s=0.0) == 1

    assert deaths == 1 + 8


@BOTH_DATABASES
def test_a_dead_proof_of_what_is_proven_or_deleted_since_stays_dead(server, owner, prover):
    prove_all(prover)
    for name in ("team/lora", "team/gone"):
        owner.push(LORA, name, base="base")
    kill_proofs(prover)
    owner.runs.prove("team/lora:v1")
    server.client(("read", "admin"), principal="root").versions.delete("team/gone:v1")
    prove_all(prover)

    assert ask_again(server.registry, rest_s=0.0) == 2

    assert queue_of(server) == []


@BOTH_DATABASES
def test_a_version_that_is_deleted_while_it_is_proven_stays_deleted(server, owner, prover):
    prove_all(prover)
    owner.push(LORA, "team/lora", base="base")
    grant = prover.lease(LeaseRequest(worker="prover", what=["prove"]))
    report = look(prover, grant)
    admin = server.client(("read", "admin"), principal="root")

    admin.versions.delete("team/lora:v1")
    admin.storage.collect(dry_run=False, grace_s=0)
    run = prover.complete_proof(grant.run, report)

    assert (run.state, run.proof) == ("done", None)
    assert admin.storage.fsck(read_data=True).findings == []
    assert prover.lease(LeaseRequest(worker="prover", what=["prove"])) is None


@ONE_STACK
def test_a_push_that_would_rest_on_a_claim_of_somebody_else_is_sent_without(server, owner, prover, tmp_path):
    second = LORA.with_name("lora_v2")
    owner.push(LORA, "team/lora", base="base")
    other = server.client(("read", "push"), principal="bob")
    other.pull("team/lora:v1", tmp_path / "v1")  # at hand, so it is tried as a reference

    other.push(second, "team/lora", base="base")
    prove_all(prover)

    assert same(owner.pull("team/lora:v2", tmp_path / "v2").path, second)
    assert owner.show("team/lora:v2").proof == "proven"


@BOTH_DATABASES
def test_two_who_push_the_same_at_once_are_both_served(server, owner, prover, tmp_path):
    other = server.client(("read", "push"), principal="bob")
    owner.push(LORA, "team/lora", base="base")
    second = other.push(LORA, "team/lora", base="base")
    prove_all(prover)

    assert (second.version.ref, second.version.created) == ("team/lora:v1", False)
    assert owner.show("team/lora:v1").proof == "proven"
    with read(server.registry.engine) as conn:
        assert conn.execute(sa.select(t.forms.c.state)).scalars().all() == ["dropped"]
    admin = server.client(("read", "admin"), principal="root")
    admin.storage.collect(dry_run=False, grace_s=0)
    assert same(owner.pull("team/lora:v1", tmp_path / "pulled").path, LORA)


@BOTH_DATABASES
def test_what_came_in_before_is_proven_by_its_verdict_or_queued(server, owner, prover):
    owner.push(LORA, "team/judged", base="base")
    owner.push(LORA, "team/other", base="base")
    server.verified("team/judged:v1")
    with write(server.registry.engine) as conn:  # as the release before left it
        conn.execute(sa.delete(t.runs).where(t.runs.c.what == "prove"))
        conn.execute(sa.update(t.versions).values(proven_at=None, proven_revision=None))

    assert settle_some_claims(server.registry) == 3
    assert settle_some_claims(server.registry) == 0

    assert owner.show("team/judged:v1").proof == "proven"
    assert owner.show("team/other:v1").proof == "claimed"
    waiting = [(run.base or run.ref, run.priority) for run in queue_of(server)]
    assert waiting == [("team/other:v1", "background"), ("base", "background")]
    assert owner.push(LORA, "team/third", base="base").uploaded_bytes == 0
    assert len(prove_all(prover)) == 3


def kill_proofs(prover):
    """Let all attempts of what waits for a proof fail; give how many there were."""
    attempts = 0
    while (grant := prover.lease(LeaseRequest(worker="w1", what=["prove"]))) is not None:
        prover.fail_run(grant.run, RunFailure(fence=grant.fence, error="killed"))
        attempts += 1
    return attempts


def queue_of(server):
    asker = server.client(("read",), principal="asker")
    return [run for run in asker.runs.queue().items if run.what == "prove"]
