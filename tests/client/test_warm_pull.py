"""A pull of what is here already: one request, and no file of it is read."""

import os
from pathlib import Path

import pytest

from deltareg.errors import Conflict
from tests.client.grids import COUNT, TENSOR_BYTES, Traffic, assert_served_well, fill

SIZE_BYTES = COUNT * TENSOR_BYTES


@pytest.fixture(scope="module")
def server(shared_registry, tmp_path_factory):
    return fill(shared_registry, tmp_path_factory.mktemp("grid"))


@pytest.fixture
def client(server):
    return server.client(("read",))


def read_bytes():
    """Give how many bytes this process, in which the server runs too, has read so far."""
    told = dict(line.split(": ") for line in Path("/proc/self/io").read_text().splitlines())
    return int(told["rchar"])


def replaced(path, change):
    """Write a file anew with the same length and mtime, as a careless copy would."""
    stat = path.stat()
    raw = bytearray(path.read_bytes())
    raw[-1] ^= change
    path.unlink()
    path.write_bytes(raw)
    os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns))


@pytest.mark.parametrize("where", ["cache", "folder"])
def test_one_request_and_no_file_is_read(client, tmp_path, where):
    to = None if where == "cache" else tmp_path / "out"
    first = client.pull("team/grid:v1", to)
    traffic, before = Traffic(client), read_bytes()

    again = client.pull("team/grid:v1", to)

    assert [request.url.path for request in traffic.requests] == ["/api/v1/bundle"]
    assert read_bytes() - before < SIZE_BYTES / 4
    assert (again.path, again.fetched_bytes) == (first.path, 0)
    assert again.cached_bytes > SIZE_BYTES


def test_a_folder_that_another_program_filled_is_read_once(client, tmp_path):
    source = client.pull("team/grid:v1").path
    out = tmp_path / "out"
    out.mkdir()
    for path in source.iterdir():
        (out / path.name).write_bytes(path.read_bytes())

    counts = [read_bytes()]
    for _ in range(2):
        client.pull("team/grid:v1", out)
        counts.append(read_bytes())

    assert counts[1] - counts[0] > SIZE_BYTES
    assert counts[2] - counts[1] < SIZE_BYTES / 4


def test_a_file_that_was_written_anew_is_read_again(client, tmp_path):
    out = tmp_path / "out"
    client.pull("team/grid:v1", out)
    replaced(out / "model.safetensors", 0)
    before = read_bytes()

    client.pull("team/grid:v1", out)

    assert read_bytes() - before > SIZE_BYTES


def test_a_file_that_was_exchanged_is_noticed(client, tmp_path):
    out = tmp_path / "out"
    client.pull("team/grid:v1", out)
    snapshot = client.pull("team/grid:v1").path
    replaced(out / "model.safetensors", 1)
    replaced(snapshot / "model.safetensors", 1)

    with pytest.raises(Conflict):
        client.pull("team/grid:v1", out)
    again = client.pull("team/grid:v1")

    assert_served_well(client, again.path, "team/grid:v1")


def test_a_note_that_is_damaged_is_made_anew(client, tmp_path):
    out = tmp_path / "out"
    client.pull("team/grid:v1", out)
    for note in (client.cache.path / "digests").iterdir():
        note.chmod(0o644)
        note.write_bytes(b"{")

    assert client.pull("team/grid:v1", out).fetched_bytes == 0


def test_another_version_in_the_folder_is_no_match(client, tmp_path):
    out = tmp_path / "out"
    client.pull("team/grid:v1", out)

    with pytest.raises(Conflict):
        client.pull("team/grid:v2", out)


def test_files_of_the_cache_are_read_only_and_those_of_a_folder_are_not(client, tmp_path):
    client.pull("team/grid:v1", tmp_path / "out")
    client.pull("team/grid:v1")

    kept = [p for p in client.cache.path.rglob("*") if p.is_file()]
    given = [p for p in (tmp_path / "out").rglob("*") if p.is_file()]

    assert {p.stat().st_mode & 0o777 for p in kept} == {0o444}
    assert all(p.stat().st_mode & 0o200 for p in given)
    client.cache.prune(max_bytes=0)
    assert client.cache.entries() == []
