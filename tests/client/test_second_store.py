"""A pull goes on from the copy of the store; a check says what the store lost, and a repair takes it from there."""

from dataclasses import replace

import pytest

from deltareg.store import FallbackReads
from deltareg.store.memory import MemoryStore


@pytest.mark.soak
def test_what_the_store_lost_is_pulled_from_its_copy_and_healed_from_it(local_registry, tmp_path):
    client = local_registry.line("lora")
    first, second = local_registry.registry.store, MemoryStore()
    whole = client.pull("team/lora:v1", tmp_path / "before").path
    objects = list(first.keys())
    for key, _ in objects:
        second.write(key, first.read(key))
        first.delete(key)
    state = local_registry.app.state.server
    state.registry = replace(local_registry.registry, second=second, reads=FallbackReads(first, second))

    pulled = client.pull("team/lora:v1", tmp_path / "pulled").path
    lost = client.storage.fsck()
    client.storage.fsck(read_data=True, repair=True)
    healed = client.storage.fsck(read_data=True)

    name = "adapter_model.safetensors"
    assert (pulled / name).read_bytes() == (whole / name).read_bytes()
    assert len(lost.findings) >= len(objects)
    assert healed.findings == []
    assert sorted(size for _, size in list(first.keys())) == sorted(size for _, size in objects)
