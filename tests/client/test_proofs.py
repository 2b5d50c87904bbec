"""Bytes are offered once somebody else than their sender has decoded them; a lie is found and healed."""

import numpy as np
import pytest
from safetensors.numpy import load_file

from deltareg.errors import Corrupt, Forbidden, GatePending
from deltareg.wire import LeaseRequest, ProofReport
from tests.fixtures.registries import BOTH_DATABASES, SAMPLES
from tests.proving import look, prove_all, push_base_lie, push_lie, zeros_of

BASE, LORA = SAMPLES / "bases" / "tinyllama", SAMPLES / "deltas" / "tinyllama" / "lora"

pytestmark = BOTH_DATABASES


@pytest.fixture
def server(both_stacks):
    return both_stacks


@pytest.fixture
def owner(server):
    client = server.client(("read", "push", "promote"), principal="owner")
    client.bases.push(BASE, "tinyllama")
    return client


@pytest.fixture
def prover(server):
    return server.client(("read", "verify"), principal="prover", kind="wrk")


@pytest.fixture
def mallory(server):
    return server.client(("read", "push", "verify"), principal="mallory")


def same(folder, other):
    found, wanted = (load_file(path / "adapter_model.safetensors") for path in (folder, other))
    return all(np.array_equal(found[name], wanted[name]) for name in wanted)


def actions(server, *wanted):
    rows = server.client(("admin", "read"), principal="root").audit.list(limit=200).items
    return [row for row in reversed(list(rows)) if row.action in wanted]


def test_a_push_is_claimed_until_somebody_else_has_decoded_it(owner, prover):
    version = owner.push(LORA, "team/lora", base="tinyllama").version
    assert version.proof == "claimed"

    runs = prove_all(prover)

    assert [(run.base or run.ref, run.proof) for run in runs] == [
        ("tinyllama", "proven"), ("team/lora:v1", "proven"),
    ]  # fmt: skip
    assert owner.show("team/lora").proof == "proven"
    assert owner.bases.show("tinyllama").proof == "proven"


def test_claimed_pieces_are_offered_to_nobody(server, owner, prover):
    owner.push(LORA, "team/lora", base="tinyllama")
    other = server.client(("read", "push"), principal="bob")

    again = other.push(LORA, "team/other", base="tinyllama")
    assert again.uploaded_bytes > 0
    prove_all(prover)
    third = other.push(LORA, "team/third", base="tinyllama")

    assert third.uploaded_bytes == 0


def test_an_honest_push_after_a_lie_is_taken_whichever_comes_first(
    server, owner, mallory, prover, tmp_path
):
    """The attack: zeros under true digests, then the owner's push that sent nothing."""
    lie = zeros_of(LORA, tmp_path / "lie")
    push_lie(mallory, LORA, lie, "team/lora", base="tinyllama")

    report = owner.push(LORA, "team/lora", base="tinyllama")
    assert report.uploaded_bytes > 0
    prove_all(prover)

    assert owner.show("team/lora:v1").proof == "proven"
    assert same(owner.pull("team/lora:v1", tmp_path / "pulled").path, LORA)
    (told,) = actions(server, "version.corrupt")
    assert (told.after["sent_by"], told.after["replaced_by"]) == ("mallory", "owner")


def test_a_lie_is_refused_to_all_until_the_same_bytes_come_again(
    server, owner, mallory, prover, tmp_path
):
    lie = zeros_of(LORA, tmp_path / "lie")
    lied = push_lie(mallory, LORA, lie, "team/lora", base="tinyllama")
    prove_all(prover)

    with pytest.raises(Corrupt, match="the bytes that mallory sent") as refused:
        owner.pull("team/lora:v1", tmp_path / "pulled")
    assert "deltareg push PATH team/lora" in refused.value.fix
    assert owner.show("team/lora:v1").proof == "corrupt"

    healed = owner.push(LORA, "team/lora", base="tinyllama").version
    prove_all(prover)

    assert (healed.ref, healed.digest) == (lied.ref, lied.digest)
    assert owner.show("team/lora:v1").proof == "proven"
    assert same(owner.pull("team/lora:v1", tmp_path / "pulled").path, LORA)
    healing = actions(server, "version.corrupt", "version.heal", "version.prove")
    assert [(row.action, row.actor) for row in healing] == [
        ("version.corrupt", "prover"), ("version.heal", "owner"), ("version.prove", "prover"),
    ]  # fmt: skip


def test_a_lie_in_one_line_does_nothing_to_another(owner, mallory, prover, tmp_path):
    lie = zeros_of(LORA, tmp_path / "lie")
    push_lie(mallory, LORA, lie, "team/hers", base="tinyllama")
    prove_all(prover)

    owner.push(LORA, "team/lora", base="tinyllama")
    prove_all(prover)

    assert same(owner.pull("team/lora:v1", tmp_path / "pulled").path, LORA)


def test_a_base_that_lies_is_refused_and_healed(server, mallory, prover, tmp_path):
    lie = zeros_of(BASE, tmp_path / "lie")
    push_base_lie(mallory, BASE, lie, "tinyllama")
    (run,) = prove_all(prover)
    assert run.proof == "corrupt"
    owner = server.client(("read", "push"), principal="owner")
    with pytest.raises(Corrupt, match="deltareg base push" if False else "mallory"):
        owner.bases.fetch("tinyllama")

    owner.bases.push(BASE, "tinyllama")
    prove_all(prover)

    assert owner.bases.show("tinyllama").proof == "proven"
    with server.client(("read",), principal="reader").bases.fetch("tinyllama") as base:
        assert len(base.tensors) > 0


def test_who_sent_bytes_is_given_no_run_that_proves_them(owner, mallory, prover):
    prove_all(prover)
    mallory.push(LORA, "team/lora", base="tinyllama")

    assert prove_all(mallory, name="m") == []
    (run,) = prove_all(prover)

    assert run.proof == "proven"


def test_a_word_about_bytes_that_were_replaced_says_nothing(
    owner, mallory, prover, server, tmp_path
):
    prove_all(prover)
    lie = zeros_of(LORA, tmp_path / "lie")
    push_lie(mallory, LORA, lie, "team/lora", base="tinyllama")
    request = LeaseRequest(worker="prover", what=["prove"])
    grant = prover.lease(request)
    report = look(prover, grant)
    prover.complete_proof(grant.run, report)
    owner.push(LORA, "team/lora", base="tinyllama")  # heals: another storage revision
    grant = prover.lease(request)

    late = report.model_copy(update={"fence": grant.fence})
    prover.complete_proof(grant.run, late)

    assert owner.show("team/lora:v1").proof == "claimed"
    assert [run.proof for run in prove_all(prover)] == ["proven"]


def test_the_gate_asks_for_a_proof(server, owner, prover):
    owner.push(LORA, "team/lora", base="tinyllama")
    worker = server.client(("read", "verify"), principal="owner", kind="wrk")

    answer = owner.gate("team/lora:v1", "prod")
    unmet = {rule.rule: rule.fix for rule in answer.unmet}
    assert unmet["proven"] == "deltareg prove team/lora:v1 --wait"
    with pytest.raises(GatePending):
        owner.promote("team/lora:v1", "prod")
    server.verified("team/lora:v1")  # by another principal, which decoded it

    assert owner.show("team/lora:v1").proof == "proven"
    owner.promote("team/lora:v1", "prod")
    assert worker is not None


def test_a_corrupt_version_goes_to_no_channel_even_by_break_glass(
    server, owner, mallory, prover, tmp_path
):
    lie = zeros_of(LORA, tmp_path / "lie")
    push_lie(mallory, LORA, lie, "team/lora", base="tinyllama")
    prove_all(prover)
    breaker = server.client(("read", "promote", "break-glass"), principal="eve")

    with pytest.raises(Corrupt):
        breaker.channels.promote("team/lora:v1", "prod", reason="now", break_glass=True)


def test_only_the_holder_of_a_run_says_what_came_of_it(server, owner, prover, mallory):
    owner.push(LORA, "team/lora", base="tinyllama")
    grant = prover.lease(LeaseRequest(worker="prover", what=["prove"]))
    forged = ProofReport(fence=grant.fence, storage_revision=1, pieces=1)
    reader = server.client(("read", "push"), principal="reader")

    with pytest.raises(Forbidden):
        reader.complete_proof(grant.run, forged)
    with pytest.raises(Exception, match="not under your lease"):
        mallory.complete_proof(grant.run, forged)
    with pytest.raises(Exception, match="not under your lease"):
        mallory.bring_stored(grant, None)
