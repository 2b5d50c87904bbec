"""Pulls that take one request: what comes along, what does not, and what is asked anew each time."""

from contextlib import ExitStack

import httpx
import pytest

from deltareg.client import Client, ClientConfig
from deltareg.errors import Blocked, Conflict, InvalidInput, NotFound, Unauthenticated
from deltareg.wire.bundles import BundleHead, BundlePart, read_bundle, write_bundle
from tests.e2e.test_data_path import same_files
from tests.fixtures.registries import SAMPLES

DELTAS = SAMPLES / "deltas" / "tinyllama"
V1, V2 = DELTAS / "lora", DELTAS / "lora_v2"


class Wire(httpx.HTTPTransport):
    """A network that counts, and may belong to a server of before or change what comes."""

    def __init__(self, *, knows_bundles=True, damage=b""):
        super().__init__()
        self.paths, self.sizes = [], []
        self._knows_bundles, self._damage = knows_bundles, damage

    def handle_request(self, request):
        path = request.url.path.removeprefix("/api/v1")
        if path == "/bundle" and not self._knows_bundles:
            request = httpx.Request("GET", request.url.copy_with(path="/api/v1/nothing"), headers=request.headers)
        answer = super().handle_request(request)
        raw = answer.read()
        self.paths.append(path)
        self.sizes.append(len(raw))
        if path == "/bundle" and self._damage and self._damage in raw:
            return httpx.Response(200, content=raw.replace(self._damage, bytes(len(self._damage))))
        return httpx.Response(answer.status_code, headers=answer.headers, content=raw)


@pytest.fixture
def maker(local_registry):
    return local_registry.line("lora", "lora_v2")


@pytest.fixture
def connect(local_registry, maker, tmp_path):
    """Give a client behind a wire, with a cache that all of a test share."""
    token = local_registry.token("read", principal="nora")
    open_clients = ExitStack()

    def connect(**wire):
        network = Wire(**wire)
        config = ClientConfig(local_registry.url, token, cache_dir=tmp_path / "cache", retries=0)
        return open_clients.enter_context(Client(config, transport=network)), network

    with open_clients:
        yield connect


def test_a_small_version_comes_in_one_answer(connect, tmp_path):
    client, network = connect()

    report = client.pull("team/lora@prod", tmp_path / "out")

    assert network.paths == ["/bundle"]
    assert same_files(V2, report.path)
    assert report.cached_bytes == 0
    assert 0 < report.fetched_bytes <= client.show("team/lora:v2").cold_bytes


@pytest.mark.parametrize("to", ["out", None])
def test_what_is_current_costs_one_small_request(connect, tmp_path, to):
    folder = None if to is None else tmp_path / to
    client, network = connect()
    client.pull("team/lora@prod", folder)

    again = client.pull("team/lora@prod", folder)

    assert network.paths == ["/bundle", "/bundle"]
    assert again.fetched_bytes == 0
    assert network.sizes[1] < 3_000
    assert network.sizes[1] < network.sizes[0] / 8


def test_a_channel_that_moved_is_answered_as_it_is_now(connect, maker, tmp_path):
    client, network = connect()
    client.pull("team/lora@prod", tmp_path / "out")

    maker.rollback("team/lora", "prod")
    report = client.pull("team/lora@prod", tmp_path / "other")

    assert report.ref == "team/lora:v1"
    assert same_files(V1, report.path)
    assert network.paths == ["/bundle", "/bundle"]
    with pytest.raises(Conflict, match="holds something else"):
        client.pull("team/lora@prod", tmp_path / "out")


def test_who_may_no_longer_read_gets_nothing_of_what_is_here(connect, local_registry, maker, tmp_path):
    client, _ = connect()
    client.pull("team/lora:v1", tmp_path / "out")

    with Client(ClientConfig(local_registry.url, local_registry.admin_token)) as admin:
        mine = next(token for token in admin.tokens.list() if token.principal == "nora")
        admin.tokens.revoke(mine.id)

    with pytest.raises(Unauthenticated):
        client.pull("team/lora:v1", tmp_path / "out")


def test_what_is_deleted_is_refused_although_it_is_here(connect, maker, local_registry, tmp_path):
    client, _ = connect()
    client.pull("team/lora:v1", tmp_path / "out")

    with Client(ClientConfig(local_registry.url, local_registry.admin_token)) as admin:
        admin.versions.delete("team/lora:v1")

    with pytest.raises(Blocked, match="is deleted"):
        client.pull("team/lora:v1", tmp_path / "out")


def test_several_come_in_one_answer(connect, maker, tmp_path):
    maker.push(V1, "team/other", base="tinyllama")
    client, network = connect()

    reports = client.versions.pull_several(["team/lora:v2", "team/other:v1"], tmp_path)

    assert network.paths == ["/bundle"]
    assert [same_files(*pair) for pair in ((V2, reports[0].path), (V1, reports[1].path))] == [True, True]


def test_several_come_all_or_none(connect, tmp_path):
    client, _ = connect()

    with pytest.raises(NotFound):
        client.versions.pull_several(["team/lora:v2", "team/nothing:v1"], tmp_path / "to")

    assert not (tmp_path / "to").exists()


def test_a_server_of_before_is_asked_as_it_knows(connect, tmp_path):
    client, network = connect(knows_bundles=False)

    report = client.pull("team/lora@prod", tmp_path / "out")

    assert same_files(V2, report.path)
    assert network.paths[:2] == ["/bundle", "/resolve"]
    assert network.paths[-1].startswith("/blobs/")


def test_a_pack_that_came_damaged_is_fetched_by_itself(connect, maker, tmp_path):
    whole, _ = connect()
    whole.pull("team/lora:v1", tmp_path / "first")
    pack = next(entry.path for entry in whole.cache.entries() if entry.kind == "blobs")
    tail = pack.read_bytes()[-40:]
    whole.cache.prune(max_bytes=0)
    for note in (tmp_path / "cache" / "digests").iterdir():
        note.unlink()
    client, network = connect(damage=tail)

    report = client.pull("team/lora:v1", tmp_path / "out")

    assert same_files(V1, report.path)
    assert [path for path in network.paths if path.startswith("/blobs/")] != []


def test_a_bundle_that_is_cut_is_none(maker):
    head = BundleHead(
        versions=[maker.show("team/lora:v1")], parts=[BundlePart(kind="manifest", version=0, size_bytes=3)]
    )
    raw = write_bundle(head, [b"abc"])

    assert bytes(read_bundle(raw)[1][0]) == b"abc"
    for wrong in (raw[:-1], raw + b"d", b"", b"{}", raw.replace(b'"version":0', b'"version":1')):
        with pytest.raises(InvalidInput):
            read_bundle(wrong)
