"""A form that a worker makes is served once somebody else has proven it, and what was is kept."""

import pytest
import sqlalchemy as sa

from deltareg.client.asking.resolving import fetch_manifest, resolve
from deltareg.client.folders.folder import open_folder
from deltareg.client.packs.transfer import piece_sources, send_pieces
from deltareg.db import tables as t
from deltareg.db.session import write
from deltareg.errors import Blocked, Conflict, Forbidden, NotFound
from deltareg.refs import Ref
from deltareg.wire import LeaseHold, LeaseRequest, ReencodeReport, UploadInfo
from tests.client.checkpoints import LINE, write_run
from tests.client.reencoding import WORKER, claim, work
from tests.e2e.test_data_path import same_files
from tests.fixtures.registries import BOTH_DATABASES, ONE_STACK
from tests.pages.conftest import browser, word_of
from tests.proving import look, prove_all, prove_one, prover_of, zeros_of

REF = f"{LINE}:v2"


@pytest.fixture
def server(registry_server):
    return registry_server


@pytest.fixture
def run(server, tmp_path):
    """Push a base and two checkpoints, all proven, and prove that the second is asked for anew."""
    base, *checkpoints = write_run(tmp_path / "run", 2, late=True)
    server.pushed(base, *checkpoints, line=LINE)
    server.step("proven", lambda: prove_nothing_new(server))
    server.client().versions.flatten(REF)
    return checkpoints


def prove_nothing_new(server):
    prove_all(prover_of(server))


def worker_of(server, name="worker"):
    return server.client(WORKER, principal=name, kind="wrk")


def forge(worker, grant, manifest, lie):
    """Answer a re-encode run with the bytes of another folder, as no honest worker does."""
    context = worker._context
    hold = LeaseHold(run=grant.run, fence=grant.fence)
    upload = context.api.post(f"/runs/{grant.run}:upload", hold, UploadInfo)
    with open_folder(lie) as folder:
        sent = send_pieces(context, upload, manifest, piece_sources(folder, manifest, {}))
    return worker.complete_reencode(
        grant.run, ReencodeReport(fence=grant.fence, upload=upload.id, storage_map=sent.storage.encode().decode())
    )


def manifest_of(client, ref):
    return fetch_manifest(client._context, resolve(client._context, Ref.parse(ref), bare="newest"))


def states(client, ref=REF):
    return [(one.state, one.why, one.proof) for one in client.storage.history(ref).forms]


def collected(server):
    admin = server.client(("read", "admin"), principal="root")
    admin.storage.collect(dry_run=False, grace_s=0)
    return admin


@BOTH_DATABASES
def test_zeros_for_a_reencode_run_are_never_served(server, run, tmp_path):
    """The attack: a worker's token answers one run with zeros, and collection takes what was."""
    mallory, client = worker_of(server, "mallory"), server.client()
    lie = zeros_of(run[1], tmp_path / "lie")
    before = client.show(REF)

    done = forge(mallory, claim(mallory), manifest_of(client, REF), lie)
    collected(server)
    waiting = client.show(REF)
    server.client().pull(REF, tmp_path / "waiting")
    proof = prove_one(prover_of(server), done.proof_run)
    admin = collected(server)
    after = client.show(REF)
    server.client().pull(REF, tmp_path / "after")

    assert same_files(tmp_path / "waiting", run[1])
    assert same_files(tmp_path / "after", run[1])
    assert {one.stored_bytes for one in (before, waiting, after)} == {before.stored_bytes}
    assert {one.proof for one in (before, waiting, after)} == {"proven"}
    assert (proof.proof, proof.form is not None) == ("corrupt", True)
    assert states(client) == [("served", "push", "proven"), ("refused", "reencode", "claimed")]
    (told,) = [row for row in admin.audit.list(limit=99).items if row.action == "version.refuse"]
    assert (told.actor, told.after["made_by"]) == ("prover", "mallory")
    assert admin.storage.fsck(read_data=True).findings == []


@BOTH_DATABASES
def test_who_made_a_form_does_not_prove_it_while_there_are_others(server, run):
    worker = worker_of(server)

    done = work(worker)
    mine = worker.lease(LeaseRequest(worker="w1", what=["prove"]))
    grant = prover_of(server).lease(LeaseRequest(worker="p", what=["prove"]))

    assert mine is None
    assert grant.run == done.proof_run
    assert server.client().show(REF).stored_bytes == done.stored_bytes.before


@BOTH_DATABASES
def test_the_only_worker_proves_its_own_form(server, run, tmp_path):
    revoke_keys(server)
    worker = worker_of(server, "only")

    done = work(worker)
    prove_one(worker, done.proof_run, name="w1")
    server.client().pull(REF, tmp_path / "out")

    assert server.client().show(REF).stored_bytes == done.stored_bytes.after
    assert server.client().show(REF).proof == "proven"
    assert same_files(tmp_path / "out", run[1])


def revoke_keys(server):
    with write(server.registry.engine) as conn:
        conn.execute(sa.update(t.signing_keys).values(revoked_at=1, reason="gone"))


@pytest.mark.soak
@ONE_STACK
def test_a_worker_that_comes_meanwhile_ends_its_being_alone(server, run):
    revoke_keys(server)
    worker = worker_of(server, "only")
    done = work(worker)
    grant = worker.lease(LeaseRequest(worker="w1", what=["prove"]))
    report = look(worker, grant)

    worker_of(server, "second")
    with pytest.raises(Forbidden, match="does not prove it"):
        worker.complete_proof(grant.run, report)

    assert server.client().show(REF).stored_bytes == done.stored_bytes.before


@BOTH_DATABASES
def test_what_was_served_is_kept_and_can_be_gone_back_to(server, run, tmp_path):
    client, prover = server.client(), prover_of(server)
    done = work(worker_of(server), prover)
    collected(server)
    kept = client.storage.history(REF).forms

    found = client.storage.revert(REF)
    collected(server)
    server.client().pull(REF, tmp_path / "out")
    again = prove_one(prover, found.run.id)

    assert [one.state for one in kept] == ["served", "former", "taken"]
    assert kept[1].until is not None
    assert [one.state for one in found.forms] == ["served", "former", "taken", "taken"]
    assert client.show(REF).stored_bytes == done.stored_bytes.before
    assert client.show(REF).proof == again.proof == "proven"
    assert same_files(tmp_path / "out", run[1])


@pytest.mark.soak
@ONE_STACK
def test_it_is_gone_back_to_from_its_page(server, run):
    done = work(worker_of(server), prover_of(server))
    line, _, number = REF.partition(":")
    path = f"/ui/deltas/{line}/{number}"
    with browser(server, server.admin_token) as client:
        former = client.get(f"{path}/storage?format=json").json()["history"]["forms"][1]
        shown = client.get(f"{path}/storage").text
        kept = client.get("/ui/storage/plan?format=json").json()["waiting"]
        form = {"word": word_of(client), "form": str(former["form"])}
        answer = client.post(f"{path}/revert", data=form)

    assert former["state"] == "former"
    assert "Go back to it" in shown
    assert [(each["ref"], each["form"], each["goes_at"]) for each in kept] == [(REF, former["form"], former["until"])]
    assert (answer.status_code, answer.headers["Location"][:9]) == (303, "/ui/runs/")
    assert server.client().show(REF).stored_bytes == done.stored_bytes.before


@ONE_STACK
def test_the_former_form_goes_when_its_time_is_over(server, run, tmp_path):
    client = server.client()
    work(worker_of(server), prover_of(server))
    admin = server.client(("read", "admin"), principal="root")
    planned = admin.storage.collect(dry_run=True, grace_s=0, keep_forms_s=0)

    freed = admin.storage.collect(dry_run=False, grace_s=0, keep_forms_s=0)
    server.client().pull(REF, tmp_path / "out")

    assert planned.packs == freed.packs > 0
    assert [state for state, *_ in states(client)] == ["served", "released", "taken"]
    with pytest.raises(NotFound):
        client.storage.revert(REF)
    assert same_files(tmp_path / "out", run[1])


@pytest.mark.soak
@ONE_STACK
def test_a_form_that_nobody_proves_goes_with_its_time(server, run):
    client = server.client()
    done = work(worker_of(server))
    admin = server.client(("read", "admin"), principal="root")

    admin.storage.collect(dry_run=False, grace_s=0, keep_forms_s=0)
    late = prover_of(server).lease(LeaseRequest(worker="p", what=["prove"], run=done.proof_run))

    assert [state for state, *_ in states(client)] == ["served", "dropped"]
    assert late is None
    assert client.show(REF).proof == "proven"


@pytest.mark.soak
@ONE_STACK
def test_a_second_form_takes_the_place_of_one_that_waits(server, run):
    client, worker = server.client(), worker_of(server)
    first = work(worker)
    client.versions.flatten(REF)
    second = work(worker)

    prover = prover_of(server)
    assert prover.lease(LeaseRequest(worker="p", what=["prove"], run=first.proof_run)) is None
    assert prove_one(prover, second.proof_run).proof == "proven"
    assert [state for state, *_ in states(client)] == ["served", "former", "taken", "dropped"]


@BOTH_DATABASES
def test_a_former_form_stays_when_another_one_is_proposed_while_it_waits(server, run, tmp_path):
    """It is to be served again once it is proven; meanwhile the version is stored anew."""
    client, prover, worker = server.client(), prover_of(server), worker_of(server)
    work(worker, prover)
    former = client.storage.history(REF).forms[1].form
    forget_that_it_was_proven(server, former)
    waiting = client.storage.revert(REF)
    client.versions.flatten(REF)
    work(worker)
    collected(server)

    again = client.storage.revert(REF, form=former)
    proof = prove_one(prover, again.run.id)
    server.client().pull(REF, tmp_path / "out")

    assert [one.state for one in waiting.forms] == ["served", "proposed", "taken"]
    assert proof.proof == client.show(REF).proof == "proven"
    assert same_files(tmp_path / "out", run[1])
    assert states(client)[0] == ("served", "revert", "proven")


def forget_that_it_was_proven(server, form):
    with write(server.registry.engine) as conn:
        conn.execute(sa.update(t.forms).where(t.forms.c.id == form).values(proven_at=None))


@ONE_STACK
def test_going_back_takes_a_right_and_something_to_go_back_to(server, run):
    reader = server.client(("read",), principal="reader")
    client = server.client()

    with pytest.raises(NotFound, match="no former form"):
        client.storage.revert(REF)
    work(worker_of(server), prover_of(server))
    former = client.storage.history(REF).forms[1].form
    with pytest.raises(Forbidden):
        reader.storage.revert(REF)
    with pytest.raises(NotFound):
        client.storage.revert(REF, form=former + 100)
    assert reader.storage.history(REF).forms[1].form == former
    damage_packs_of_form(server, former)
    with pytest.raises(Conflict, match="damaged as well"):
        client.storage.revert(REF)
    client.versions.delete(REF)
    with pytest.raises(Blocked):
        client.storage.revert(REF)


def damage_packs_of_form(server, form):
    held = sa.select(t.form_packs.c.pack_id).where(t.form_packs.c.form_id == form)
    with write(server.registry.engine) as conn:
        conn.execute(sa.update(t.packs).where(t.packs.c.id.in_(held)).values(bad_at=1))
