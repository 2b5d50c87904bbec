"""What a version costs beside its base and the versions before it, and that it comes back."""

import os
import shutil

import httpx
import numpy as np
import pytest
import sqlalchemy as sa
from safetensors.numpy import load_file, save_file

from deltareg.client import Client, ClientConfig
from deltareg.db import tables as t
from deltareg.db.session import read
from deltareg.identity.pack_spans import MOST_TIMES
from deltareg.identity.storage_map import DEPTH_MAX, StorageMap
from tests.client.checkpoints import LINE, NAMES, trained, weights, write, write_run
from tests.client.test_push import Meddler
from tests.e2e.test_data_path import same_files
from tests.fixtures.registries import BOTH_DATABASES, ONE_STACK, SAMPLES
from tests.proving import prove_all, prover_of

LORA = SAMPLES / "deltas" / "tinyllama" / "lora"
SMALL = 20_000
"""Headers, small files and the bytes around them, of which a version has always some."""


@pytest.fixture
def server(registry_server):
    return registry_server


def storage_of(server, ref):
    """Give the storage map of a version as it is now."""
    name, _, number = ref.partition(":v")
    path = f"/deltas/{name}/versions/{number}/storage"
    return StorageMap.decode(server.http(server.admin_token).get(path).content)


def depths(server, ref):
    """Give the depth of every piece in a version's map."""
    storage = storage_of(server, ref)
    return [storage.chain(digest).depth for digest in storage.pieces]


def live_bytes(server):
    """Sum the packs that the store holds."""
    query = sa.select(sa.func.coalesce(sa.func.sum(t.packs.c.size_bytes), 0))
    with read(server.registry.engine) as conn:
        return int(conn.execute(query).scalar_one())


def pushed(client, paths, line=LINE, **options):
    """Push folders as versions of a line, one after another."""
    return [client.push(path, line, base="base", **options) for path in paths]


@ONE_STACK
def test_a_run_of_checkpoints_is_stored_as_its_steps(server, tmp_path):
    base, *run = write_run(tmp_path, 6, late=True)
    client = server.client()
    client.bases.push(base, "base")

    reports = pushed(client, run)
    alone = [server.client().push(p, f"alone/v{n}", base="base") for n, p in enumerate(run)]

    costs = [report.uploaded_bytes for report in reports]
    assert costs[1] < alone[1].uploaded_bytes * 0.2
    assert sum(costs) < sum(report.uploaded_bytes for report in alone) * 0.5
    assert [max(depths(server, report.version.ref)) for report in reports] == [1, 2, 3, 4, 1, 2]
    for report, path in zip(reports, run, strict=True):
        server.client(("read",)).pull(report.version.ref, tmp_path / "out" / path.name)
        assert same_files(tmp_path / "out" / path.name, path)


def test_a_version_stands_without_the_ones_that_it_was_encoded_against(server, tmp_path):
    base, *run = write_run(tmp_path, 3, late=True)
    client = server.client()
    client.bases.push(base, "base")
    pushed(client, run)

    for version in ("v1", "v2"):
        client.versions.delete(f"{LINE}:{version}")
    freed = client.storage.collect(dry_run=False, grace_s=0)
    server.client().pull(f"{LINE}:v3", tmp_path / "out")

    assert freed.bytes < SMALL
    assert same_files(tmp_path / "out", run[2])
    assert client.storage.fsck(read_data=True).findings == []
    client.versions.delete(f"{LINE}:v3")
    client.storage.collect(dry_run=False, grace_s=0)
    with read(server.registry.engine) as conn:
        assert conn.execute(sa.select(sa.func.count()).select_from(t.version_packs)).scalar() == 0


@ONE_STACK
def test_a_folder_that_was_touched_is_no_reference(server, tmp_path):
    base, first, second = write_run(tmp_path, 2, late=True)
    client = server.client()
    client.bases.push(base, "base")
    pushed(client, [first])
    os.utime(first / "model.safetensors", (1, 1))

    pushed(client, [second])

    assert max(depths(server, f"{LINE}:v2")) == 1


@ONE_STACK
def test_a_folder_that_was_pulled_serves_as_well_as_the_one_that_was_pushed(server, tmp_path):
    base, first, second = write_run(tmp_path, 2, late=True)
    server.client().bases.push(base, "base")
    pushed(server.client(), [first])
    client = server.client()

    client.pull(f"{LINE}:v1", tmp_path / "pulled")
    shutil.rmtree(first)
    pushed(client, [second])

    assert max(depths(server, f"{LINE}:v2")) == 2


@ONE_STACK
def test_the_declared_parent_is_taken_before_a_newer_version(server, tmp_path):
    base, first, second = write_run(tmp_path, 2, late=True)
    other = write(tmp_path / "other", trained(load_file(base / "model.safetensors"), 99))
    client = server.client()
    client.bases.push(base, "base")
    pushed(client, [first, other])

    pushed(client, [second], parents=[f"{LINE}:v1"])

    own, first_own = storage_of(server, f"{LINE}:v3"), storage_of(server, f"{LINE}:v1")
    named = {piece.reference for piece in own.pieces.values()} & first_own.pieces.keys()
    assert len(named) == len(NAMES)


@ONE_STACK
def test_the_base_is_taken_where_it_is_nearer(server, tmp_path):
    base, first, _ = write_run(tmp_path, 2, share=0.9, step=200)
    second = write(tmp_path / "near", trained(load_file(base / "model.safetensors"), 5))
    client = server.client()
    client.bases.push(base, "base")

    pushed(client, [first, second])

    assert max(depths(server, f"{LINE}:v2")) == 1


@ONE_STACK
def test_successive_adapters_stand_alone_where_both_would_be_fetched(server, tmp_path):
    client = server.client()
    client.bases.push(SAMPLES / "bases" / "tinyllama", "base")
    first = shutil.copytree(LORA, tmp_path / "v1")
    second = shutil.copytree(LORA, tmp_path / "v2")
    file = second / "adapter_model.safetensors"
    factors = {name: tensor.copy() for name, tensor in load_file(file).items()}
    for tensor in factors.values():
        tensor.view(np.uint32)[...] += 1
    save_file(factors, file, metadata={"format": "pt"})

    pushed(client, [first, second])
    pulled = server.client().pull(f"{LINE}:v2", tmp_path / "out")
    alone = server.client().push(second, "alone/adapter", base="base")

    assert pulled.fetched_bytes <= MOST_TIMES * alone.uploaded_bytes
    assert same_files(tmp_path / "out", second)


@ONE_STACK
def test_unchanged_tensors_cost_nothing_wherever_they_come_from(server, tmp_path):
    base, first = write_run(tmp_path, 1)
    client = server.client()
    client.bases.push(base, "base")
    own, before = load_file(base / "model.safetensors"), load_file(first / "model.safetensors")
    # One tensor is the base's, one the earlier version's, one is trained on a little.
    mixed = before | {NAMES[0]: own[NAMES[0]]}
    second = write(tmp_path / "v2", trained(mixed, 8, share=0.001, names=[NAMES[2]]))

    pushed(client, [first])
    report = server.client().push(second, LINE, base="base")

    alone = {piece.digest for piece in storage_of(server, f"{LINE}:v2").pieces.values()}
    assert len(alone & storage_of(server, f"{LINE}:v1").pieces.keys()) >= 1
    assert report.uploaded_bytes < before[NAMES[2]].nbytes * 0.6, "one tensor at most"


@ONE_STACK
def test_a_few_changed_rows_cost_a_few_rows(server, tmp_path):
    client = server.client()
    base = write(tmp_path / "base", weights())
    client.bases.push(base, "base")
    tuned = weights()
    tuned[NAMES[0]][[3, 70, 411]] += np.float16(0.01)
    tuned[NAMES[2]] = tuned[NAMES[1]].copy()  # a duplicate of another tensor of the base

    (report,) = pushed(client, [write(tmp_path / "v1", tuned)])
    server.client().pull(f"{LINE}:v1", tmp_path / "out")

    changed = 3 * tuned[NAMES[0]][0].nbytes
    assert report.uploaded_bytes < changed + SMALL / 4
    assert same_files(tmp_path / "out", tmp_path / "v1")


@BOTH_DATABASES
def test_the_same_tensor_in_two_lines_of_a_namespace_is_stored_once(server, tmp_path):
    base, first = write_run(tmp_path, 1)
    client = server.client()
    client.bases.push(base, "base")
    pushed(client, [first])
    prove_all(prover_of(server))
    before = live_bytes(server)

    same = server.client().push(first, "team/copy", base="base")
    elsewhere = server.client().push(first, "others/copy", base="base")

    assert same.uploaded_bytes == 0
    assert live_bytes(server) == before + elsewhere.uploaded_bytes


@BOTH_DATABASES
def test_a_known_piece_is_offered_with_all_that_it_needs(server, tmp_path):
    base, first, second = write_run(tmp_path, 2, late=True)
    client = server.client()
    client.bases.push(base, "base")
    pushed(client, [first, second])
    prove_all(prover_of(server))

    again = server.client().push(second, "team/copy", base="base")
    server.client().pull("team/copy:v1", tmp_path / "out")

    assert again.uploaded_bytes == 0
    assert max(depths(server, "team/copy:v1")) == 2 <= DEPTH_MAX
    assert same_files(tmp_path / "out", second)


@ONE_STACK
@pytest.mark.parametrize("how", ["taken away", "written to"])
def test_an_earlier_version_that_changes_under_a_push_is_not_used(server, tmp_path, how):
    """A worker's folder, for one: it is there for as long as a verification takes."""
    base, first, second = write_run(tmp_path, 2, late=True)
    client = server.client()
    client.bases.push(base, "base")
    client.push(first, LINE, base="base")

    def meddle():
        file = first / "model.safetensors"
        file.unlink() if how == "taken away" else file.touch()

    config = ClientConfig(server=server.url, token=server.admin_token, cache_dir=client.config.cache_dir)
    with Client(config, progress=Meddler(meddle, "pushing")) as other:
        report = other.push(second, LINE, base="base")
        pulled = other.pull(report.version.ref, tmp_path / "out")

    assert same_files(second, pulled.path)
    assert depths(server, report.version.ref).count(2) == 0


class Deleting(httpx.HTTPTransport):
    """A network on which a version is deleted just before its storage map is asked for."""

    def __init__(self, delete):
        super().__init__(verify=False)
        self.delete, self.times = delete, 0

    def handle_request(self, request):
        if request.method == "GET" and request.url.path.endswith("/storage"):
            self.times += 1
            self.delete()
        return super().handle_request(request)


@ONE_STACK
def test_an_earlier_version_that_is_deleted_under_a_push_is_not_used(server, tmp_path):
    base, first, second = write_run(tmp_path, 2, late=True)
    client = server.client()
    client.bases.push(base, "base")
    client.push(first, LINE, base="base")
    network = Deleting(lambda: client.versions.delete(f"{LINE}:v1"))

    config = ClientConfig(server=server.url, token=server.admin_token, cache_dir=client.config.cache_dir)
    with Client(config, transport=network) as other:
        report = other.push(second, LINE, base="base")
    server.client().pull(report.version.ref, tmp_path / "out")

    assert network.times == 1
    assert report.created
    assert same_files(second, tmp_path / "out")
    assert depths(server, report.version.ref).count(2) == 0


@pytest.mark.parametrize("of", ["the base", "a version"])
@ONE_STACK
def test_two_layers_that_change_places_are_stored_and_come_back(server, tmp_path, of):
    states = [weights()]
    states[0][NAMES[2]] = trained({NAMES[1]: states[0][NAMES[1]]}, 1, names=NAMES[1:2])[NAMES[1]]  # alike
    states += [trained(states[0], 2, names=NAMES[:1] if of == "the base" else NAMES)]
    states += [states[1] | {NAMES[1]: states[1][NAMES[2]], NAMES[2]: states[1][NAMES[1]]}]
    base, plain, exchanged = (write(tmp_path / str(at), state) for at, state in enumerate(states))
    client = server.client()
    client.bases.push(base, "base")

    _, report = pushed(client, [plain, exchanged])

    server.client(("read",)).pull(report.version.ref, tmp_path / "out")
    assert same_files(tmp_path / "out", exchanged)
