"""What the database finds: versions by their names, bases by those that the hub has."""

from pathlib import Path

from huggingface_hub import HfApi, snapshot_download

from tests.fixtures.registries import files_below
from tests.hub.conftest import BASE, HUB_ID, LORA, REVISION


def contents(folder):
    return {path.name: path.read_bytes() for path in files_below(folder)}


def test_a_repository_is_found_by_all_its_names(hub, tmp_path):
    owner = hub.line("lora", "lora_v2")
    owner.bases.register(BASE, "tinyllama", hub_ids=[HUB_ID, f"{HUB_ID}@{REVISION}"])
    digest = owner.show("team/lora:v1").digest
    place = {"endpoint": hub.url, "token": hub.token("read"), "cache_dir": tmp_path}
    api = HfApi(endpoint=hub.url, token=place["token"])

    version = snapshot_download("Team/LoRA", revision="prod~1", **place)
    base = snapshot_download(HUB_ID.upper(), revision=REVISION, **place)

    assert contents(Path(version)) == contents(LORA)
    assert contents(Path(base)) == contents(BASE)
    shas = {api.model_info("team/lora", revision=text).sha for text in (digest, digest[7:16], "v1")}
    assert shas == {Path(version).name} == {digest[7:47]}
    assert {ref.name for ref in api.list_repo_refs("team/lora").branches} == {"main", "prod"}
    assert len(api.list_repo_commits("team/lora")) == 2
