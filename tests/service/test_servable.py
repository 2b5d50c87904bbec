"""Channels that take what their engines can serve, and nothing else."""

import pytest

from deltareg.errors import Blocked, InvalidInput
from tests.fixtures.registries import SAMPLES

LINE, DEV = "team/lora", ("team/lora", "dev")


@pytest.fixture
def maker(local_registry):
    """Push a LoRA and verify it."""
    return local_registry.line("lora")


def unmet(client, ref):
    return {rule.rule: rule for rule in client.gate(ref, "dev").unmet}


def test_a_channel_asks_that_an_engine_can_serve_the_version(maker):
    maker.channels.set_policy(*DEV, {"servable": ["vllm"]})
    maker.push(SAMPLES / "deltas" / "tinyllama" / "lora_dora", LINE, base="tinyllama")

    refused = unmet(maker, f"{LINE}:v2")["servable"]

    assert refused.message == f"vllm cannot serve {LINE}:v2: DoRA"
    assert "deltareg materialize" in refused.fix
    assert "servable" not in unmet(maker, f"{LINE}:v1")
    maker.promote(f"{LINE}:v1", "dev")
    with pytest.raises(Blocked, match="DoRA"):
        maker.promote(f"{LINE}:v2", "dev")


def test_the_rank_is_the_one_that_the_engine_is_set_up_for(maker):
    maker.channels.set_policy(*DEV, {"servable": [{"engine": "vllm", "max_rank": 2}]})

    refused = unmet(maker, f"{LINE}:v1")["servable"]

    assert refused.message == f"{LINE}:v1 has rank 4, and vllm is set up for 2"
    assert maker.channels.policy(*DEV).policy["servable"] == [{"engine": "vllm", "max_rank": 2}]


def test_of_channel_and_floor_the_smaller_rank_holds(maker, local_registry):
    admin = local_registry.client(("admin", "read"), principal="root")
    admin.floors.set({"servable": [{"engine": "vllm", "max_rank": 2}]}, reason="small engines")
    maker.channels.set_policy(*DEV, {"servable": [{"engine": "vllm", "max_rank": 64}]})

    refused = unmet(maker, f"{LINE}:v1")["servable"]

    assert "set up for 2" in refused.message
    assert refused.asked_by == ["the server"]


def test_each_engine_is_asked_by_its_name(maker):
    maker.channels.set_policy(*DEV, {"servable": ["sglang", "llamacpp"]})
    maker.push(SAMPLES / "deltas" / "tinyllama" / "lora_rslora", LINE, base="tinyllama")

    refused = [rule.message for rule in maker.gate(f"{LINE}:v2", "dev").unmet if rule.rule == "servable"]

    assert refused == [f"sglang cannot serve {LINE}:v2: rank-stabilised: it scales by alpha / r"]
    assert "servable" not in unmet(maker, f"{LINE}:v1"), "of no rank that it is set up for by itself"
    maker.channels.set_policy(*DEV, {"servable": [{"engine": "sglang", "max_rank": 2}]})
    assert "set up for 2" in unmet(maker, f"{LINE}:v1")["servable"].message


@pytest.mark.parametrize(
    ("terms", "told"),
    [
        (["vlm"], "did you mean vllm"),
        (["vllm", {"engine": "vllm", "max_rank": 4}], "take one of them out"),
        ([{"engine": "vllm", "max_rank": 0}], "write 64"),
        ([{"max_rank": 8}], "engine: vllm"),
        ("vllm", "engine: vllm"),
    ],
)
def test_what_cannot_be_meant_is_refused(maker, terms, told):
    with pytest.raises(InvalidInput) as refused:
        maker.channels.set_policy(*DEV, {"servable": terms})

    assert told in refused.value.fix
