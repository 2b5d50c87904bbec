"""Push: refused before a byte goes, gone on with where it stopped, changed under way."""

import json
import os
import shutil

import numpy as np
import pytest
import sqlalchemy as sa
from safetensors.numpy import save_file

from deltareg.client import Client, ClientConfig
from deltareg.db import tables as t
from deltareg.db.session import read
from deltareg.digest import sha256_of
from deltareg.errors import (
    Conflict,
    DeltaregError,
    Forbidden,
    InvalidInput,
    NotFound,
    Refused,
    Unavailable,
    UploadClosed,
)
from tests.e2e.test_data_path import same_files
from tests.fixtures.registries import SAMPLES

DELTAS = SAMPLES / "deltas" / "tinyllama"
LORA = DELTAS / "lora_qv"
BAD = [bad for bad in json.loads((SAMPLES / "manifest.json").read_text())["bad"] if bad["stage"] == "push"]
MB = 1 << 20


@pytest.fixture(scope="module")
def server(shared_registry):
    shared_registry.client().bases.push(SAMPLES / "bases" / "tinygpt2", "tinygpt2")
    return shared_registry


@pytest.fixture
def client(server):
    return server.client()


@pytest.mark.parametrize("bad", BAD, ids=lambda bad: bad["id"])
def test_what_is_broken_is_refused_and_leaves_nothing(server, client, bad):
    before = traces(server)

    with pytest.raises(Refused) as refused:
        client.push(SAMPLES / bad["path"], "bad/x", base=bad["base"])
    lint = client.lint(SAMPLES / bad["path"], base=str(SAMPLES / "bases" / bad["base"]))

    codes = {problem.code for problem in refused.value.problems}
    assert bad["expect"] in codes
    assert all(problem.message for problem in refused.value.problems)
    assert not lint.is_accepted
    assert {p.code for p in lint.problems if p.severity == "error"} == codes
    assert traces(server) == before
    assert client.lines.list("bad").items == []


def traces(server):
    """Count what a push leaves: uploads and objects."""
    with read(server.registry.engine) as conn:
        uploads = conn.execute(sa.select(sa.func.count()).select_from(t.uploads)).scalar()
    return uploads, len(list(server.registry.store.keys("blobs/")))


def test_the_state_of_a_trainer_stays_at_home(client, tmp_path):
    report = client.push(DELTAS / "lora_checkpoint", "team/checkpoint", base="tinyllama")
    client.pull("team/checkpoint:v1", tmp_path / "out")

    left = {line.partition(" ")[0] for line in report.left_out}
    carried = {path.name for path in (tmp_path / "out").iterdir()}
    assert left == {"optimizer.pt", "rng_state.pth", "scheduler.pt", "trainer_state.json", "training_args.bin"}
    assert carried == {path.name for path in (DELTAS / "lora_checkpoint").iterdir()} - left


def test_what_a_push_says_of_the_version(client):
    report = client.push(
        LORA,
        "team/labelled",
        base="tinyllama",
        message="on code",
        semver="1.4.0",
        labels={"data": "v2", "owner": "ada"},
        kind="lora",
    )
    version = client.show("team/labelled:1.4.0")

    assert (version.message, version.semver) == ("on code", "1.4.0")
    assert version.labels == {"data": "v2", "owner": "ada"}
    assert report.to_dict()["ref"] == version.ref == "team/labelled:v1"
    with pytest.raises(Conflict, match=r"1\.4\.0 exists"):
        client.push(DELTAS / "lora_dora", "team/labelled", base="tinyllama", semver="1.4.0")


@pytest.mark.parametrize(
    ("options", "error"),
    [
        ({"kind": "full"}, Refused),
        ({"kind": "odd"}, DeltaregError),
        ({"semver": "one"}, InvalidInput),
        ({"base": "absent"}, NotFound),
        ({"base": "a/b"}, InvalidInput),
        ({"base": ""}, InvalidInput),
        ({"line": "nonamespace"}, InvalidInput),
        ({"line": "Team/x"}, InvalidInput),
        ({"line": "a/../b"}, InvalidInput),
        ({"parents": ["team/absent"]}, NotFound),
        ({"parents": ["team/lora:v1", "team/lora:v1"]}, Refused),
        ({"path": "/nowhere"}, NotFound),
        ({"message": "x" * 2001}, InvalidInput),
        ({"message": "a\0b"}, InvalidInput),
        ({"base": "tinygpt2"}, Refused),
    ],
)
def test_what_cannot_be_pushed_so(client, options, error):
    arguments = {"path": LORA, "line": "odd/x", "base": "tinyllama"} | options

    with pytest.raises(error):
        client.push(type(LORA)(arguments.pop("path")), arguments.pop("line"), **arguments)

    assert client.lines.list("odd").items == []


def test_who_may_not_push_is_told(server):
    reader = server.client(("read",))

    with pytest.raises(Forbidden, match="push") as refused:
        reader.push(LORA, "team/x", base="tinyllama")
    with pytest.raises(Forbidden):
        reader.bases.push(SAMPLES / "bases" / "tinyllama_other", "other")

    assert "token create" in refused.value.fix


@pytest.fixture(scope="module")
def large(tmp_path_factory):
    """Write a base and a full fine-tune of four packs each, of which nothing can be saved."""
    folder, chance = tmp_path_factory.mktemp("large"), np.random.default_rng(7)
    for name in ("base", "tuned"):
        (folder / name).mkdir()
        rows = chance.integers(0x3D000000, 0x3DFFFFFF, (4, 1088, 4096), np.uint32)
        tensors = {f"layers.{n}.weight": row.view(np.float32) for n, row in enumerate(rows)}
        save_file(tensors, folder / name / "model.safetensors")
        (folder / name / "config.json").write_text('{"model_type": "plain"}')
    yield folder
    shutil.rmtree(folder)


def test_an_interrupted_push_sends_only_the_rest(local_registry, break_network, large, tmp_path):
    local_registry.client().bases.register(large / "base", "large")
    proxy = break_network(local_registry.url)
    proxy.breaks(r"PUT \S+/packs/2", "cut_request", times=99, after=MB)
    first = local_registry.client(server=proxy.url, retries=0)

    with pytest.raises(Unavailable):
        first.push(large / "tuned", "team/large", base="large")
    report = local_registry.client().push(large / "tuned", "team/large", base="large")

    packs = report.version.uploaded_bytes
    assert report.created
    assert packs > 50 * MB
    assert report.uploaded_bytes <= packs - 25 * MB
    assert len([line for line in proxy.seen if "/packs/" in line]) <= 4
    found = local_registry.client().pull("team/large:v1", tmp_path / "out")
    assert same_files(large / "tuned", found.path)
    client = local_registry.client()
    client.storage.collect(dry_run=False, grace_s=0)
    assert client.storage.fsck(read_data=True).findings == []
    assert sum(size for _, size in local_registry.registry.store.keys("blobs/")) == packs


class Meddler:
    """A progress that does something once, when the first bytes of a push have gone."""

    def __init__(self, act, label):
        self.act, self.label = act, label

    def task(self, label, total_bytes):
        self.is_it = label.startswith(self.label)
        return self

    def add(self, size_bytes):
        if self.is_it and self.act is not None:
            act, self.act = self.act, None
            act()

    def count_moved(self, size_bytes):
        pass

    def note(self, text):
        pass

    def close(self):
        pass


@pytest.fixture
def lora(tmp_path):
    return shutil.copytree(LORA, tmp_path / "lora")


@pytest.mark.parametrize("label", ["hashing", "pushing"])
def test_a_file_that_changes_under_a_push_is_no_version(server, lora, label):
    file = lora / "adapter_model.safetensors"

    def write():
        with file.open("r+b") as data:
            data.seek(-8, os.SEEK_END)
            data.write(b"\0" * 8)

    config = server.client().config
    namespace = f"meddled-{label}"
    meddled = Client(config, progress=Meddler(write, label))
    with meddled, pytest.raises(Conflict, match="changed while"):
        meddled.push(lora, f"{namespace}/x", base="tinyllama")

    assert server.client().lines.list(namespace).items == []
    assert server.client().push(lora, f"{namespace}/x", base="tinyllama").created


def test_a_push_that_is_collected_under_way_starts_over(server, lora):
    operator = server.client()
    config = server.client().config
    meddler = Meddler(lambda: operator.storage.collect(dry_run=False, grace_s=0), "pushing")

    with Client(config, progress=meddler) as client:
        report = client.push(lora, "collected/x", base="tinyllama")

    assert meddler.act is None
    assert report.created
    assert operator.storage.fsck(read_data=True).findings == []


def test_a_large_body_for_a_closed_upload_gets_its_answer(server, client):
    """The server answers before it has read the pack; the answer must come through all the same."""
    data = memoryview(bytes(40 * MB))
    digest = str(sha256_of(data))

    for upload in ("nowhere",) * 5:
        with pytest.raises(NotFound, match="no upload"):
            client._api.upload(f"/uploads/{upload}/packs/0", data, digest=digest, meter=lambda _: None)
    with pytest.raises((UploadClosed, NotFound)):
        client._api.send("GET", "/uploads/nowhere")


def test_lint_needs_no_server_when_the_base_is_a_folder(tmp_path):
    config = ClientConfig(server="http://127.0.0.1:9", cache_dir=tmp_path, patience_s=0.0)
    with Client(config) as client:
        report = client.lint(LORA, base=str(SAMPLES / "bases" / "tinyllama"))
        alone = client.lint(LORA)
        with pytest.raises(Unavailable):
            client.lint(LORA, base="tinyllama")

    assert report.is_accepted
    assert (report.kind, report.foldable, report.tensors) == ("lora", True, 8)
    assert alone.is_accepted
    assert {problem.severity for problem in alone.problems} == {"warning"}


def test_a_folder_of_notes_does_not_hide_the_base_of_its_name(client, tmp_path, monkeypatch):
    for name in ("tinyllama", "unknown"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "notes.md").write_text("what we know of it")
    monkeypatch.chdir(tmp_path)

    report = client.lint(LORA, base="tinyllama")
    pushed = client.push(LORA, "team/beside", base="tinyllama")
    refused = []
    for base in ("unknown", "./tinyllama", str(tmp_path / "tinyllama")):
        with pytest.raises(Refused) as caught:
            client.lint(LORA, base=base)
        refused.append(caught.value.problems[0].message)

    assert report.is_accepted
    assert pushed.version.base.name == "tinyllama"
    assert refused == [
        "unknown holds no safetensors file",
        "tinyllama holds no safetensors file",
        f"{tmp_path / 'tinyllama'} holds no safetensors file",
    ]
