"""Drafts on both databases: nothing is lost between commits, and nothing stays for ever."""

from concurrent.futures import ThreadPoolExecutor

import pytest
from huggingface_hub import HfApi
from huggingface_hub.errors import HfHubHTTPError

from deltareg.errors import NotFound
from tests.hub.conftest import BASE, LORA, LORA_2

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning")


@pytest.fixture(autouse=True)
def no_bars(monkeypatch):
    monkeypatch.setenv("HF_HUB_DISABLE_PROGRESS_BARS", "1")


def apis(hub, *principals):
    tokens = [hub.token("read", "push", principal=name) for name in principals]
    return [HfApi(endpoint=hub.url, token=token) for token in tokens]


def objects(hub):
    return sum(1 for _ in hub.registry.store.keys("blobs/"))


def test_a_draft_is_known_to_fsck_and_goes_when_it_is_idle(hub):
    admin = hub.client()
    [api] = apis(hub, "trainer")
    api.create_repo("team/idle")
    api.upload_file(path_or_fileobj=b"# A\n", path_in_repo="README.md", repo_id="team/idle")

    assert objects(hub) == 1
    assert admin.storage.fsck().findings == []
    assert api.list_repo_files("team/idle") == ["README.md"]
    admin.storage.collect(dry_run=False, grace_s=0)

    assert objects(hub) == 0
    with pytest.raises(NotFound):
        admin.show("team/idle")


def test_what_is_in_a_version_is_staged_no_more(hub):
    admin = hub.client()
    admin.bases.push(BASE, "tinyllama", hub_ids=["bases/tinyllama"])
    before = objects(hub)
    [api] = apis(hub, "trainer")
    api.create_repo("team/done")

    api.upload_folder(folder_path=LORA, repo_id="team/done")

    stored = objects(hub) - before
    assert admin.storage.fsck().findings == []
    assert 1 <= stored <= 2, "packs of the version, and no file"


def test_a_draft_has_a_branch_and_a_commit(hub):
    [api] = apis(hub, "trainer")
    role = api.whoami()["auth"]["accessToken"]["role"]

    draft = api.create_repo("own/first") and api.model_info("own/first").sha
    begun = api.list_repo_refs("own/first"), api.list_repo_commits("own/first")
    with pytest.raises(HfHubHTTPError, match="there is no delta own/first"):
        api.create_tag("own/first", tag="best")

    assert role == "write"
    assert [(ref.name, ref.target_commit) for ref in begun[0].branches] == [("main", draft)]
    assert [(each.commit_id, each.title) for each in begun[1]] == [(draft, "your draft of own/first")]
    hub.line("lora")
    [maker] = apis(hub, "maker")
    version = maker.model_info("team/lora").sha
    maker.delete_file("adapter_config.json", "team/lora")
    history = [each.commit_id for each in maker.list_repo_commits("team/lora")]
    refs = maker.list_repo_refs("team/lora")
    assert history == [maker.model_info("team/lora").sha, version]
    assert {ref.name: ref.target_commit for ref in refs.branches} == {"main": history[0], "prod": version}


def test_a_draft_goes_along_with_a_line_that_is_renamed(hub):
    owner = hub.line("lora")
    owner.bases.register(BASE, "tinyllama", hub_ids=["bases/tinyllama"])
    [api] = apis(hub, "maker")
    api.delete_file("adapter_config.json", "team/lora")

    owner.lines.rename("team/lora", "team/moved")
    drafted = api.list_repo_files("team/lora")
    api.upload_file(path_or_fileobj=b"{}", path_in_repo="extra.json", repo_id="team/lora")
    config = (LORA / "adapter_config.json").read_bytes()
    api.upload_file(path_or_fileobj=config, path_in_repo="adapter_config.json", repo_id="team/moved")

    assert drafted == api.list_repo_files("team/moved", revision="v1")[1:] == ["adapter_model.safetensors"]
    assert {*api.list_repo_files("team/moved", revision="v2")} == {path.name for path in LORA.iterdir()} | {
        "extra.json"
    }


@pytest.mark.soak
def test_pushes_at_once_lose_nothing(hub):
    """Four commits of two people to one line: each is a version, or is one that is there."""
    admin = hub.client()
    admin.bases.push(BASE, "tinyllama", hub_ids=["bases/tinyllama"])
    digests = {
        admin.push(folder, f"team/{folder.name.replace('_', '-')}", base="tinyllama").version.digest
        for folder in (LORA, LORA_2)
    }
    people = apis(hub, "trainer", "other")
    admin.push(LORA, "team/both", base="tinyllama")
    calls = [(api, folder) for api in people for folder in (LORA, LORA_2)]

    with ThreadPoolExecutor(4) as pool:
        done = list(pool.map(lambda c: c[0].upload_folder(folder_path=c[1], repo_id="team/both"), calls))

    found = {admin.show(f"team/both:v{n}").digest for n in (1, 2)}
    assert found == digests
    assert {f"sha256:{one.oid}" for one in done} == {digest[:47] for digest in digests}
    with pytest.raises(NotFound):
        admin.show("team/both:v3")
