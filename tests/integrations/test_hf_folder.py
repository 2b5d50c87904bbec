"""Folders of the hub's clients: the cache's links followed within a repository, and no further."""

import os
from hashlib import sha256

import pytest

from deltareg.errors import NotFound, Refused
from deltareg.integrations.hf_folder import hf_folder
from tests.cli.steps import done, push_base
from tests.fixtures.registries import SAMPLES

LORA = SAMPLES / "deltas" / "tinyllama" / "lora"
REVISION = "a1b2c3d4e5f60718293a4b5c6d7e8f9001122334"


def cached(hub, *, revision=REVISION, name="models--org--night-lora"):
    """Lay out a repository as the hub's client keeps it; gives its folder."""
    place = hub / name
    snapshot = place / "snapshots" / revision
    snapshot.mkdir(parents=True)
    (place / "blobs").mkdir(exist_ok=True)
    for path in LORA.iterdir():
        blob = place / "blobs" / sha256(path.read_bytes()).hexdigest()
        blob.write_bytes(path.read_bytes())
        (snapshot / path.name).symlink_to(os.path.relpath(blob, snapshot))
    (place / "refs").mkdir(exist_ok=True)
    (place / "refs" / "main").write_text(revision)
    return place


def test_a_repository_of_the_cache_is_pushed_as_its_files_are(user, tmp_path):
    cache = pytest.importorskip("huggingface_hub", reason="needs huggingface-hub")
    place = cached(tmp_path)
    assert [repo.repo_id for repo in cache.scan_cache_dir(tmp_path).repos] == ["org/night-lora"]
    push_base(user)
    pushed = done(user, "push", LORA, "me/chat", "--base", "tinyllama")

    made = done(user, "import", "hf-folder", place, "me/night", "--base", "tinyllama")

    labels = done(user, "show", "me/night:v1")["labels"]
    assert made["digest"] == pushed["digest"]
    assert labels == {"imported.from": f"hf://org/night-lora@{REVISION}"}
    assert f"imported from hf://org/night-lora@{REVISION}" in user("lineage", "me/night").out
    assert {entry.name for entry in place.iterdir()} == {"blobs", "refs", "snapshots"}


def test_main_says_which_of_several_snapshots(tmp_path):
    cached(tmp_path, revision="0" * 40)
    place = cached(tmp_path)

    with hf_folder(place) as found:
        assert found.source.endswith(REVISION)
        assert not any(path.is_symlink() for path in found.folder.iterdir())
    (place / "refs" / "main").unlink()
    with pytest.raises(NotFound, match="several snapshots"), hf_folder(place):
        pass


def test_a_link_out_of_the_repository_is_not_followed(tmp_path):
    place = cached(tmp_path)
    (tmp_path / "secret.json").write_text("{}")
    (place / "snapshots" / REVISION / "notes.json").symlink_to(tmp_path / "secret.json")

    with pytest.raises(Refused, match="leads out of"), hf_folder(place):
        pass


def test_a_download_says_its_revision_and_is_pushed_where_it_lies(tmp_path):
    folder = tmp_path / "night-lora"
    notes = folder / ".cache" / "huggingface" / "download"
    notes.mkdir(parents=True)
    (folder / "adapter_config.json").write_bytes((LORA / "adapter_config.json").read_bytes())
    (notes / "adapter_config.json.metadata").write_text(f"{REVISION}\netag\n1.0\n")

    with hf_folder(folder) as found:
        assert found.folder == folder
        assert found.source == f"hf-folder:night-lora@{REVISION}"


def test_a_folder_that_is_not_there_is_told(tmp_path):
    with pytest.raises(NotFound, match="there is no folder"), hf_folder(tmp_path / "none"):
        pass
