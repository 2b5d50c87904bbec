"""The hub's own client, as it is installed, pushes; what it makes is what `deltareg push` makes."""

import hashlib
import logging
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from huggingface_hub import HfApi
from huggingface_hub.errors import HfHubHTTPError, RepositoryNotFoundError
from safetensors.numpy import save_file

from deltareg.errors import NotFound
from tests.hub.conftest import BASE, LORA, LORA_2, member, open_hub

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning", "ignore::FutureWarning")


@pytest.fixture(autouse=True)
def no_bars(monkeypatch):
    monkeypatch.setenv("HF_HUB_DISABLE_PROGRESS_BARS", "1")


@pytest.fixture(scope="module")
def site(sqlite_template, tmp_path_factory, local_stock):
    """Run one with the base that the sample adapters name, `tinyllama`."""
    folder = tmp_path_factory.mktemp("site")
    shutil.copyfile(sqlite_template, folder / "registry.db")
    with open_hub(f"sqlite:///{folder / 'registry.db'}", folder, local_stock) as server:
        with server.client() as client:
            client.bases.push(BASE, "tinyllama", hub_ids=["org/Tiny-Llama", "bases/tinyllama"])
            client.push(LORA, "team/peer", base="tinyllama")
        yield server


@pytest.fixture
def api(site):
    return HfApi(endpoint=site.url, token=site.token("read", "push", principal="trainer"))


def test_a_folder_becomes_the_version_that_a_push_of_it_makes(site, api):
    api.create_repo("team/Chat", exist_ok=True)

    done = api.upload_folder(folder_path=LORA, repo_id="team/chat", commit_message="epoch 3")

    with site.client() as client:
        found, peer = client.show("team/chat:v1"), client.show("team/peer:v1")
    assert found.digest == peer.digest
    assert found.digest.startswith(f"sha256:{done.oid}")
    assert found.message == "epoch 3"


def test_what_became_of_each_commit_is_printed(api, tmp_path, caplog):
    """A trainer pushes twice in one process, and a client prints what has one topic once."""
    logging.getLogger("huggingface_hub").addHandler(caplog.handler)
    api.create_repo("team/twice")

    api.upload_folder(folder_path=LORA, repo_id="team/twice")
    api.upload_file(path_or_fileobj=b"# End\n", path_in_repo="README.md", repo_id="team/twice")
    logging.getLogger("huggingface_hub").removeHandler(caplog.handler)

    assert [n for n in (1, 2) if f"team/twice:v{n} " in caplog.text] == [1, 2]


def test_a_training_pushes_half_of_it_first(site, api, tmp_path):
    name, other = "team/halves", HfApi(endpoint=site.url, token=member(site, "reader"))
    api.create_repo(name)
    files = {path.name: path for path in LORA.iterdir()}

    readme = api.upload_file(path_or_fileobj=b"# Halves\n", path_in_repo="README.md", repo_id=name)
    seen = api.hf_hub_download(name, "README.md", cache_dir=tmp_path)
    with pytest.raises(RepositoryNotFoundError):
        other.model_info(name)
    weights = files["adapter_model.safetensors"]
    half = api.upload_file(path_or_fileobj=weights, path_in_repo="adapter_model.safetensors", repo_id=name)
    with site.client() as client, pytest.raises(NotFound):
        client.show(f"{name}:v1")
    config = files["adapter_config.json"]
    whole = api.upload_file(path_or_fileobj=config, path_in_repo="adapter_config.json", repo_id=name)

    assert len({readme.oid, half.oid, whole.oid}) == 3
    assert Path(seen).read_bytes() == b"# Halves\n"
    folder = tmp_path / "folder"
    shutil.copytree(LORA, folder)
    (folder / "README.md").write_bytes(b"# Halves\n")
    with site.client() as client:
        again = client.push(folder, name, base="tinyllama")
    assert not again.created
    assert again.version.digest.startswith(f"sha256:{whole.oid}")
    assert other.model_info(name, revision="v1").sha == whole.oid


def test_the_same_push_again_is_no_other_version(site, api):
    api.create_repo("team/again")
    first = api.upload_folder(folder_path=LORA, repo_id="team/again")

    second = api.upload_folder(folder_path=LORA, repo_id="team/again")
    third = api.upload_folder(folder_path=LORA_2, repo_id="team/again")
    gone = api.delete_file("adapter_config.json", repo_id="team/again")
    back = api.upload_folder(folder_path=LORA_2, repo_id="team/again")

    assert first.oid == second.oid != third.oid == back.oid != gone.oid
    with site.client() as client:
        assert client.show("team/again").ref == "team/again:v2"


def test_what_a_trainer_leaves_behind_is_never_sent(site, api, tmp_path):
    shutil.copytree(LORA, tmp_path / "out")
    for name in ("training_args.bin", "checkpoint-3/optimizer.pt", "runs/a/events.out.tfevents.1"):
        (tmp_path / "out" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "out" / name).write_bytes(b"\x80\x05never")
    api.create_repo("team/trained")

    api.upload_folder(folder_path=tmp_path / "out", repo_id="team/trained")

    assert set(api.list_repo_files("team/trained")) == {path.name for path in LORA.iterdir()}


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"adapter_model.bin": b"\x80\x05"}, "pickle, which can run code"),
        ({"model.py": b"import os"}, "is code; a delta carries none"),
        ({"adapter_config.json": b'{"peft_type": "LORA"}'}, "says which base it is a delta of"),
        (
            {"README.md": b"---\ndeltareg: {base: nobodys}\n---\n"},
            "README.md names the base 'nobodys', and no base here",
        ),
        ({"adapter_model.safetensors": b"\x00" * 64}, "adapter_model.safetensors"),
    ],
)
def test_what_is_wrong_is_told_and_changes_nothing(site, api, tmp_path, change, told):
    shutil.copytree(LORA, tmp_path / "out")
    for name, raw in change.items():
        (tmp_path / "out" / name).write_bytes(raw)
    api.create_repo("team/wrong", exist_ok=True)

    with pytest.raises(HfHubHTTPError, match=told):
        api.upload_folder(folder_path=tmp_path / "out", repo_id="team/wrong")

    assert api.list_repo_files("team/wrong") == []


def test_who_may_not_push_does_not(site):
    reader = HfApi(endpoint=site.url, token=member(site, "reader"))

    with pytest.raises(HfHubHTTPError, match="does not allow 'push'"):
        reader.create_repo("team/mine")
    with pytest.raises(HfHubHTTPError, match="does not allow 'push'"):
        reader.upload_folder(folder_path=LORA, repo_id="team/peer")


def test_a_channel_is_not_committed_to(site, api):
    with pytest.raises(HfHubHTTPError, match="a channel is moved by promoting"):
        api.upload_folder(folder_path=LORA_2, repo_id="team/peer", revision="prod")


@pytest.mark.parametrize(
    ("call", "told"),
    [
        (lambda api: api.create_branch("team/peer", branch="next"), "deltareg promote team/peer:vN"),
        (lambda api: api.create_tag("team/peer", tag="v7"), "is the name of a version"),
        (lambda api: api.create_discussion("team/peer", "a title"), "no pull requests here"),
        (lambda api: api.super_squash_history("team/peer"), "deltareg rm team/peer:vN"),
        (lambda api: api.delete_repo("team/peer"), "deltareg rm NS/NAME"),
        (lambda api: api.move_repo("team/peer", "team/other"), "deltareg mv NS/NAME NS/OTHER"),
    ],
)
def test_what_is_done_in_another_way_is_told_with_the_way(api, call, told):
    with pytest.raises(HfHubHTTPError, match=told):
        call(api)


def test_a_semantic_version_is_a_tag_that_stays(site, api):
    api.upload_folder(folder_path=LORA, repo_id="team/tagged")
    api.create_tag("team/tagged", tag="1.4.0")

    assert site.client(principal="trainer").versions.show("team/tagged:v1").semver == "1.4.0"
    assert "1.4.0" in {tag.name for tag in api.list_repo_refs("team/tagged").tags}
    with pytest.raises(HfHubHTTPError, match=r"is 1\.4\.0 already"):
        api.create_tag("team/tagged", tag="1.5.0")


@pytest.mark.soak
@pytest.mark.parametrize("by_xet", [True, False])
def test_a_large_file_is_sent_apart(site, tmp_path, by_xet):
    """By Xet, or by a client that was told to do without, which reads that when it starts."""
    token = site.token("read", "push", principal="trainer")
    shutil.copytree(LORA, tmp_path / "out")
    wide = {"padding": np.zeros((9, 1 << 20), np.float32)}
    save_file(wide, tmp_path / "out" / "extra.safetensors")
    environ = {key: os.environ[key] for key in ("PATH", "LANG") if key in os.environ}
    environ |= {"HOME": str(tmp_path), "HF_ENDPOINT": site.url, "HF_TOKEN": token}
    program = [Path(sys.executable).with_name("hf"), "upload", f"team/large-{by_xet}".lower(), tmp_path / "out"]

    def upload(**more):
        return subprocess.run(program, env=environ | more, capture_output=True, text=True, check=False)

    refused = upload(**({} if by_xet else {"HF_HUB_DISABLE_XET": "1"}))
    (tmp_path / "out" / "extra.safetensors").unlink()
    taken = upload()

    # It came, whole: what is wrong with it was found by who read all of it.
    assert "unexpected_tensors" in refused.stderr
    assert taken.returncode == 0, taken.stderr
    with site.client() as client:
        assert client.show(f"team/large-{by_xet}:v1".lower()).digest == client.show("team/peer:v1").digest


def test_who_sends_other_bytes_than_announced_is_refused(site, ask):
    token = site.token("read", "push", principal="trainer")
    raw = b"x" * 1_000
    oid = hashlib.sha256(raw).hexdigest()
    batch = {"operation": "upload", "objects": [{"oid": oid, "size": len(raw)}]}

    def prepare():
        path = "/team/lying.git/info/lfs/objects/batch"
        told = ask(site, path, token=token, method="POST", json=batch).json()["objects"][0]
        return told["actions"]["upload"]["href"].removeprefix(site.url) if "actions" in told else ""

    place = prepare()
    answers = [ask(site, place, method="PUT", content=body).status_code for body in (raw[:-1], b"y" * 1_000, raw)]

    assert answers == [422, 422, 200]
    assert prepare() == "", "it is there"
    assert ask(site, "/lfs/" + "0" * 32, method="PUT", content=raw).status_code == 404


def test_a_card_with_a_path_of_the_trainers_machine_denies_no_config(hub, tmp_path):
    """PEFT writes into the card what the script called the base, and some trainers write the config anew."""
    hub.client().bases.push(BASE, "tinyllama")
    api = HfApi(endpoint=hub.url, token=hub.token("read", "push", principal="trainer"))
    config = (LORA / "adapter_config.json").read_text()
    named = {"config": "tinyllama", "card": "bases/tinyllama"}, {"config": "./bases/tinyllama", "card": "tinyllama"}

    for number, each in enumerate(named):
        folder = shutil.copytree(LORA, tmp_path / str(number))
        (folder / "adapter_config.json").write_text(config.replace("bases/tinyllama", each["config"]))
        (folder / "README.md").write_text(f"---\nbase_model: {each['card']}\n---\n# {number}\n")
        api.upload_folder(folder_path=folder, repo_id=f"team/card{number}")

    with hub.client() as client:
        assert [client.show(f"team/card{number}:v1").base.name for number in (0, 1)] == ["tinyllama"] * 2


def test_a_name_that_the_newest_version_has_as_well_means_its_base(hub, tmp_path):
    """A script that loads its base from a folder writes that folder's name each time: it is decided once."""
    hub.client().bases.push(BASE, "tinyllama")
    api = HfApi(endpoint=hub.url, token=hub.token("read", "push", principal="trainer"))
    folder = shutil.copytree(LORA, tmp_path / "out")
    with pytest.raises(HfHubHTTPError, match=r"deltareg: \{base: tinyllama\}") as refused:
        api.upload_folder(folder_path=folder, repo_id="team/again")
    assert "deltareg base register PATH tinyllama --hub-id bases/tinyllama" in str(refused.value)
    hub.client().push(LORA, "team/again", base="tinyllama")

    (folder / "README.md").write_text("---\nbase_model: bases/tinyllama\n---\n# again\n")
    api.upload_folder(folder_path=folder, repo_id="team/again")
    (folder / "adapter_config.json").write_text(
        (LORA / "adapter_config.json").read_text().replace("bases/tinyllama", "org/other")
    )

    with hub.client() as client:
        assert client.show("team/again:v2").base.name == "tinyllama"
    with pytest.raises(HfHubHTTPError, match="names the base 'org/other'"):
        api.upload_folder(folder_path=folder, repo_id="team/again")
