"""Parts of versions, and several versions at once: chosen files, kept by updates, shared fetches."""

import shutil

import pytest
from safetensors.numpy import load_file, save_file

from deltareg.client import Client, ClientConfig
from deltareg.errors import Conflict, InvalidInput, NotFound
from tests.client.grids import Traffic
from tests.client.test_pull import LORA
from tests.e2e.test_data_path import same_files
from tests.fixtures.registries import ONE_STACK, SAMPLES

LINE = "team/parts"
BASE = SAMPLES / "bases" / "tinyllama"


@pytest.fixture
def server(registry_server, tmp_path):
    """Push an adapter, and one that was trained on with another card."""
    client = registry_server.client()
    client.bases.push(BASE, "base")
    first = shutil.copytree(LORA, tmp_path / "first")
    (first / "README.md").write_text("# one\n")
    second = shutil.copytree(first, tmp_path / "second")
    (second / "README.md").write_text("# two\n")
    file = second / "adapter_model.safetensors"
    save_file({name: part * 2 for name, part in load_file(file).items()}, file, metadata={"format": "pt"})
    for folder in (first, second):
        client.push(folder, LINE, base="base")
    client.push(first, "team/copy", base="base")
    return registry_server


@pytest.fixture
def edge(server, tmp_path):
    """Give a client of another machine: it may read, and its cache is empty."""
    config = ClientConfig(server=server.url, token=server.token("read"), cache_dir=tmp_path / "edge")
    with Client(config) as client:
        yield client


def names(folder):
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())


@ONE_STACK
def test_only_the_files_that_match_come(edge, tmp_path):
    traffic, target = Traffic(edge), tmp_path / "part"

    report = edge.pull(f"{LINE}:v1", target, include=["*.json", "README*"])
    fetched = traffic.bytes
    again = edge.pull(f"{LINE}:v1", target, include=["*.json", "README*"])

    assert names(target) == ["README.md", "adapter_config.json"]
    assert (target / "README.md").read_bytes() == (tmp_path / "first" / "README.md").read_bytes()
    assert report.fetched_bytes == fetched < edge.show(f"{LINE}:v1").cold_bytes / 2
    assert again.fetched_bytes == 0


@ONE_STACK
def test_an_update_keeps_to_the_part(edge, tmp_path):
    target = tmp_path / "part"
    edge.pull(f"{LINE}:v1", target, include=["README.md"])

    done = edge.folders.update(target, ":v2")
    again = edge.folders.update(target, ":v2")

    assert (done.ref, again.plan) == (f"{LINE}:v2", "none")
    assert names(target) == ["README.md"]
    assert (target / "README.md").read_text() == "# two\n"


@ONE_STACK
def test_a_part_is_no_whole_version(edge, server, tmp_path):
    target = tmp_path / "part"
    edge.pull(f"{LINE}:v1", target, include=["README.md"])

    with pytest.raises(Conflict, match="holds something else"):
        edge.pull(f"{LINE}:v1", target)
    whole = edge.pull(f"{LINE}:v1", tmp_path / "whole")

    assert same_files(tmp_path / "first", whole.path)


@ONE_STACK
def test_a_pattern_that_matches_nothing_and_a_part_without_a_folder_are_refused(edge, tmp_path):
    with pytest.raises(InvalidInput, match="matches no file") as refused:
        edge.pull(f"{LINE}:v1", tmp_path / "part", include=["*.json", "*.bin"])
    with pytest.raises(InvalidInput, match="into a folder"):
        edge.pull(f"{LINE}:v1", include=["*.json"])

    assert "adapter_config.json" in (refused.value.fix or "")
    assert not (tmp_path / "part").exists()


@ONE_STACK
def test_a_lock_records_the_part_and_sync_keeps_to_it(edge, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    edge.folders.lock(add=[(f"{LINE}:v1", "models/part")], include=["*.json", "README.md"])
    edge.folders.sync()
    first = names(tmp_path / "models/part")
    text = (tmp_path / "delta.lock").read_text()

    edge.folders.lock(add=[(f"{LINE}:v2", "models/part")], include=["README.md"])
    edge.folders.sync()
    again = edge.folders.sync(frozen=True)

    assert 'include = ["*.json", "README.md"]' in text
    assert first == ["README.md", "adapter_config.json"]
    assert names(tmp_path / "models/part") == ["README.md"]
    assert (tmp_path / "models/part/README.md").read_text() == "# two\n"
    assert [each.step for each in again.folders] == ["kept"]


@ONE_STACK
def test_a_lock_that_is_looked_up_again_keeps_the_part(edge, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    edge.folders.lock(add=[(f"{LINE}:v1", "part"), ("team/copy:v1", "whole")], include=["README.md"])
    before = (tmp_path / "delta.lock").read_text()

    report = edge.folders.lock()

    assert not report.is_changed
    assert (tmp_path / "delta.lock").read_text() == before


@ONE_STACK
def test_several_come_at_once_and_share_what_they_fetch(edge, tmp_path):
    traffic = Traffic(edge)

    reports = edge.versions.pull_several([f"{LINE}:v1", "team/copy:v1"], tmp_path / "models")

    assert [report.path for report in reports] == [tmp_path / "models" / "parts", tmp_path / "models" / "copy"]
    assert all(same_files(tmp_path / "first", report.path) for report in reports)
    assert traffic.bytes == sum(report.fetched_bytes for report in reports)
    assert reports[1].fetched_bytes < reports[0].fetched_bytes / 10


@ONE_STACK
def test_none_of_several_comes_where_one_is_not_there_or_two_would_lie_in_one_folder(edge, tmp_path):
    with pytest.raises(NotFound):
        edge.versions.pull_several([f"{LINE}:v1", "team/none:v1"], tmp_path / "models")
    with pytest.raises(InvalidInput, match="both lie in"):
        edge.versions.pull_several([f"{LINE}:v1", f"{LINE}:v2"], tmp_path / "models")

    assert not (tmp_path / "models").exists()
