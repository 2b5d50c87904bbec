"""The hub's own client, as it is installed, reads what was pushed."""

from pathlib import Path

import pytest
from huggingface_hub import HfApi, HfFileSystem, hf_hub_download, hf_hub_url, snapshot_download
from huggingface_hub.errors import (
    EntryNotFoundError,
    HfHubHTTPError,
    LocalEntryNotFoundError,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)
from huggingface_hub.file_download import http_get

from tests.fixtures.registries import files_below
from tests.hub.conftest import BASE, FULL, HUB_ID, LORA, LORA_2, REVISION, member

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning")


@pytest.fixture(autouse=True)
def no_bars(monkeypatch):
    monkeypatch.setenv("HF_HUB_DISABLE_PROGRESS_BARS", "1")


@pytest.fixture
def reader(shelf):
    return member(shelf, "reader")


def contents(folder):
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in files_below(folder)}


@pytest.mark.parametrize(
    ("repository", "revision", "folder"),
    [
        ("team/lora", "v1", LORA),
        ("team/lora", "prod", LORA_2),
        ("team/lora", "prod~1", LORA),
        ("team/lora", None, LORA_2),
        ("Team/LoRA", "prod#1", LORA),
        ("team/full", "v1", FULL),
        (HUB_ID, None, BASE),
        (HUB_ID.lower(), REVISION, BASE),
        ("tinyllama", "main", BASE),
    ],
)
def test_a_snapshot_is_what_was_pushed(shelf, reader, tmp_path, repository, revision, folder):
    found = snapshot_download(repository, revision=revision, endpoint=shelf.url, token=reader, cache_dir=tmp_path)

    assert contents(Path(found)) == contents(folder)


def test_what_has_a_digest_is_asked_for_once(shelf, reader, tmp_path):
    api = HfApi(endpoint=shelf.url, token=reader)
    commit = api.model_info("team/lora", revision="v1").sha
    place = {"endpoint": shelf.url, "cache_dir": tmp_path}
    first = snapshot_download("team/lora", revision=commit, token=reader, **place)

    again = snapshot_download("team/lora", revision=commit, token="drg_pat_nobodys", **place)

    assert again == first
    assert Path(first).name == commit


def test_a_repository_lists_its_branches_tags_and_commits(shelf, reader):
    api = HfApi(endpoint=shelf.url, token=reader)
    v1, v2 = (api.model_info("team/lora", revision=f"v{number}").sha for number in (1, 2))

    refs = api.list_repo_refs("team/lora")
    history = api.list_repo_commits("team/lora")

    assert {ref.name: ref.target_commit for ref in refs.branches} == {"main": v2, "prod": v2}
    assert {ref.name: ref.target_commit for ref in refs.tags} == {"v1": v1, "v2": v2}
    assert [each.commit_id for each in history] == [v2, v1]


def test_a_pusher_sees_what_was_pushed_last_and_a_reader_what_was_promoted(shelf, reader, tmp_path):
    pusher = shelf.token("read", "push", principal="owner")
    apis = [HfApi(endpoint=shelf.url, token=token) for token in (pusher, reader)]

    assert apis[0].model_info("team/full").sha == apis[0].model_info("team/full", revision="v1").sha
    with pytest.raises(
        RevisionNotFoundError, match="team/full@prod serves, and nothing was promoted to it; no version has passed"
    ):
        apis[1].model_info("team/full")


def test_files_are_read_by_path_and_in_parts(shelf, reader):
    files = HfFileSystem(endpoint=shelf.url, token=reader)

    names = [str(name) for name in files.ls("team/full@v1", detail=False)]
    with files.open("team/full@v1/model-00002-of-00004.safetensors", block_size=1 << 12) as file:
        file.seek(9_000)
        part = file.read(700)

    raw = (FULL / "model-00002-of-00004.safetensors").read_bytes()
    assert part == raw[9_000:9_700]
    assert {name.rpartition("/")[2] for name in names} == {path.name for path in FULL.iterdir()}


def test_a_download_that_broke_off_goes_on(shelf, reader, tmp_path):
    name = "model-00001-of-00004.safetensors"
    raw = (FULL / name).read_bytes()
    url = hf_hub_url("team/full", name, revision="v1", endpoint=shelf.url)
    headers = {"authorization": f"Bearer {reader}"}

    with (tmp_path / name).open("w+b") as file:
        file.write(bytes(10_001))
        http_get(url, file, resume_size=10_001, headers=headers, expected_size=len(raw))

    found = (tmp_path / name).read_bytes()
    assert found == bytes(10_001) + raw[10_001:], "the rest, and no more"


def test_what_is_missing_is_told_apart(shelf, reader, tmp_path):
    def get(repository, file="adapter_config.json", **given):
        given = {"token": reader, "endpoint": shelf.url, "cache_dir": tmp_path} | given
        return hf_hub_download(repository, file, **given)

    with pytest.raises(EntryNotFoundError, match="it has adapter_config"):
        get("team/lora", "tokenizer.json")
    with pytest.raises(RevisionNotFoundError, match="no channel 'canary'"):
        get("team/lora", revision="canary")
    with pytest.raises(RepositoryNotFoundError, match="no delta team/none"):
        get("team/none")
    for unknown in ("gpt2", "meta-llama/Llama-3", "den/secret", "den/none"):
        with pytest.raises(LocalEntryNotFoundError) as caught:
            get(unknown)
        assert "is no delta and no base here" in str(caught.value.__cause__)
        assert isinstance(caught.value.__cause__, HfHubHTTPError)
        assert "X-Error-Code" not in caught.value.__cause__.response.headers
    with pytest.raises(HfHubHTTPError, match="personal token of the Hugging Face Hub"):
        HfApi(endpoint=shelf.url, token="hf_mine").model_info("team/lora")


def test_a_base_that_the_cache_has_is_found_there(shelf, reader, tmp_path):
    """One address serves a whole process: what is not here may lie in the cache already."""
    snapshot = tmp_path / "models--meta--llama" / "snapshots" / REVISION
    snapshot.mkdir(parents=True)
    (snapshot / "config.json").write_text("{}")
    (tmp_path / "models--meta--llama" / "refs").mkdir()
    (tmp_path / "models--meta--llama" / "refs" / "main").write_text(REVISION)

    found = hf_hub_download("meta/llama", "config.json", endpoint=shelf.url, token=reader, cache_dir=tmp_path)

    assert Path(found).read_text() == "{}"


def test_it_says_whose_token_it_is(shelf):
    token = shelf.token("read", "push", principal="owner")

    told = HfApi(endpoint=shelf.url, token=token).whoami()

    assert told["name"] == "owner"
    assert {org["name"] for org in told["orgs"]} >= {"den", "team"}
