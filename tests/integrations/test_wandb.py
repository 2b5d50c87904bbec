"""W&B itself, offline: artifacts that refer to versions, logged and read back."""

import json

import pytest

from deltareg.errors import InvalidInput
from deltareg.integrations.wandb import ADDRESS, add_version, pull_artifact
from tests.fixtures.registries import SAMPLES

pytestmark = [
    pytest.mark.soak,  # two seconds to load, and a process of its own
    pytest.mark.filterwarnings("ignore"),  # what it warns of is its own
]
LORA = SAMPLES / "deltas" / "tinyllama" / "lora"
NAMES = sorted(path.name for path in LORA.iterdir())


@pytest.fixture
def wandb(tmp_path, monkeypatch):
    library = pytest.importorskip("wandb", reason="needs W&B: pip install wandb")
    monkeypatch.setenv("WANDB_MODE", "offline")
    monkeypatch.setenv("WANDB_SILENT", "true")
    monkeypatch.chdir(tmp_path)
    return library


def test_an_artifact_refers_to_each_file_by_the_digest(wandb, shared_registry, tmp_path):
    client = shared_registry.client()
    artifact = wandb.Artifact("chat", type="model")

    address = add_version(artifact, "team/lora", client=client)
    with wandb.init(project="x", dir=str(tmp_path)) as run:
        run.log_artifact(artifact)

    entries = artifact.manifest.entries
    assert address.endswith(f"/team/lora@{client.show('team/lora:v1').digest}")
    assert sorted(entries) == NAMES
    assert {entry.ref for entry in entries.values()} == {f"{address}/{name}" for name in NAMES}
    assert json.loads(json.dumps(artifact.metadata))[ADDRESS] == address
    assert list((tmp_path / "wandb").glob("offline-run-*/*.wandb"))
    pulled = pull_artifact(artifact, tmp_path / "got", client=client)
    assert pulled.ref == "team/lora:v1"
    for name in NAMES:
        assert (tmp_path / "got" / name).read_bytes() == (LORA / name).read_bytes()


def test_an_artifact_of_others_is_told(wandb, shared_registry):
    with pytest.raises(InvalidInput, match="refers to no version"):
        pull_artifact(wandb.Artifact("other", type="model"), client=shared_registry.client())
