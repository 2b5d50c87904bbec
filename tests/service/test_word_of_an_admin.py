"""What a registry promises against an admin who judges their own work by a worker of their own, and what it cannot.

It does not know who holds a key: who makes up a person, and lets a worker act for that person, is two people to it.
It does write down who said so, and under whose key each verdict stands, which nobody takes out again.
"""

import pytest

from deltareg.client import WorkerClient
from deltareg.client.trust.trusted_keys import TrustedKeys
from deltareg.errors import BadSignature
from deltareg.wire import KeyEnrol, KeyInfo, LeaseRequest, ProofReport, TokenCreate
from tests.fixtures.registries import SAMPLES, report
from tests.proving import prove_all, prove_one, prover_of, push_lie, zeros_of
from tests.signers import key_of

LORA, TINY = SAMPLES / "deltas" / "tinyllama" / "lora", SAMPLES / "bases" / "tinyllama"
REF, LINE = "boss/lie:v1", "boss/lie"


@pytest.fixture
def lie(registry_server, tmp_path):
    """Let an admin push a lie, make up a person, and have a worker in their name; give the three clients."""
    server = registry_server
    server.client(principal="keeper").bases.push(TINY, "tinyllama")
    prove_all(prover_of(server))
    boss = server.client(("admin", "read", "push", "promote"), principal="boss")
    push_lie(boss, LORA, zeros_of(LORA, tmp_path / "lie"), LINE, base="tinyllama")
    boss.tokens.create(TokenCreate(principal="made-up", scopes=["read"], everywhere=True))
    key = KeyEnrol(name="puppet", key=str(key_of("puppet").public), host="rack")
    boss._context.api.post("/keys", key, KeyInfo)
    wanted = TokenCreate(principal="puppet", kind="wrk", scopes=["read", "verify"], everywhere=True, acts_for="made-up")
    secret = boss.tokens.create(wanted).token
    config = server._config(secret)
    return server, boss, server._open.enter_context(WorkerClient(config, key=key_of("puppet"), host="rack"))


def prove_falsely(puppet):
    grant = puppet.lease(LeaseRequest(worker="puppet", what=["prove"]))
    said = ProofReport(fence=grant.fence, storage_revision=grant.storage_revision, pieces=1)
    return puppet.complete_proof(grant.run, said)


def pass_falsely(boss, puppet):
    run = boss.verify(REF)
    grant = puppet.lease(LeaseRequest(worker="puppet", run=run.id))
    return puppet.complete_run(grant.run, report(grant))


def test_a_worker_in_the_name_of_somebody_made_up_proves_an_admins_lie_until_somebody_else_looks(lie):
    server, boss, puppet = lie

    believed = prove_falsely(puppet).proof
    again = boss.runs.prove(REF, again=True)
    found = prove_one(prover_of(server), again.id).proof

    assert (believed, found) == ("proven", "corrupt")


def test_the_trail_says_who_made_the_person_and_the_worker_and_who_proved(lie):
    _, boss, puppet = lie
    prove_falsely(puppet)

    rows = {row.action: row for row in boss.audit.list(limit=200).items}
    made = [row for row in boss.audit.list(actor="boss", action="token.create").items if row.after]

    assert [(row.after["principal"], row.after["people"]) for row in made] == [("puppet", ["made-up"]), ("made-up", [])]
    assert (rows["key.enrol"].actor, rows["key.enrol"].after["key"]) == ("boss", str(key_of("puppet").public))
    assert rows["version.prove"].actor == "puppet"


def test_a_verdict_of_such_a_worker_counts_here_and_not_for_whom_its_key_is_a_strangers(lie, tmp_path):
    """Who trusts keys of their own, in a file or by a rule of a channel, is not deceived, and sees who enrolled it."""
    _, boss, puppet = lie
    own, all_keys = tmp_path / "own.json", tmp_path / "all.json"
    listed = boss.keys.list().items
    TrustedKeys.of(listed).write(all_keys, server="x")
    TrustedKeys.of(key for key in listed if key.name != "puppet").write(own, server="x")
    prove_falsely(puppet)
    verdict = pass_falsely(boss, puppet)
    signed = boss.verdicts.export(REF)

    (shown,) = boss.verdicts.verify(signed, keys=all_keys)
    boss.channels.set_policy(LINE, "prod", {"workers": ["prover"]}, reason="ours")
    unmet = [rule.rule for rule in boss.channels.gate(REF, "prod").unmet]

    assert (verdict.verdict, shown.keyid) == ("pass", key_of("puppet").public.keyid)
    assert (shown.signed_by, shown.enrolled_by) == ("puppet", "boss")
    with pytest.raises(BadSignature):
        boss.verdicts.verify(signed, keys=own)
    assert unmet == ["workers"]
