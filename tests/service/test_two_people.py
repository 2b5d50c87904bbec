"""Nobody is two people: whatever a person pushes, approves or proves, under whatever name."""

import pytest
import sqlalchemy as sa

from deltareg.client import WorkerClient
from deltareg.db import tables as t
from deltareg.db.access import grants
from deltareg.db.session import read, write
from deltareg.errors import ApprovalDue, Conflict, Forbidden, InvalidInput, NotFound
from deltareg.service.access import people
from deltareg.service.runs.eligible import OwnWork, leave_out, same_people
from deltareg.wire import KeyEnrol, KeyInfo, LeaseRequest, ProofReport, TokenCreate
from tests.fixtures.registries import SAMPLES
from tests.proving import look, prove_all, prover_of, push_lie, zeros_of
from tests.service.test_grants import place  # noqa: F401
from tests.service.test_people import APPROVES, approve_by_hand, asking, id_of, opened_by  # noqa: F401
from tests.signers import enrol_named, key_of

LORA, TINY = SAMPLES / "deltas" / "tinyllama" / "lora", SAMPLES / "bases" / "tinyllama"


def account(server, name, *scopes, acts_for=None, kind="ci", by="admin"):
    """Make a service account or a machine by an admin, whose name is said; give its client."""
    admin = server.client(("admin", "read"), principal=by)
    body = TokenCreate(principal=name, kind=kind, scopes=[*scopes], everywhere=True, acts_for=acts_for)
    token = admin.tokens.create(body).token
    config = server._config(token)
    if kind != "wrk":
        return server._client(token, scopes, name, kind)
    enrol_named(server.registry.engine, name)
    return server._open.enter_context(WorkerClient(config, key=key_of(name), host="rack"))


@pytest.fixture
def with_base(registry_server):
    registry_server.client(principal="keeper").bases.push(TINY, "tinyllama")
    prove_all(prover_of(registry_server))
    return registry_server


@pytest.fixture
def lies(with_base, tmp_path):
    """Let `boss`, an admin, make a worker of their own and push a lie; give the server and the worker."""
    server = with_base
    boss = server.client(("admin", "read", "push"), principal="boss")
    own = account(server, "mine", "read", "verify", kind="wrk", by="boss")
    push_lie(boss, LORA, zeros_of(LORA, tmp_path / "lie"), "boss/lie", base="tinyllama")
    return server, own


def claim(worker, name, *what):
    return worker.lease(LeaseRequest(worker=name, what=list(what)))


def test_an_admins_own_worker_does_not_prove_the_admins_lie(lies):
    _, own = lies

    assert claim(own, "mine", "prove") is None


def test_who_gets_a_secret_of_a_worker_while_it_proves_gets_no_proof_by_it(with_base, tmp_path):
    server = with_base
    boss = server.client(("admin", "read", "push"), principal="boss")
    worker = account(server, "rack", "read", "verify", kind="wrk", acts_for="keeper")
    push_lie(boss, LORA, zeros_of(LORA, tmp_path / "lie"), "boss/lie", base="tinyllama")
    grant = claim(worker, "rack", "prove")
    account(server, "rack", "read", "verify", kind="wrk", by="boss")
    lie = ProofReport(fence=grant.fence, storage_revision=grant.storage_revision, pieces=1)

    with pytest.raises(Forbidden, match="nor does a worker of theirs"):
        worker.complete_proof(grant.run, lie)


def test_the_lie_is_found_by_a_worker_of_somebody_else(lies):
    server, _ = lies

    (done,) = prove_all(prover_of(server))

    assert done.proof == "corrupt"


def test_a_worker_that_acts_for_the_pusher_does_not_prove_either(with_base):
    server = with_base
    dev = server.client(("read", "push"), principal="dev")
    own = account(server, "devs", "read", "verify", kind="wrk", acts_for="dev")
    dev.push(LORA, "dev/x", base="tinyllama")

    assert claim(own, "devs", "prove") is None
    other = account(server, "bens", "read", "verify", kind="wrk", acts_for="keeper")
    assert claim(other, "bens", "prove") is not None


def test_what_a_script_pushes_is_not_proven_by_a_worker_of_its_owner(with_base):
    server = with_base
    server.client(("read",), principal="dev")
    bot = account(server, "bot", "read", "push", acts_for="dev")
    own = account(server, "devs", "read", "verify", kind="wrk", acts_for="dev")
    bot.push(LORA, "dev/x", base="tinyllama")

    assert claim(own, "devs", "prove") is None


def test_a_run_that_only_ones_own_workers_could_take_says_so(with_base):
    server = with_base
    dev = server.client(("read", "push"), principal="dev")
    own = account(server, "devs", "read", "verify", kind="wrk", acts_for="dev")
    dev.push(LORA, "dev/x", base="tinyllama")
    with write(server.registry.engine) as conn:
        conn.execute(sa.update(t.workers).values(last_seen_at=0))
    claim(own, "devs", "prove")

    (run,) = [run for run in dev.runs.list(state="queued").items if run.what == "prove"]

    assert "stands behind every worker" in dev.runs.show(run.id).unserved


def test_ones_own_worker_judges_nothing_while_others_have_workers(with_base):
    server = with_base
    dev = server.client(("read", "push"), principal="dev")
    own = account(server, "devs", "read", "verify", kind="wrk", acts_for="dev")
    ref = dev.push(LORA, "dev/x", base="tinyllama").version.ref
    prove_all(prover_of(server))
    dev.verify(ref)

    assert claim(own, "devs", "verify") is None
    assert claim(prover_of(server), "prover", "verify").ref == ref


def test_a_second_look_is_not_by_a_worker_of_the_same_person(with_base):
    server = with_base
    for name in ("one", "two"):
        account(server, name, "read", "verify", kind="wrk", acts_for="keeper")
    one, two, prover = (id_of(server, name) for name in ("one", "two", "prover"))

    with read(server.registry.engine) as conn:
        left_out = same_people(conn, one)
        own = OwnWork.of(conn, one)

    assert {key_of("one").keyid, key_of("two").keyid} == set(left_out)
    assert own.never == own.while_others >= {one, two, id_of(server, "keeper")}
    assert prover not in own.never
    assert leave_out([("k", "rack"), *((each, "") for each in left_out)])["not_on"] == "rack"


def test_a_developer_and_their_script_are_one_and_the_admin_who_made_it_is_another(asking):  # noqa: F811
    asking.client(("read",), principal="dev")
    account(asking, "bot", "read", "promote", acts_for="dev")
    request = opened_by(asking, "bot", kind="ci")  # the fixture makes one more token, as the admin
    account(asking, "script", "read", "approve", acts_for="dev")

    with pytest.raises(Forbidden, match="dev, under another name, opened it"):
        asking.client(APPROVES, principal="dev").requests.approve(request)
    with pytest.raises(sa.exc.IntegrityError, match="who opened a request does not approve it"):
        approve_by_hand(asking, "script", request)
    # And it holds a secret of the script that it did not say was somebody's.
    with pytest.raises(Forbidden, match="admin, under another name, opened it"):
        asking.client(APPROVES, principal="admin").requests.approve(request)


def test_an_admin_who_says_whose_script_it_is_may_approve_what_it_opened(asking):  # noqa: F811
    asking.client(("read",), principal="dev")
    bot = account(asking, "bot", "read", "promote", acts_for="dev")
    with pytest.raises(ApprovalDue):
        bot.promote("team/lora:v1", "prod")
    (request,) = bot.requests.list().items

    assert asking.client(APPROVES, principal="admin").requests.approve(request.id).missing == 1


def test_two_scripts_of_one_person_approve_once(asking):  # noqa: F811
    asking.client(("read",), principal="dev")
    request = opened_by(asking, "bob")
    for name in ("a", "b"):
        account(asking, name, *APPROVES, acts_for="dev")
    approve_by_hand(asking, "a", request)

    with pytest.raises(sa.exc.IntegrityError, match="one person approves once"):
        approve_by_hand(asking, "b", request)


def test_handing_a_script_over_makes_nobody_a_second_person(asking):  # noqa: F811
    """Neither who pushed by it and gave it away, nor who has it now."""
    for name in ("dev", "ben", "cyd"):
        asking.client(("read",), principal=name)
    account(asking, "bot", "read", "promote", acts_for="dev")
    bot = account(asking, "bot", "read", "promote", acts_for="dev")
    with pytest.raises(ApprovalDue):
        bot.promote("team/lora:v1", "prod")
    (request,) = bot.requests.list().items
    admin = asking.client()

    given = admin.principals.give("bot", "ben")

    assert (given.acts_for, given.people, given.tokens) == ("ben", ["ben"], [])
    for name in ("dev", "ben"):
        with pytest.raises(Forbidden, match=f"{name}, under another name, opened it"):
            asking.client(APPROVES, principal=name).requests.approve(request.id)
        with pytest.raises(sa.exc.IntegrityError, match="who opened a request does not approve it"):
            approve_by_hand(asking, name, request.id)
    assert asking.client(APPROVES, principal="cyd").requests.approve(request.id).missing == 1


def test_who_gave_a_script_away_is_not_it_any_more(asking):  # noqa: F811
    for name in ("dev", "ben"):
        asking.client(("read",), principal=name)
    account(asking, "bot", "read", "promote", acts_for="dev")
    asking.client().principals.give("bot", "ben")
    bot = account(asking, "bot", "read", "promote", acts_for="ben")
    with pytest.raises(ApprovalDue) as due:
        bot.promote("team/lora:v1", "prod")

    with pytest.raises(Forbidden, match="ben, under another name, opened it"):
        asking.client(APPROVES, principal="ben").requests.approve(due.value.request)


def test_a_script_is_somebodys_and_only_a_hand_over_changes_that(registry_server):
    for name in ("dev", "ben"):
        registry_server.client(("read",), principal=name)
    account(registry_server, "bot", "read", acts_for="dev")

    with pytest.raises(Conflict, match="bot acts for dev"):
        account(registry_server, "bot", "read", acts_for="ben")
    for owner, error in (("bot", InvalidInput), ("nobody", NotFound)):
        with pytest.raises(error):
            account(registry_server, "other", "read", acts_for=owner)
    with pytest.raises(InvalidInput, match="a person acts for themselves"):
        account(registry_server, "eve", "read", acts_for="dev", kind="pat")
    with read(registry_server.registry.engine) as conn:
        bot, dev = id_of(registry_server, "bot"), id_of(registry_server, "dev")
        assert grants.people_of(conn, [bot, dev]) == {bot: {dev}, dev: {dev}}


def test_a_worker_that_was_enrolled_before_it_had_a_token_is_its_makers(registry_server):
    """Who enrolled it first, or nobody, is not what counts."""
    key = KeyEnrol(name="gpu-9", key=str(key_of("gpu-9").public))
    registry_server.client()._context.api.post("/keys", key, KeyInfo)

    account(registry_server, "gpu-9", "read", "verify", kind="wrk", by="boss")

    shown = registry_server.client().principals.show("gpu-9")
    assert (shown.acts_for, shown.people) == ("boss", ["boss"])


def test_looking_at_ones_own_proof_reports_like_anybody_elses(with_base):
    server = with_base
    server.client(("read", "push"), principal="dev").push(LORA, "dev/x", base="tinyllama")
    worker = prover_of(server)
    grant = claim(worker, "prover", "prove")

    assert worker.complete_proof(grant.run, look(worker, grant)).proof == "proven"


def test_who_is_alone_has_nobody_to_deceive_until_somebody_else_is_known(place):  # noqa: F811
    worker = place.caller("gpu-1", "read", "verify", kind="wrk", everywhere=True).principal_id
    with read(place.registry.engine) as conn:
        alone = grants.not_proven_by(conn, worker)
    bob = place.caller("bob", "read")
    people.disable_person(place.registry, place.root, "bob")

    with read(place.registry.engine) as conn:
        assert alone == {worker}
        assert grants.not_proven_by(conn, worker) == {worker, place.root.principal_id}
        assert bob.principal_id not in grants.not_proven_by(conn, worker)
