"""A version as the base of others: a LoRA on a fine-tune, on both stacks."""

from pathlib import Path

import pytest

from deltareg.errors import BaseMismatch, Conflict, InvalidInput, NotFound
from tests.e2e.test_data_path import same_files

SAMPLES = Path(__file__).parents[1] / "samples"
BASE = SAMPLES / "bases" / "tinyllama"
DELTAS = SAMPLES / "deltas" / "tinyllama"


def push(client, delta, line, base):
    return client.push(DELTAS / delta, line, base=base).version


@pytest.fixture
def server(registry_server):
    """Run a registry with a base and a full fine-tune of it."""
    client = registry_server.client()
    client.push_base(BASE, "tinyllama")
    push(client, "full", "team/sft", "tinyllama")
    return registry_server


@pytest.fixture
def local(local_registry):
    """Run a registry on SQLite and a folder, with a base and a full fine-tune of it."""
    client = local_registry.client()
    client.push_base(BASE, "tinyllama")
    push(client, "full", "team/sft", "tinyllama")
    return local_registry


def test_a_lora_on_a_fine_tune_goes_all_the_way(server, tmp_path):
    client, other = server.client(), server.client(("read",), principal="reader")

    chat = push(client, "lora", "team/chat", "team/sft:v1")
    plain = other.materialize("team/chat:v1", tmp_path / "merged")
    sft = other.materialize("team/sft:v1", tmp_path / "sft")
    by_hand = other.materialize("team/chat:v1", tmp_path / "again", base=tmp_path / "sft")

    assert chat.base.name == "team/sft:v1"
    assert chat.base.root == sft.root == str(client.fingerprint(DELTAS / "full").root)
    assert plain.root == by_hand.root
    assert same_files(tmp_path / "merged", tmp_path / "again")
    assert other.show("team/chat:v1").stack == ["tinyllama", "team/sft:v1"]


def test_a_full_fine_tune_is_a_base_for_nothing(server):
    client = server.client()

    push(client, "lora", "team/chat", "team/sft:v1")
    base = client.base("team/sft:v1")

    assert (base.version, base.depth, base.recipe) == ("team/sft:v1", 1, "")
    assert base.bottom is not None
    assert base.bottom.name == "tinyllama"
    assert base.is_stored
    stored = client.show("team/sft:v1").stored_bytes
    print(stored, base.stored_bytes, base)
