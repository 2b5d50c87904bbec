"""Visual adapters in the format of our own: their formula, their places, what is refused."""

import json
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.numpy import save_file
from torch.nn import functional

from deltareg.delta.kind import HookInputs
from deltareg.delta.maths.numpy_ops import NumPyOps
from deltareg.errors import InvalidInput
from tests.delta.adapterhub_layout.opened import accounted, base, codes, with_document, with_tensors
from tests.folders import open_folder

RANK, WIDTH = 4, 16
CONVPASS = {
    "kind": "visual_adapter",
    "variant": "convpass",
    "insert": "parallel_mlp",
    "rank": RANK,
    "grid": [2, 2],
    "activation": "gelu",
    "scale": 0.5,
}
PLAIN = {
    "kind": "visual_adapter",
    "variant": "adaptformer",
    "insert": "parallel_mlp",
    "rank": RANK,
    "activation": "relu",
    "scale": 0.1,
}


def values(variant, layers, *, seed=0):
    random = np.random.default_rng(seed)
    shapes = {"down.weight": (RANK, WIDTH), "down.bias": (RANK,), "up.weight": (WIDTH, RANK), "up.bias": (WIDTH,)}
    if variant == "convpass":
        shapes |= {"conv.weight": (RANK, RANK, 3, 3), "conv.bias": (RANK,)}
    return {
        f"{layer}.{variant}.{name}": random.standard_normal(shape).astype(np.float32)
        for layer in layers
        for name, shape in shapes.items()
    }


@pytest.fixture
def push(tmp_path):
    """Write an adapter for some layers of a sample base and open it."""

    def opened(config, layers):
        save_file(values(config["variant"], layers), tmp_path / "adapter.safetensors")
        (tmp_path / "adapter_config.json").write_text(json.dumps(config))
        return open_folder(tmp_path)

    return opened


VIT = ["vit.layers.0", "vit.layers.1"]
CLIP = [f"{stack}_model.encoder.layers.{n}" for stack in ("text", "vision") for n in (0, 1)]


def reference(found, x, held):
    """Compute a convolution bypass in torch, with a class token before a grid of two by two."""
    at = {k.partition(".convpass.")[2]: torch.from_numpy(v) for k, v in held.items()}
    narrow = functional.gelu(functional.linear(x, at["down.weight"], at["down.bias"]))
    token, patches = narrow[:, :1], narrow[:, 1:]
    images = patches.transpose(1, 2).reshape(len(x), RANK, 2, 2)
    points = token.transpose(1, 2).reshape(len(x), RANK, 1, 1)
    made = [
        functional.conv2d(part, at["conv.weight"], at["conv.bias"], padding=1).flatten(2).transpose(1, 2)
        for part in (points, images)
    ]
    wide = functional.linear(functional.gelu(torch.cat(made, 1)), at["up.weight"], at["up.bias"])
    return found + wide * 0.5


def test_the_bypass_convolves_the_grid_and_the_class_token(push):
    folder = push(CONVPASS, VIT)
    effect = accounted(folder, base("vit")[0]).effects[0]
    found, x = torch.randn(2, 5, WIDTH), torch.randn(2, 5, WIDTH)
    given: Any = x.numpy()
    seen = HookInputs({"read": given})

    made = effect.hook.apply(found.numpy(), seen, NumPyOps())

    want = reference(found, x, values("convpass", VIT[:1]))
    np.testing.assert_allclose(made, want.numpy(), atol=1e-5)


def test_positions_that_are_fewer_than_the_grid_are_refused(push):
    effect = accounted(push(CONVPASS, VIT), base("vit")[0]).effects[0]
    x: Any = np.zeros((1, 3, WIDTH), "<f4")

    with pytest.raises(InvalidInput, match="no grid 2 x 2"):
        effect.hook.apply(x, HookInputs({"read": x}), NumPyOps())


@pytest.mark.parametrize(
    ("name", "config", "layers", "modules"),
    [
        ("vit", CONVPASS, VIT, {"vit.layers.0.mlp", "vit.layers.1.mlp"}),
        ("vit", {**PLAIN, "insert": "after_attention"}, VIT, {"vit.layers.0.attention", "vit.layers.1.attention"}),
        ("vit", {**PLAIN, "layers": [1]}, VIT[1:], {"vit.layers.1.mlp"}),
        ("clip", PLAIN, CLIP[2:], {f"{layer}.mlp" for layer in CLIP[2:]}),
        ("clip", {**PLAIN, "variant": "vl_adapter", "insert": "after_mlp"}, CLIP, {f"{layer}.mlp" for layer in CLIP}),
        ("vit", PLAIN, ["vit.encoder.layer.0", "vit.encoder.layer.1"], {"vit.layers.0.mlp", "vit.layers.1.mlp"}),
        (
            "bert",
            {**PLAIN, "variant": "vl_adapter", "insert": "parallel_mlp"},
            ["bert.encoder.layer.0", "bert.encoder.layer.1"],
            {"bert.encoder.layer.0.output.dense", "bert.encoder.layer.1.output.dense"},
        ),
    ],
)
def test_it_goes_where_the_config_says(push, name, config, layers, modules):
    found = accounted(push(config, layers), base(name)[0])

    assert found.problems == []
    assert (found.delta.name, found.delta.variant) == ("visual_adapter", config["variant"])
    assert not found.delta.foldable
    assert {effect.module for effect in found.effects} == modules


def test_a_missing_layer_is_found(push):
    assert codes(push(CONVPASS, VIT[:1]), base("vit")[0]) == ["missing_tensors"]


def test_a_missing_tensor_is_found(push):
    folder = with_tensors(push(CONVPASS, VIT), lambda name: None if name.endswith("0.convpass.up.bias") else name)

    assert codes(folder, base("vit")[0]) == ["missing_tensors"]


def test_a_layer_that_the_base_lacks_is_left_over(push):
    assert codes(push(CONVPASS, [*VIT, "vit.layers.2"]), base("vit")[0]) == ["unexpected_tensors"]


def test_names_of_another_network_are_found(push):
    assert codes(push(CONVPASS, ["swin.layers.9"]), base("vit")[0]) == ["no_tensor_applied"]


def test_another_width_is_found(push):
    folder = with_document(push(CONVPASS, VIT), "adapter_config.json", lambda config: config.update(rank=8))

    assert codes(folder, base("vit")[0]) == ["shape"]


@pytest.mark.parametrize(
    "change",
    [
        {"variant": "mystery"},
        {"insert": "before_mlp"},
        {"rank": None},
        {"grid": [2]},
        {"grid": None},
        {"activation": "mish"},
        {"scale": "learned"},
        {"stride": 2},
    ],
    ids=lambda change: next(iter(change)),
)
def test_what_has_no_meaning_is_refused_by_name(push, change):
    folder = with_document(push(CONVPASS, VIT), "adapter_config.json", lambda config: config.update(change))

    assert codes(folder, base("vit")[0]) == ["bad_config"]


def test_a_grid_without_a_convolution_is_refused(push):
    assert codes(push({**PLAIN, "grid": [2, 2]}, VIT), base("vit")[0]) == ["bad_config"]
