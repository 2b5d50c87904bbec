"""What we say that vLLM can serve is what a real one took and refused."""

import pytest

from deltareg.client.cache.cache import Cache
from deltareg.client.folders.base_folder import open_base
from deltareg.client.folders.folder import open_folder
from deltareg.delta.delta_manifest import assess
from deltareg.delta.serving import ServableDelta, servability
from tests.vllm.models import make_base, make_lora, make_refused
from tests.vllm.questions import read_recorded

# What is no delta, which a push refuses, and what a base decides.
OTHERS = {"cut", "no_weights", "no_config", "absent", "unknown_modules"}


def facts_of(folder, base):
    with open_folder(folder) as opened:
        kind = assess(opened.files, opened.tensors, base.view).kind
        return ServableDelta(kind.name, kind.variant, kind.config(), list(opened.contents))


def test_every_adapter_is_judged_as_a_real_one_judged_it(tmp_path):
    folder = make_base(tmp_path / "base", seed=1, hidden=128)
    adapters = {"one": make_lora(folder, tmp_path / "one", seed=2)}
    adapters |= make_refused(folder, tmp_path / "refused")
    recorded = read_recorded()

    with open_base(folder, Cache(tmp_path / "cache")) as base:
        found = {name: servability(facts_of(path, base))[0] for name, path in adapters.items() if name not in OTHERS}

    said = {"one": recorded["load"]} | {name: recorded[f"load {name}"] for name in found if name != "one"}
    assert {name: one.is_servable for name, one in found.items() if name != "rank"} == {
        name: told.status == 200 for name, told in said.items() if name != "rank"
    }
    assert found["rank"].rank == 16
    assert str(found["dora"]) == "not by vllm: DoRA"
    assert str(found["modules_to_save"]) == "not by vllm: modules_to_save: lm_head"


@pytest.mark.parametrize(
    ("rank", "pattern", "told"),
    [
        (4, [], "vllm"),
        (17, [], "vllm, with --max-lora-rank 32"),
        (4, [["q_proj", 100]], "vllm, with --max-lora-rank 128"),
        (600, [], "not by vllm: rank 600; it serves 512 at most"),
    ],
)
def test_the_rank_says_which_setting_it_takes(rank, pattern, told):
    files = ["adapter_config.json", "adapter_model.safetensors"]
    delta = ServableDelta("lora", "", {"r": rank, "rank_pattern": pattern}, files)

    assert str(servability(delta)[0]) == told


def test_a_lora_of_another_layout_is_not_found_by_vllm():
    delta = ServableDelta("lora", "", {"r": 4}, ["kohya.safetensors"])

    assert "adapter_config.json is missing" in str(servability(delta)[0])
