"""IA3 and LoKr by the names of an earlier release: `push` names the command, and `convert` mends them."""

import json
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import save_file

from tests.client.convert.converting import assert_same_fold, client_of, config, tensors
from tests.delta.kinds.assessing import assessed

OLD, NEW = "language_model.model.layers.0.", "model.language_model.layers.0."
LIBRARY = "transformers.models.llava.modeling_llava"
KEY, DOWN = "self_attn.k_proj", "mlp.down_proj"
SHAPES = {KEY: (8, 8), DOWN: (8, 12)}
IA3 = {"peft_type": "IA3", "target_modules": ["k_proj", "down_proj"], "feedforward_modules": [f"{OLD}{DOWN}"]}
LOKR = {
    "peft_type": "LOKR",
    "r": 8,
    "alpha": 8,
    "rank_dropout_scale": False,
    "target_modules": [OLD + KEY, "down_proj"],
}
DELTAS: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "ia3": (IA3, {KEY: {"ia3_l": (8, 1)}, DOWN: {"ia3_l": (1, 12)}}),
    "lokr": (LOKR, {KEY: {"lokr_w1": (2, 2), "lokr_w2": (4, 4)}, DOWN: {"lokr_w1": (2, 3), "lokr_w2": (4, 4)}}),
}


@pytest.fixture
def base(tmp_path):
    """Write a LLaVA as files have it, which are named as transformers 4 was."""
    folder, chance = tmp_path / "base", np.random.default_rng(1)
    folder.mkdir()
    (folder / "config.json").write_text(
        json.dumps({"architectures": ["LlavaForConditionalGeneration"], "model_type": "llava"})
    )
    weights = {f"{OLD}{module}.weight": chance.standard_normal(shape) for module, shape in SHAPES.items()}
    save_file({n: v.astype(np.float32) for n, v in weights.items()}, folder / "model.safetensors")
    return folder


def write(folder, kind, prefix):
    """Write a delta under some names of its modules."""
    told, modules = DELTAS[kind]
    chance = np.random.default_rng(2)
    folder.mkdir()
    made = {
        f"base_model.model.{prefix}{module}.{role}": chance.standard_normal(shape).astype(np.float32)
        for module, roles in modules.items()
        for role, shape in roles.items()
    }
    save_file(made, folder / "adapter_model.safetensors", metadata={"format": "pt"})
    on = {"auto_mapping": {"base_model_class": "LlavaForConditionalGeneration", "parent_library": LIBRARY}}
    (folder / "adapter_config.json").write_text(json.dumps({**told, **on}).replace(OLD, prefix))
    return folder


@pytest.mark.parametrize("kind", DELTAS)
def test_convert_gives_a_delta_the_names_that_its_class_has_today(tmp_path, base, kind):
    old, new = write(tmp_path / "old", kind, OLD), write(tmp_path / "new", kind, NEW)
    refused = assessed(old, base)
    assert refused.codes == ["not_selected"]
    assert "deltareg convert PATH --out DIR --base BASE" in refused.problems[0].fix

    with client_of(tmp_path) as client:
        client.folders.convert(old, tmp_path / "out", base=str(base))

    assert {n: v.tobytes() for n, v in tensors(tmp_path / "out").items()} == {
        n: v.tobytes() for n, v in tensors(new).items()
    }
    lists = ("target_modules", "feedforward_modules")
    assert {n: sorted(config(tmp_path / "out").get(n, [])) for n in lists} == {
        n: sorted(config(new).get(n, [])) for n in lists
    }
    assert_same_fold(tmp_path / "out", new, base)
