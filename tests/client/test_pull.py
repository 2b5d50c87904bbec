"""Pull and materialize: into new, empty, full and shared places; damaged bytes; no room."""

import os
import shutil
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from deltareg.client.folders.folder import open_folder
from deltareg.errors import BaseMismatch, BlobMissing, Conflict, IntegrityFailure, InvalidInput, NotFound
from tests.e2e.test_data_path import same_files
from tests.fixtures.registries import SAMPLES

LORA = SAMPLES / "deltas" / "tinyllama" / "lora"
FULL = SAMPLES / "deltas" / "tinyllama" / "full"


@pytest.fixture(scope="module")
def server(shared_registry):
    """Add a full fine-tune to the shared registry, encoded against its base."""
    client = shared_registry.client()
    client.push(FULL, "team/full", base=str(SAMPLES / "bases" / "tinyllama"))
    return shared_registry


@pytest.fixture
def client(server):
    return server.client(("read",))


def blobs(client):
    return [entry.path for entry in client.cache.entries() if entry.kind == "blobs"]


def damage(path):
    """Change one byte in the middle."""
    path.chmod(0o644)
    raw = bytearray(path.read_bytes())
    raw[len(raw) // 2] ^= 1
    path.write_bytes(raw)


def test_into_a_new_folder(client, tmp_path):
    report = client.pull("team/lora", tmp_path / "deep" / "er" / "out")

    assert report.ref == "team/lora:v1"
    assert report.fetched_bytes > 0
    assert same_files(LORA, tmp_path / "deep" / "er" / "out")
    assert [p.name for p in (tmp_path / "deep" / "er").iterdir()] == ["out"]


def test_into_a_folder_that_is_there_and_empty(client, tmp_path, monkeypatch):
    (tmp_path / "out").mkdir()
    inode = (tmp_path / "out").stat().st_ino
    monkeypatch.chdir(tmp_path / "out")

    client.pull("team/lora", tmp_path / "out")

    assert (tmp_path / "out").stat().st_ino == inode
    assert same_files(LORA, tmp_path / "out")


@pytest.mark.parametrize("name", [".", "../out", "./", "sub/.."])
def test_into_the_working_folder(client, tmp_path, monkeypatch, name):
    (tmp_path / "out").mkdir()
    monkeypatch.chdir(tmp_path / "out")
    if name == "sub/..":
        (tmp_path / "out" / "sub").mkdir()
        with pytest.raises(Conflict):
            client.pull("team/lora", Path(name))
        return

    report = client.pull("team/lora", Path(name))

    assert same_files(LORA, report.path)
    assert same_files(LORA, tmp_path / "out")


def test_into_a_folder_that_holds_it_already(client, tmp_path):
    client.pull("team/lora", tmp_path / "out")
    before = sorted((p, p.stat().st_mtime_ns) for p in (tmp_path / "out").iterdir())

    again = client.pull("team/lora", tmp_path / "out")

    assert again.fetched_bytes == 0
    assert sorted((p, p.stat().st_mtime_ns) for p in (tmp_path / "out").iterdir()) == before


@pytest.mark.parametrize("change", ["more", "less", "other"])
def test_into_a_folder_that_holds_something_else(client, tmp_path, change):
    out = shutil.copytree(LORA, tmp_path / "out")
    if change == "more":
        (out / "mine.txt").write_text("mine")
    elif change == "less":
        (out / "adapter_config.json").unlink()
    else:
        damage(out / "adapter_model.safetensors")
    before = {p.name: p.read_bytes() for p in out.iterdir()}

    with pytest.raises(Conflict, match="holds something else"):
        client.pull("team/lora", out)
    with pytest.raises(Conflict, match="not empty"):
        client.materialize("team/lora", out)

    assert {p.name: p.read_bytes() for p in out.iterdir()} == before


@pytest.mark.parametrize("kind", ["file", "broken link"])
def test_over_something_that_is_no_folder(client, tmp_path, kind):
    out = tmp_path / "out"
    out.write_text("mine") if kind == "file" else out.symlink_to("nowhere")

    for act in (client.pull, client.materialize):
        with pytest.raises(Conflict):
            act("team/lora", out)

    assert out.is_symlink() or out.read_text() == "mine"


def test_what_was_killed_before_is_not_in_the_way(client, tmp_path):
    (tmp_path / "out" / ".deltareg-1-2").mkdir(parents=True)

    client.pull("team/lora", tmp_path / "out")

    assert (tmp_path / "out" / "adapter_config.json").exists()


def test_the_second_time_nothing_is_fetched(client, tmp_path):
    first = client.pull("team/lora", tmp_path / "one")
    second = client.pull("team/lora", tmp_path / "two")
    into_cache = client.pull("team/lora")
    again = client.pull("team/lora")

    assert first.fetched_bytes > 0
    assert {report.fetched_bytes for report in (second, into_cache, again)} == {0}
    assert again.cached_bytes > 0
    assert same_files(LORA, again.path)


def test_two_processes_share_a_cache(server, processes, tmp_path):
    """Twelve pulls at once into one empty cache, from three processes."""
    token, cache = server.token("read"), tmp_path / "cache"
    program = Path(__file__).with_name("pulling_twice.py")
    started = [
        processes.start(
            name,
            sys.executable,
            str(program),
            server.url,
            token,
            str(cache),
            str(tmp_path / name),
            environ=processes.environ(name),
        )
        for name in "abc"
    ]

    assert [each.wait() for each in started] == [0, 0, 0], [each.errors for each in started]
    outs = [tmp_path / name / number for name in "abc" for number in "01"]
    assert all(same_files(outs[0], out) for out in outs[1:])
    assert len(list((cache / "snapshots").iterdir())) == 1, "a full delta is folded from packs"
    assert not list((cache / "tmp").iterdir())
    assert not list(cache.rglob(".deltareg-*"))


def test_two_pulls_into_one_folder_at_once(server, tmp_path):
    clients = [server.client(("read",)) for _ in range(4)]
    together, failed = threading.Barrier(4), []

    def run(client):
        together.wait()
        try:
            client.pull("team/lora", tmp_path / "out")
        except Conflict as error:
            failed.append(error)

    threads = [threading.Thread(target=run, args=[client]) for client in clients]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert failed == []
    assert same_files(LORA, tmp_path / "out")
    assert not list(tmp_path.glob(".deltareg-*"))


def test_a_damaged_pack_in_the_cache_is_fetched_anew(client, tmp_path):
    client.pull("team/lora", tmp_path / "one")
    (pack,) = blobs(client)
    damage(pack)

    assert client.cache.verify() == [f"sha256:{pack.name}"]
    healed = client.pull("team/lora", tmp_path / "two")

    assert healed.fetched_bytes > 0
    assert same_files(LORA, tmp_path / "two")
    assert client.cache.verify() == []


def test_a_short_pack_in_the_cache_is_fetched_anew(client, tmp_path):
    client.pull("team/lora", tmp_path / "one")
    (pack,) = blobs(client)
    pack.chmod(0o644)
    os.truncate(pack, 10)

    assert client.pull("team/lora", tmp_path / "two").fetched_bytes > 0


def test_a_snapshot_that_somebody_wrote_into_is_made_anew(client, tmp_path):
    path = client.pull("team/lora").path
    damage(path / "adapter_model.safetensors")

    again = client.pull("team/lora")
    merged = client.materialize("team/lora", tmp_path / "merged")

    assert same_files(LORA, again.path)
    assert merged.root == client.materialize("team/lora", tmp_path / "other").root


def test_a_base_in_the_cache_that_somebody_wrote_into_is_made_anew(local_registry, tmp_path):
    base = shutil.copytree(SAMPLES / "bases" / "tinyllama", tmp_path / "base")
    client = local_registry.client()
    client.bases.push(base, "tinyllama")
    client.push(LORA, "team/lora", base="tinyllama")
    shutil.rmtree(base)  # now the registry alone has it
    first = client.materialize("team/lora:v1", tmp_path / "one")
    (kept,) = (client.cache.path / "bases").iterdir()
    damage(kept / "model.safetensors")

    second = client.materialize("team/lora:v1", tmp_path / "two")

    assert first.root == second.root
    assert same_files(tmp_path / "one", tmp_path / "two")


def test_a_damaged_pack_in_the_store_is_never_handed_out(local_registry, tmp_path):
    client = local_registry.line("lora")
    for file in (local_registry.folder / "blobs").rglob("*"):
        if file.is_file():
            damage(file)
    reader = local_registry.client(("read",))

    with pytest.raises(IntegrityFailure):
        reader.pull("team/lora", tmp_path / "out")
    with pytest.raises(IntegrityFailure):
        reader.materialize("team/lora", tmp_path / "merged")

    assert not (tmp_path / "out").exists()
    assert not (tmp_path / "merged").exists()
    assert blobs(reader) == []
    assert {f.kind for f in client.storage.fsck(read_data=True).findings} == {"data"}
    assert client.storage.fsck().findings == []


def test_a_pack_that_the_store_lost_is_told(registry_server, tmp_path):
    registry_server.line("lora")
    reader = registry_server.client(("read",))
    store = registry_server.registry.store
    for key, _ in list(store.keys("blobs/")):
        store.delete(key)

    with pytest.raises(BlobMissing, match="no object") as missing:
        reader.pull("team/lora", tmp_path / "out")

    assert "fsck" in missing.value.fix or not missing.value.fix
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("ref", "error"),
    [
        ("team/absent", NotFound),
        ("team/lora:v9", NotFound),
        ("team/lora@dev", NotFound),
        ("team/lora@absent", NotFound),
        ("team/full", NotFound),
        ("team", InvalidInput),
        ("team/lora@", InvalidInput),
        (f"team/lora@sha256:{'0' * 64}", NotFound),
        ("", InvalidInput),
        ("../x", InvalidInput),
        ("team/lora:v0", InvalidInput),
        ("team/lora@prod~1", NotFound),
    ],
)
def test_references_that_lead_nowhere(client, tmp_path, ref, error):
    with pytest.raises(error):
        client.pull(ref, tmp_path / "out")

    assert not (tmp_path / "out").exists()


def test_a_line_without_a_promoted_version_lists_the_choices(client):
    with pytest.raises(NotFound, match="nothing is on") as missing:
        client.pull("team/full")

    assert "team/full:v1" in missing.value.fix


def test_materialize_refuses_what_is_not_asked_for(client, tmp_path):
    with pytest.raises(InvalidInput, match="dtype"):
        client.materialize("team/lora", tmp_path / "out", dtype="int4")
    with pytest.raises(BaseMismatch):
        client.materialize("team/lora", tmp_path / "out", base=SAMPLES / "bases" / "tinyllama_other")
    with pytest.raises(IntegrityFailure, match="root"):
        client.materialize("team/lora", tmp_path / "out", expect=f"blake3:{'0' * 64}")

    assert not list(tmp_path.glob("*out*"))


@pytest.mark.parametrize("dtype", ["bf16", "f16", "f32"])
def test_materialize_in_another_dtype(client, tmp_path, dtype):
    client.materialize("team/lora", tmp_path / "out", dtype=dtype)

    with open_folder(tmp_path / "out", purpose="base") as folder:
        assert {tensor.dtype for tensor in folder.tensors.values()} == {dtype.upper()}


def test_materialize_keeps_the_shards_of_the_base(server, tmp_path):
    client = server.client()

    merged = client.materialize("team/lora", tmp_path / "out", base=SAMPLES / "bases" / "tinyllama_sharded")

    names = {p.name for p in (SAMPLES / "bases" / "tinyllama_sharded").iterdir()}
    assert {p.name for p in (tmp_path / "out").iterdir()} == names
    assert merged.root == client.materialize("team/lora", tmp_path / "whole").root


SCRIPT = """
import sys
from pathlib import Path
from deltareg.client import Client, ClientConfig
from deltareg.errors import DiskFull
server, token, *jobs = sys.argv[1:]
for job in jobs:
    what, small, cache = job.split("|")
    with Client(ClientConfig(server=server, token=token, cache_dir=Path(cache))) as client:
        try:
            getattr(client, what)("team/full:v1", Path(small) / "out")
        except DiskFull as error:
            print(what, error.message, error.fix)
            whole = ("digests", "manifests")
            left = [p for p in Path(small).rglob("*") if p.is_file() and p.parent.name not in whole]
            if left:
                sys.exit(f"{job} left {left}")
        else:
            sys.exit(f"{job}: there was room")
"""
# What is done, and what of it lies on the full disk.
ON_A_FULL_DISK = [("pull", "out"), ("materialize", "out"), ("pull", "cache")]


def test_a_disk_that_is_full(server, tmp_path):
    """Really full: file systems of 64 KiB in a mount namespace of their own."""
    if subprocess.run(["unshare", "-Urm", "true"], check=False, capture_output=True).returncode:
        pytest.skip("needs user namespaces: unshare -Urm")
    jobs, mounts = [], ""
    for number, (what, small) in enumerate(ON_A_FULL_DISK):
        disk, cache = tmp_path / f"disk-{number}", tmp_path / f"cache-{number}"
        disk.mkdir()
        jobs.append(f"{what}|{disk}|{disk if small == 'cache' else cache}")
        mounts += f'mount -t tmpfs -o size=64k tmpfs "{disk}" && '
    words = [sys.executable, "-c", SCRIPT, server.url, server.token("read"), *jobs]

    run = subprocess.run(
        ["unshare", "-Urm", "sh", "-c", mounts + 'exec "$@"', "sh", *words],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )

    assert run.returncode == 0, run.stderr
    assert run.stdout.count("is full") == len(ON_A_FULL_DISK)
