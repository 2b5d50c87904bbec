"""Signed verdicts: what is taken is what an enrolled worker signed about the run that it holds."""

import base64
import json
from uuid import UUID

import pytest
import sqlalchemy as sa

from deltareg.db import tables as t
from deltareg.db.session import write
from deltareg.digest import sha256_of
from deltareg.errors import BadSignature, Conflict, Forbidden, InvalidInput, LeaseLost, NotFound
from deltareg.refs import LineRef, Ref
from deltareg.service.access.keys import enrol_own_worker, enrol_worker, list_keys, revoke_key
from deltareg.service.authority.grants import Grant, Right
from deltareg.service.authority.resources import Namespace
from deltareg.service.channels.channels import create_channel, show_channel
from deltareg.service.channels.gate import check_gate
from deltareg.service.channels.move import move_channel
from deltareg.service.channels.summaries import show_summary
from deltareg.service.registry import Caller, Registry
from deltareg.service.runs.kinds.verify import complete_run
from deltareg.service.runs.leases import claim_lease
from deltareg.service.runs.reverify import queue_reverification
from deltareg.service.runs.runs import cancel_run, queue_run, show_run
from deltareg.service.runs.second_look import count_disputes, is_chosen
from deltareg.service.verdicts.verdicts import show_envelope, show_verdict
from deltareg.signing.keys import SigningKey
from deltareg.signing.signed_statements import open_statement, sign_statement
from deltareg.signing.statement import Statement
from deltareg.store.memory import MemoryStore
from deltareg.wire import ChannelMove, KeyEnrol, KeyRevoke, LeaseRequest, RunCreate, SignedReport
from deltareg.wire.statements import VERDICT, VSA
from tests.service import rows, work
from tests.service.work import audited, expire, findings, report
from tests.signers import key_of, sign, statement_of

REF = "lab/x:v1"
PROD = LineRef("lab", "x"), "prod"
SERVER = key_of("the server")


@pytest.fixture
def registry(engine):
    rows.base(engine)
    return Registry(engine, MemoryStore(), signer=SERVER)


@pytest.fixture
def ada(engine):
    return rows.caller(engine)


@pytest.fixture
def worker(engine):
    return rows.caller(engine, "gpu-1", kind="worker", scopes={"read", "verify"})


@pytest.fixture
def other(engine):
    return rows.caller(engine, "gpu-2", kind="worker", scopes={"read", "verify"})


@pytest.fixture
def queued(registry, ada):
    rows.version(registry.engine, rows.line(registry.engine, maker=ada))
    create_channel(registry, ada, *PROD)
    return queue_run(registry, ada, RunCreate(ref=REF)).id


def claim(registry, caller):
    """Let a worker claim a run under a name of its own."""
    return work.claim(registry, caller, name=caller.principal)


def passed(registry, worker, ada, **wanted):
    """Let a version pass once more, by a worker."""
    run = queue_run(registry, ada, RunCreate(ref=REF, again=True, **wanted))
    return complete_run(registry, worker, run.id, report(claim(registry, worker)))


def unmet(registry, ada):
    return [rule.rule for rule in check_gate(registry, ada, Ref.parse(REF), "prod").unmet]


def policy(registry, **asked):
    with write(registry.engine) as conn:
        asked = {"suites": ["smoke"], **asked}
        conn.execute(sa.update(t.channels).values(policy=asked))


def test_a_verdict_says_who_signed_it_and_gives_what_was_signed(registry, worker, ada, queued):
    verdict = complete_run(registry, worker, queued, report(claim(registry, worker)))

    assert (verdict.signed_by, verdict.keyid, verdict.counts) == ("gpu-1", key_of("gpu-1").keyid, True)
    shown = show_envelope(registry, ada, verdict.id)
    key = key_of("gpu-1").public
    signed = open_statement(shown.envelope.encode(), {key.keyid: key}, predicate_type=VERDICT)
    assert signed.statement.name == REF
    assert f"sha256:{signed.statement.sha256}" == verdict.digest
    assert unmet(registry, ada) == []
    (told,) = [row for row in rows.rows(registry.engine, t.audit) if row.action == "run.complete"]
    assert told.after["envelope"] == str(sha256_of(shown.envelope.encode()))


def test_a_report_that_is_not_signed_is_refused_with_what_to_upgrade(registry, worker, queued):
    grant = claim(registry, worker)

    with pytest.raises(InvalidInput, match="is not signed") as refused:
        complete_run(registry, worker, queued, findings(grant))

    assert "install the server's release" in refused.value.fix
    assert show_run(registry, worker, queued).state == "running"


def test_a_worker_that_does_not_sign_gets_no_run(registry, worker, queued):
    with pytest.raises(Forbidden, match="of an older release") as refused:
        claim_lease(registry, worker, LeaseRequest(worker="old"), lease_s=60)

    assert "deltareg worker enrol gpu-1" in refused.value.fix


def test_a_worker_that_nobody_enrolled_is_told_how_it_is_enrolled(registry, worker, queued):
    key = SigningKey.generate()
    asked = LeaseRequest(worker="new", key=str(key.public), host="rack-7")

    with pytest.raises(Forbidden, match="no worker gpu-1 is enrolled") as refused:
        claim_lease(registry, worker, asked, lease_s=60)

    assert refused.value.fix.endswith(f"deltareg worker enrol gpu-1 --key {key.public}@rack-7")


def test_the_key_of_another_worker_takes_no_run(registry, worker, other, queued):
    claim(registry, other)
    asked = LeaseRequest(worker="thief", key=str(key_of("gpu-2").public))

    with pytest.raises(Forbidden, match="no worker gpu-1 is enrolled"):
        claim_lease(registry, worker, asked, lease_s=60)


@pytest.mark.parametrize(
    ("change", "part"),
    [
        ({"run": "another"}, "run"),
        ({"fence": 7}, "lease"),
        ({"nonce": "0" * 64}, "nonce"),
        ({"suite": {"name": "deep", "digest": ""}}, "suite"),
        ({"base": {"name": "tiny", "root": f"blake3:{'1' * 64}"}}, "base"),
        ({"compared_with": "sha256:0"}, "comparison"),
        ({"worker": {"name": "somebody"}}, "worker"),
    ],
)
def test_what_is_signed_about_another_thing_is_refused(registry, worker, queued, change, part):
    grant = claim(registry, worker)
    honest = statement_of(grant, findings(grant), worker="gpu-1")
    forged = Statement(honest.name, honest.sha256, honest.predicate_type, {**honest.predicate, **change})

    with pytest.raises(BadSignature, match=f"not about this run: its {part}"):
        complete_run(registry, worker, queued, sealed(forged, grant))
    assert show_run(registry, worker, queued).verdict is None


@pytest.mark.parametrize(
    ("fields", "part"),
    [
        ({"name": "lab/x:v2"}, "subject"),
        ({"sha256": "0" * 64}, "digest"),
        ({"predicate_type": VSA}, "statement is of type"),
    ],
)
def test_a_verdict_about_another_version_is_refused(registry, worker, queued, fields, part):
    grant = claim(registry, worker)
    honest = statement_of(grant, findings(grant), worker="gpu-1")
    told = {name: getattr(honest, name) for name in Statement.__dataclass_fields__}

    with pytest.raises(BadSignature, match=part):
        complete_run(registry, worker, queued, sealed(Statement(**{**told, **fields}), grant))


def test_a_signature_of_another_key_is_refused(registry, worker, other, queued):
    claim(registry, other)  # is enrolled, and does not hold the run
    cancel_run(registry, rows.caller(registry.engine), queued)
    run = queue_run(registry, rows.caller(registry.engine), RunCreate(ref=REF)).id
    grant = claim(registry, worker)

    with pytest.raises(BadSignature, match="nobody who is trusted has the key"):
        complete_run(registry, worker, run, sign(grant, findings(grant), key_of("gpu-2"), worker="gpu-1"))


def test_a_verdict_is_not_told_twice(registry, worker, ada, queued):
    first = report(claim(registry, worker))
    complete_run(registry, worker, queued, first)
    again = queue_run(registry, ada, RunCreate(ref=REF, again=True)).id
    grant = claim(registry, worker)

    with pytest.raises(BadSignature, match="its run"):
        complete_run(registry, worker, again, first.model_copy(update={"fence": grant.fence}))


def test_the_report_of_a_lease_that_was_lost_is_refused(registry, worker, other, queued):

    late = report(claim(registry, worker))
    expire(registry, queued)
    claim(registry, other)

    with pytest.raises(LeaseLost):
        complete_run(registry, worker, queued, late)


def test_extra_fields_and_garbage_in_an_envelope_are_refused(registry, worker, queued):
    grant = claim(registry, worker)
    honest = json.loads(report(grant).envelope)

    for changed in (
        {**honest, "more": 1},
        {**honest, "payload": honest["payload"][:-4]},
        {},
        {**honest, "signatures": honest["signatures"] * 2},
        {**honest, "payload": base64.b64encode(b"{}").decode()},
    ):
        body = SignedReport(fence=grant.fence, envelope=json.dumps(changed))
        with pytest.raises(BadSignature):
            complete_run(registry, worker, queued, body)


def test_a_revoked_key_takes_its_verdicts_and_its_leases_with_it(registry, worker, ada, queued):
    grant = claim(registry, worker)
    verdict = complete_run(registry, worker, queued, report(grant))
    second = queue_run(registry, ada, RunCreate(ref=REF, again=True)).id
    late = claim(registry, worker)

    revoke_key(registry, ada, verdict.keyid, KeyRevoke(reason="host was broken into"))

    assert unmet(registry, ada) == ["key_revoked"]
    shown = show_verdict(registry, ada, verdict.id)
    assert not shown.counts
    assert "was revoked" in shown.not_counting
    assert "host was broken into" in shown.not_counting
    with pytest.raises(BadSignature, match="is revoked"):
        complete_run(registry, worker, second, report(late))
    with pytest.raises(Forbidden, match="is revoked"):
        claim(registry, worker)
    assert ("ada", "key.revoke", f"key/{verdict.keyid}") in audited(registry)


def test_rotation_keeps_what_was_signed_and_ends_the_old_key(registry, worker, ada, queued):
    verdict = complete_run(registry, worker, queued, report(claim(registry, worker)))
    new = SigningKey.generate()

    with pytest.raises(Conflict, match="enrolled with another key") as refused:
        enrol_worker(registry, ada, KeyEnrol(name="gpu-1", key=str(new.public)))
    assert "worker rotate gpu-1" in refused.value.fix
    enrol_worker(registry, ada, KeyEnrol(name="gpu-1", key=str(new.public), replaces=True))

    assert show_verdict(registry, ada, verdict.id).counts
    assert unmet(registry, ada) == []
    with pytest.raises(Forbidden, match="is retired"):
        claim(registry, worker)
    states = {key.keyid: key.state for key in list_keys(registry, ada).items}
    assert states == {verdict.keyid: "retired", new.keyid: "live"}


def test_a_key_that_was_somebodys_never_comes_back(registry, worker, ada, queued):
    verdict = complete_run(registry, worker, queued, report(claim(registry, worker)))
    old = KeyEnrol(name="gpu-1", key=str(key_of("gpu-1").public), replaces=True)
    revoke_key(registry, ada, verdict.keyid, KeyRevoke(reason="x"))

    for name in ("gpu-1", "gpu-9"):
        with pytest.raises(Conflict, match="this key is known already"):
            enrol_worker(registry, ada, old.model_copy(update={"name": name}))
    again = enrol_own_worker(registry, "gpu-1", key_of("gpu-1").public, host="here")
    assert again.state == "revoked"


def test_a_user_is_not_enrolled_as_a_worker(registry, ada):
    with pytest.raises(Conflict, match="ada is a user"):
        enrol_worker(registry, ada, KeyEnrol(name="ada", key=str(key_of("x").public)))


def test_revoking_a_key_ends_the_tokens_of_its_worker(registry, ada):
    from deltareg.service.access.tokens import bootstrap_token, is_live

    made = enrol_worker(registry, ada, KeyEnrol(name="gpu-5", key=str(key_of("gpu-5").public)))
    token = bootstrap_token(registry, principal="gpu-5", kind="wrk", scopes=["verify"])
    assert is_live(registry, f"Bearer {token}")

    revoke_key(registry, ada, made.keyid, KeyRevoke(reason="x"))

    assert not is_live(registry, f"Bearer {token}")


def test_an_unsigned_pass_of_an_older_release_is_read_and_does_not_count(registry, worker, ada, queued):
    verdict = complete_run(registry, worker, queued, report(claim(registry, worker)))
    with write(registry.engine) as conn, rows.unguarded(conn, t.verdict_envelopes):
        conn.execute(sa.delete(t.verdict_envelopes))

    shown = show_verdict(registry, ada, verdict.id)
    assert (shown.verdict, shown.counts, shown.signed_by) == ("pass", False, "")
    assert "it is not signed" in shown.not_counting
    assert unmet(registry, ada) == ["unsigned"]
    with pytest.raises(NotFound, match="is not signed"):
        show_envelope(registry, ada, verdict.id)
    assert queue_run(registry, ada, RunCreate(ref=REF)).state == "queued"


def test_a_local_verdict_is_for_its_owners_eyes(registry, worker, ada, queued):
    complete_run(registry, worker, queued, report(claim(registry, worker), verdict="fail", fail="effect"))
    run = queue_run(registry, ada, RunCreate(ref=REF, local=True)).id
    assert claim(registry, worker) is None
    key = SigningKey.generate()
    asked = LeaseRequest(worker="here", key=str(key.public), run=run)
    stranger = rows.caller(registry.engine, "eve", scopes={"verify"})
    foreign = asked.model_copy(update={"worker": "there"})
    assert claim_lease(registry, stranger, foreign, lease_s=60) is None
    grant = claim_lease(registry, ada, asked, lease_s=60)

    verdict = complete_run(registry, ada, run, sign(grant, findings(grant), key, worker="here"))

    assert (verdict.verdict, verdict.counts, verdict.is_local) == ("pass", False, True)
    assert "owner's eyes" in verdict.not_counting
    assert unmet(registry, ada) == ["failed"]  # the pass neither counts nor hides the failure
    policy(registry, local=True)
    assert unmet(registry, ada) == ["inconclusive"]  # it counts, and contradicts the failure


def test_a_user_takes_no_run_of_others(registry, ada, queued):
    asked = LeaseRequest(worker="here", key=str(SigningKey.generate().public), run=queued)

    assert claim_lease(registry, ada, asked, lease_s=60) is None


def test_a_worker_asks_for_no_run(registry, worker, queued):
    principal = Caller(worker.principal, worker.principal_id, None, worker.grants, is_worker=True)

    for act in (
        lambda: queue_run(registry, principal, RunCreate(ref=REF, again=True)),
        lambda: cancel_run(registry, principal, queued),
    ):
        with pytest.raises(Forbidden, match="takes runs and asks for none"):
            act()


def test_a_policy_names_workers_and_their_labels(registry, worker, other, ada, queued):
    complete_run(registry, worker, queued, report(claim(registry, worker)))
    policy(registry, workers=["gpu-2"])

    assert unmet(registry, ada) == ["workers"]
    passed(registry, other, ada)
    assert unmet(registry, ada) == []
    policy(registry, worker_labels={"device": "cuda"})
    assert unmet(registry, ada) == ["workers"]


def test_independent_takes_two_workers_on_two_hosts(registry, worker, other, ada, queued):
    policy(registry, independent=2)
    complete_run(registry, worker, queued, report(claim(registry, worker)))
    assert unmet(registry, ada) == ["independent"]
    (rule,) = check_gate(registry, ada, Ref.parse(REF), "prod").unmet
    assert "--independent" in rule.fix
    passed(registry, worker, ada)
    assert unmet(registry, ada) == ["independent"]  # the same one twice is one

    run = queue_run(registry, ada, RunCreate(ref=REF, independent=True)).id
    assert claim(registry, worker) is None
    complete_run(registry, other, run, report(claim(registry, other)))

    assert unmet(registry, ada) == []
    answer = check_gate(registry, ada, Ref.parse(REF), "prod")
    assert len(answer.verdicts) == 2


def test_two_workers_of_one_host_are_one(registry, worker, other, ada, queued):
    policy(registry, independent=2)
    complete_run(registry, worker, queued, report(claim(registry, worker)))
    passed(registry, other, ada)
    assert unmet(registry, ada) == []
    for host in ("host-of-gpu-1", ""):  # the same one, or nobody knows
        with write(registry.engine) as conn, rows.unguarded(conn, t.verdict_envelopes):
            conn.execute(sa.update(t.verdict_envelopes).values(host=host))
        assert unmet(registry, ada) == ["independent"]


def test_workers_who_measure_otherwise_do_not_agree(registry, worker, other, ada, queued):
    policy(registry, independent=2)
    complete_run(registry, worker, queued, report(claim(registry, worker), checks=measured(1.0)))
    run = queue_run(registry, ada, RunCreate(ref=REF, independent=True)).id
    complete_run(registry, other, run, report(claim(registry, other), checks=measured(2.0)))

    assert unmet(registry, ada) == ["independent"]
    passed_again = queue_run(registry, ada, RunCreate(ref=REF, again=True)).id
    complete_run(registry, worker, passed_again, report(claim(registry, worker), checks=measured(2.02)))
    assert unmet(registry, ada) == []


def test_a_worker_cannot_widen_what_counts_as_the_same(registry, worker, other, ada, queued):
    """The threshold comes with what a worker reports, and one that lies says another."""
    policy(registry, independent=2)
    wide = measured(1.0, threshold=1e12)
    honest = report(claim(registry, worker), checks=measured(2.0))
    complete_run(registry, worker, queued, honest)
    run = queue_run(registry, ada, RunCreate(ref=REF, independent=True)).id
    complete_run(registry, other, run, report(claim(registry, other), checks=wide))

    assert unmet(registry, ada) == ["independent"]


def test_a_second_look_that_finds_the_same_changes_nothing(registry, worker, other, ada, queued):
    registry = Registry(registry.engine, registry.store, recheck_share=1.0)
    enrol(registry, ada, "gpu-2")
    verdict = complete_run(registry, worker, queued, report(claim(registry, worker)))
    assert claim(registry, worker) is None  # it does not look again itself
    grant = claim(registry, other)

    again = complete_run(registry, other, grant.run, report(grant))

    assert again.counts
    assert show_verdict(registry, ada, verdict.id).counts
    assert claim(registry, worker) is None  # a second look is not looked at again
    assert claim(registry, other) is None


def test_a_second_look_that_differs_makes_both_inconclusive_and_alarms(registry, worker, other, ada, queued):
    registry = Registry(registry.engine, registry.store, recheck_share=1.0)
    enrol(registry, ada, "gpu-2")
    verdict = complete_run(registry, worker, queued, report(claim(registry, worker)))
    assert unmet(registry, ada) == []
    grant = claim(registry, other)

    again = complete_run(registry, other, grant.run, report(grant, verdict="fail", fail="effect"))

    for each in (verdict.id, again.id):
        shown = show_verdict(registry, ada, each)
        assert (shown.verdict, shown.counts) == ("inconclusive", False)
        assert "effect is pass for one and fail for the other" in shown.disputed
    assert unmet(registry, ada) == ["inconclusive"]
    assert ("gpu-2", "verdict.dispute", f"verdict/{verdict.id}") in audited(registry)
    assert count_disputes(registry) == 1

    revoke_key(registry, ada, again.keyid, KeyRevoke(reason="it lied"))

    assert count_disputes(registry) == 0
    assert show_verdict(registry, ada, verdict.id).counts
    assert unmet(registry, ada) == []


def test_nobody_is_asked_for_a_second_look_where_there_is_one_worker(registry, worker, queued):
    registry = Registry(registry.engine, registry.store, recheck_share=1.0)
    complete_run(registry, worker, queued, report(claim(registry, worker)))

    assert [row.state for row in rows.rows(registry.engine, t.runs)] == ["done"]


def test_no_worker_knows_beforehand_which_of_its_passes_is_looked_at_again(registry, worker, other, ada, queued):
    """The run's id is known with the lease; the verdict's is not before the report is there."""
    registry = Registry(registry.engine, registry.store, recheck_share=0.5)
    enrol(registry, ada, "gpu-2")
    ids = [UUID(int=number) for number in range(1, 40)]
    chosen = next(each for each in ids if is_chosen(str(each), 0.5))
    told = report(claim(registry, worker))

    complete_run(registry, worker, queued, told, new_id=lambda: chosen)

    states = [row.request.get("second_of") for row in rows.rows(registry.engine, t.runs)]
    assert str(chosen) in states


def test_who_pushed_does_not_cancel_a_second_look(registry, worker, other, ada, queued):
    registry = Registry(registry.engine, registry.store, recheck_share=1.0)
    enrol(registry, ada, "gpu-2")
    complete_run(registry, worker, queued, report(claim(registry, worker)))
    found = rows.rows(registry.engine, t.runs)
    second = next(row.id for row in found if "second_of" in row.request)
    held = (Right.READ, Right.PUSH, Right.VERIFY, Right.ADMIN)
    grants = frozenset(Grant(right, Namespace("lab")) for right in held)
    owner = Caller("ada", ada.principal_id, None, grants)

    with pytest.raises(Forbidden):
        cancel_run(registry, owner, second)

    assert claim(registry, other) is not None
    assert cancel_run(registry, ada, second).state == "cancelled"


def test_the_share_that_is_looked_at_again_is_what_was_set():
    runs = [f"run-{number}" for number in range(5_000)]

    chosen = sum(is_chosen(run, 0.02) for run in runs)

    assert 70 <= chosen <= 130
    assert not any(is_chosen(run, 0.0) for run in runs)
    assert all(is_chosen(run, 1.0) for run in runs)


def test_the_gate_signs_its_answer_and_a_promotion_keeps_it(registry, worker, ada, queued):
    servers = {SERVER.keyid: SERVER.public}
    before = check_gate(registry, ada, Ref.parse(REF), "prod")
    verdict = complete_run(registry, worker, queued, report(claim(registry, worker)))
    after = check_gate(registry, ada, Ref.parse(REF), "prod")

    told = [
        json.loads(json.dumps(dict(statement.predicate)))
        for statement in (
            open_statement(answer.vsa.encode(), servers, predicate_type=VSA).statement for answer in (before, after)
        )
    ]
    assert [said["verificationResult"] for said in told] == ["FAILED", "PASSED"]
    assert told[0]["urn:deltareg:unmet"] == ["missing"]
    assert [one["uri"] for one in told[1]["inputAttestations"]] == [f"urn:deltareg:verdict:{verdict.id}"]
    move = ChannelMove(kind="promote", version=1)
    move_channel(registry, ada, *PROD, move, seen=0)
    kept = show_summary(registry, ada, *PROD, 1)
    said = open_statement(kept.envelope.encode(), servers, predicate_type=VSA).statement
    assert (said.name, said.predicate["verificationResult"]) == (REF, "PASSED")


def test_what_is_served_stays_served_and_is_verified_again(registry, worker, ada, queued):
    verdict = complete_run(registry, worker, queued, report(claim(registry, worker)))
    move_channel(registry, ada, *PROD, ChannelMove(kind="promote", version=1), seen=0)
    assert queue_reverification(registry) == 0

    revoke_key(registry, ada, verdict.keyid, KeyRevoke(reason="x"))

    assert queue_reverification(registry) == 1
    assert queue_reverification(registry) == 0
    assert show_channel(registry, ada, *PROD, at=None).version == 1


def test_what_is_served_on_an_unsigned_verdict_is_verified_again(registry, worker, ada, queued):
    complete_run(registry, worker, queued, report(claim(registry, worker)))
    move_channel(registry, ada, *PROD, ChannelMove(kind="promote", version=1), seen=0)
    with write(registry.engine) as conn, rows.unguarded(conn, t.verdict_envelopes):
        conn.execute(sa.delete(t.verdict_envelopes))

    assert queue_reverification(registry) == 1
    assert show_channel(registry, ada, *PROD, at=None).version == 1


def enrol(registry, ada, name):
    request = KeyEnrol(name=name, key=str(key_of(name).public), host=f"host-of-{name}")
    return enrol_worker(registry, ada, request)


def sealed(statement, grant):
    envelope = sign_statement(statement, key_of("gpu-1")).decode()
    return SignedReport(fence=grant.fence, envelope=envelope)


def measured(value, **more):
    found = findings(type("Grant", (), {"fence": 1, "suite_digest": ""}))
    return [
        check.model_copy(update={"value": value, **more}) if check.name == "spectral" else check
        for check in found.checks
    ]
