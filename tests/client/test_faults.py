"""A network that breaks at any request: what the client says happened is what happened."""

import http.server
import itertools
import threading

import pytest

from deltareg.client import Client, ClientConfig
from deltareg.errors import DeltaregError, Unavailable
from deltareg.service.lines import bundles
from deltareg.wire import LeaseHold, LeaseRequest, RunFailure, TokenCreate
from tests.e2e.test_data_path import same_files
from tests.fixtures.fault_proxy import KINDS
from tests.fixtures.registries import SAMPLES, SCOPES, report

LORA = SAMPLES / "deltas" / "tinyllama" / "lora_qv"
NUMBERS = itertools.count(1)


@pytest.fixture(scope="module")
def server(shared_registry):
    """Give the shared registry a second version to promote."""
    shared_registry.line("lora_v2")
    return shared_registry


@pytest.fixture
def proxy(server, break_network):
    return break_network(server.url)


@pytest.fixture
def client(server, proxy):
    made = server.client(retries=4, server=proxy.url)
    made._api._patience._sleep = lambda _: None
    return made


PUSH = [r"GET \S+/bases/tinyllama$", r"POST \S+/uploads$", r"PUT \S+/packs/0", r"POST \S+:complete"]
PULL = [r"GET \S+/manifest", r"GET \S+/storage", r"GET \S+/blobs/"]


def queued(server):
    """Queue a run that is the only one; a worker takes runs and asks for none."""
    for run in server.client().runs.list(state="queued", limit=200).items:
        cancel(server, run.id)
    return server.client().verify("team/lora:v1", again=True)


def cancel(server, run_id):
    server.client()._api.send("POST", f"/runs/{run_id}:cancel")


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("match", PUSH)
def test_a_push_is_made_once(server, proxy, client, match, kind):
    line = f"net{next(NUMBERS)}/lora"
    proxy.breaks(match, kind)

    pushed = client.push(LORA, line, base="tinyllama")

    assert proxy.hits == 1
    assert pushed.created
    assert len(server.client().versions.list(line).items) == 1


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("match", PULL)
def test_a_pull_is_whole(proxy, client, tmp_path, monkeypatch, match, kind):
    proxy.breaks(match, kind)

    monkeypatch.setattr(bundles, "DOCUMENTS_BYTES", 0)  # as of a larger version, of which nothing comes along
    client.pull("team/lora:v1", tmp_path / "out")

    assert proxy.hits == 1
    assert same_files(SAMPLES / "deltas" / "tinyllama" / "lora", tmp_path / "out")


@pytest.mark.parametrize("kind", KINDS)
def test_a_pull_in_one_answer_is_whole(proxy, client, tmp_path, kind):
    proxy.breaks(r"GET \S+/bundle", kind)

    client.pull("team/lora:v1", tmp_path / "out")

    assert proxy.hits == 1
    assert same_files(SAMPLES / "deltas" / "tinyllama" / "lora", tmp_path / "out")


@pytest.mark.parametrize("kind", KINDS)
def test_a_move_is_made_once_and_a_quarantine_cleared(server, proxy, client, kind):
    name = f"c{next(NUMBERS)}"
    client.channels.create("team/lora", name)
    proxy.breaks(r"POST \S+/revisions", kind, times=2)
    proxy.breaks(r"DELETE \S+/quarantine", kind)

    promoted = client.promote("team/lora:v1", name)
    client.promote("team/lora:v2", name)
    back = client.rollback("team/lora", name)
    cleared = client.channels.clear_quarantine("team/lora", name, 2, reason="x")

    history = server.client().channels.history("team/lora", name).items
    assert proxy.hits == 3
    assert (promoted.revision, back.revision, back.version) == (1, 3, 1)
    assert [revision.version for revision in history] == [1, 2, 1]
    assert cleared.quarantined == []


@pytest.mark.parametrize("kind", KINDS)
def test_a_run_is_judged_once(server, proxy, kind):
    worker = server.client(("read", "verify"), principal="worker", kind="wrk", server=proxy.url, retries=4)
    worker._api._patience._sleep = lambda _: None
    run = queued(server)
    proxy.breaks(r"POST \S+:complete", kind)
    proxy.breaks(r"PATCH \S+/leases", kind)

    grant = worker.lease(LeaseRequest(worker="scripted"))
    worker.heartbeat(LeaseHold(run=grant.run, fence=grant.fence))
    verdict = worker.complete_run(grant.run, report(grant))

    assert (grant.run, proxy.hits) == (run.id, 2)
    assert worker.runs.show(run.id).verdict.id == verdict.id


@pytest.mark.parametrize("kind", KINDS)
def test_other_changes_are_made(server, proxy, client, kind):
    line = f"net{next(NUMBERS)}/lora"
    client.push(LORA, line, base="tinyllama")
    for match in (r"DELETE \S+/versions", r"POST \S+/tokens", r"POST \S+/fsck", r"POST \S+/runs$"):
        proxy.breaks(match, kind)

    run = client.verify(f"{line}:v1", again=True)
    deleted = client.versions.delete(f"{line}:v1")
    token = client.tokens.create(TokenCreate(principal="net"))
    checked = client.storage.fsck()

    assert proxy.hits == 4
    assert deleted.is_deleted
    assert run.state == "queued"
    assert token.token
    assert checked.findings == []
    cancel(server, run.id)


@pytest.mark.parametrize("kind", KINDS)
def test_a_network_that_stays_broken_is_told(server, proxy, client, tmp_path, kind):
    namespace = f"net{next(NUMBERS)}"
    store = server.registry.store
    proxy.breaks(r"PUT \S+/packs", kind, times=99)
    proxy.breaks(r"GET \S+/blobs", kind, times=99)

    with pytest.raises(Unavailable):
        client.push(LORA, f"{namespace}/lora", base="tinyllama")
    with pytest.raises(Unavailable):
        client.pull("team/lora:v1", tmp_path / "out")

    assert not list(tmp_path.iterdir())
    assert server.client().lines.list(namespace).items == []
    assert proxy.hits == 10
    server.client().storage.collect(dry_run=False, grace_s=0)
    assert server.client().storage.fsck(read_data=True).findings == []
    assert list(store.keys("blobs/"))


def test_a_server_that_is_not_there_is_told_when_patience_ends(tmp_path):
    config = ClientConfig(server="http://127.0.0.1:9", cache_dir=tmp_path, patience_s=0.5)
    with Client(config) as client:
        assert not client.ready()
        with pytest.raises(Unavailable, match="no registry answers"):
            client.whoami()


def test_a_failed_run_is_given_back_once(server, proxy):
    worker = server.client(("read", "verify"), principal="worker", kind="wrk", server=proxy.url, retries=4)
    worker._api._patience._sleep = lambda _: None
    run = queued(server)
    grant = worker.lease(LeaseRequest(worker="scripted"))
    proxy.breaks(r"POST \S+:fail", "reset")

    worker.fail_run(grant.run, RunFailure(fence=grant.fence, error="no memory"))

    assert worker.runs.show(run.id).state == "queued"
    cancel(server, run.id)


def test_what_is_no_registry_is_told(server, break_network):
    class Page(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            self.send_response(200)
            self.end_headers()
            self.wfile.write(b"<html>hello</html>")

        def log_message(self, *_):
            pass

    with http.server.HTTPServer(("127.0.0.1", 0), Page) as site:
        thread = threading.Thread(target=site.serve_forever)
        thread.start()
        client = server.client(SCOPES, server=f"http://127.0.0.1:{site.server_port}")
        with pytest.raises(DeltaregError, match="not what this client understands"):
            client.whoami()
        site.shutdown()
        thread.join()
