"""Packed weights: what a config says, which weights the tensors are, and their numbers."""

import json

import numpy as np
import pytest
from safetensors.numpy import load_file as load_numpy

torch = pytest.importorskip("torch", reason="packs with torch: pip install 'deltareg[verify]'")
from safetensors.torch import load_file, save_file  # noqa: E402  # needs torch

from deltareg.client.folders.folder import open_folder  # noqa: E402
from deltareg.delta.kind import BaseView  # noqa: E402
from deltareg.delta.names import name_map_for  # noqa: E402
from deltareg.delta.quantised.fit import packed_problems, variant_problems  # noqa: E402
from deltareg.delta.quantised.packed import contents  # noqa: E402
from deltareg.delta.quantised.scheme import read_quantisation  # noqa: E402
from deltareg.delta.quantised.values import values  # noqa: E402
from deltareg.digest import Digest  # noqa: E402
from deltareg.errors import InvalidInput  # noqa: E402
from deltareg.identity.fingerprint import TensorRecord  # noqa: E402
from tests import packing, tiny  # noqa: E402
from tests.fixtures.registries import SAMPLES  # noqa: E402

DIGEST = Digest("blake3", "0" * 64)
# How far a number may be from the one that was packed, in shares of the largest of its block.
ROUNDING = {"fp8": 1 / 14, "int8": 1 / 250, "gptq": 1 / 14, "awq": 1 / 14, "bnb4": 1 / 6}


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    """Write a base in full precision."""
    return packing.base(tmp_path_factory.mktemp("root") / "base")


def unpacked(folder, scheme):
    """Give the numbers of all packed weights of a folder."""
    told = read_quantisation(json.loads((folder / "config.json").read_text()))
    fields = {} if told is None else told.fields
    with open_folder(folder, purpose="base") as opened:
        found = contents(opened.tensors, scheme, fields)
        return {
            name: np.concatenate(list(values(packed, opened.tensors, scheme, fields)))
            for name, packed in found.packed.items()
        }


def view(folder):
    """Give a folder as a base, by its headers."""
    config = json.loads((folder / "config.json").read_text())
    with open_folder(folder, purpose="base") as opened:
        records = {n: TensorRecord(n, tensor.dtype, tensor.shape, DIGEST) for n, tensor in opened.tensors.items()}
    return BaseView(DIGEST, records, config, name_map_for(config, records))


@pytest.mark.parametrize("scheme", sorted(packing.PACKERS))
def test_what_was_packed_comes_back_but_for_rounding(root, scheme, tmp_path):
    packed = packing.pack(root, tmp_path / scheme, scheme)
    whole = load_file(root / "model.safetensors")

    found = unpacked(packed, scheme)

    assert set(found) == {name for name in whole if name.endswith(packing.PROJECTIONS)}
    for name, numbers in found.items():
        weight = whole[name].float().numpy()
        assert numbers.shape == weight.shape
        assert np.abs(numbers - weight).max() <= ROUNDING[scheme] * 2 * np.abs(weight).max(), name


@pytest.mark.parametrize("scheme", ["bnb4", "int8"])
def test_what_a_library_wrote_unpacks_to_what_the_library_unpacks(scheme, tmp_path):
    """Written by bitsandbytes 0.50.2, with its own numbers beside: fp4, and nf4 packed twice."""
    tensors = load_numpy(SAMPLES / "quantised" / f"{scheme}.safetensors")
    expected = {n.removeprefix("expected."): t for n, t in tensors.items() if "expected." in n}
    own = {n: torch.from_numpy(t) for n, t in tensors.items() if "expected." not in n}
    save_file(own, tmp_path / "model.safetensors")
    config = {"quantization_config": packing.CONFIGS[scheme]}
    (tmp_path / "config.json").write_text(json.dumps(config))

    found = unpacked(tmp_path, scheme)

    assert found.keys() == expected.keys()
    for name, numbers in found.items():
        np.testing.assert_allclose(numbers, expected[name], rtol=1e-6, atol=1e-6)


def test_fp8_unpacks_to_what_transformers_loads(root, tmp_path):
    transformers = pytest.importorskip("transformers")
    packed = packing.pack(root, tmp_path / "fp8", "fp8")
    config = transformers.FineGrainedFP8Config(dequantize=True, weight_block_size=(16, 16))
    theirs = transformers.AutoModelForCausalLM.from_pretrained(
        packed, quantization_config=config, dtype=torch.float32
    ).state_dict()

    found = unpacked(packed, "fp8")

    assert len(found) == 14
    for name, numbers in found.items():
        np.testing.assert_allclose(numbers, theirs[name].float().numpy(), rtol=1e-6, atol=1e-7)


def test_mxfp4_unpacks_to_what_transformers_unpacks(tmp_path):
    theirs = pytest.importorskip("transformers.integrations.mxfp4")
    random = torch.Generator().manual_seed(0)
    blocks = torch.randint(0, 256, (2, 6, 3, 16), dtype=torch.uint8, generator=random)
    scales = torch.randint(120, 134, (2, 6, 3), dtype=torch.uint8, generator=random)
    name = "model.layers.0.mlp.experts.down_proj"
    save_file({f"{name}_blocks": blocks, f"{name}_scales": scales}, tmp_path / "model.safetensors")
    (tmp_path / "config.json").write_text('{"quantization_config": {"quant_method": "mxfp4"}}')

    found = unpacked(tmp_path, "mxfp4")

    wanted = theirs.convert_moe_packed_tensors(blocks, scales, dtype=torch.float32)
    assert np.array_equal(found[name], wanted.numpy())


CONFIGS = [
    ({}, None, None),
    ({"quantization_config": {"quant_method": "fp8"}}, "fp8", "fp8"),
    ({"quantization_config": {"load_in_4bit": True}}, "quantization_config", "bnb4"),
    ({"quantization_config": packing.CONFIGS["int8"]}, "bitsandbytes", "int8"),
    ({"quantization_config": {"quant_method": "gptq", "bits": 4}}, "gptq", "gptq"),
    ({"quantization_config": {"quant_method": "hqq"}}, "hqq", None),
    ({"text_config": {"quantization_config": {"quant_method": "awq"}}}, "awq", "awq"),
    (
        {
            "compression_config": {
                "quant_method": "compressed-tensors",
                "config_groups": {"group_0": {"weights": {"num_bits": 8, "type": "int"}}},
            }
        },
        "compressed-tensors",
        "int8",
    ),
    (
        {
            "quantization_config": {
                "quant_method": "compressed-tensors",
                "config_groups": {"group_0": {"weights": {"num_bits": 4, "type": "int"}}},
            }
        },
        "compressed-tensors",
        None,
    ),
    ({"quantization_config": "fp8"}, None, None),
    ({"quantization_config": {"quant_method": "compressed-tensors", "config_groups": [1]}}, "compressed-tensors", None),
]


@pytest.mark.parametrize(("config", "method", "scheme"), CONFIGS)
def test_a_config_says_how_its_weights_are_packed(config, method, scheme):
    found = read_quantisation(config)

    assert ((found and found.method) or None, found and found.scheme) == (method, scheme)


@pytest.mark.parametrize("scheme", sorted(packing.PACKERS))
def test_a_packed_base_fits_its_own_root_and_no_other(root, scheme, tmp_path):
    packed = view(packing.pack(root, tmp_path / scheme, scheme))
    other = tiny.base(tmp_path / "other").path

    assert variant_problems(packed, scheme, view(root)) == []
    assert variant_problems(packed, scheme, view(other))
    assert packed_problems(packed, "x")[0].code == "quantised_base"
    assert packed_problems(view(root), "x") == []


def test_why_a_base_is_no_variant_is_said(root, tmp_path):
    whole = view(root)
    packed = view(packing.pack(root, tmp_path / "bnb4", "bnb4"))
    unknown = packing.pack(root, tmp_path / "hqq", "fp8", config={"quant_method": "hqq"})

    def told(*of):
        return [f"{problem.message}; {problem.fix}" for problem in variant_problems(*of)]

    assert told(packed, "fp8", whole) == [
        "its config says bitsandbytes, which is bnb4 here, not fp8; say --quantised bnb4"
    ]
    assert "hqq, which is none of fp8" in told(view(unknown), "fp8", whole)[0]
    assert "none of its tensors is packed as gptq" in told(whole, "gptq", whole)[0]
    assert "the base named is packed itself (bnb4)" in told(packed, "bnb4", packed)[0]


def test_a_base_that_lacks_a_module_or_has_one_more_is_no_variant(root, tmp_path):
    packed = packing.pack(root, tmp_path / "fp8", "fp8")
    tensors = load_file(packed / "model.safetensors")
    lost, more = dict(tensors), dict(tensors)
    del lost["model.norm.weight"]
    more["model.layers.7.mlp.up_proj.weight"] = torch.zeros(2, 2)

    save_file(lost, packed / "model.safetensors")
    without = variant_problems(view(packed), "fp8", view(root))
    save_file(more, packed / "model.safetensors")
    beyond = variant_problems(view(packed), "fp8", view(root))

    assert [problem.message for problem in without] == ["it has no model.norm.weight"]
    assert "layers.7.mlp.up_proj" in beyond[0].message


def spoilt_state(**changes):
    def spoil(tensors):
        name = next(n for n in tensors if "bitsandbytes__nf4" in n)
        state = json.loads(bytes(tensors[name].tolist())) | changes
        tensors[name] = torch.tensor(list(json.dumps(state).encode()), dtype=torch.uint8)

    return spoil


def spoilt_part(end, shape, dtype=torch.float32):
    def spoil(tensors):
        name = next(n for n in tensors if n.endswith(end))
        tensors[name] = torch.ones(shape, dtype=dtype)

    return spoil


SPOILT = [
    ("bnb4", spoilt_state(blocksize=0)),
    ("bnb4", spoilt_state(blocksize=1 << 19)),
    ("bnb4", spoilt_state(blocksize=True)),
    ("bnb4", spoilt_state(shape=[1 << 39])),
    ("bnb4", spoilt_state(shape="no")),
    ("bnb4", spoilt_part("bitsandbytes__nf4", (90,), torch.uint8)),
    ("bnb4", spoilt_part("quant_map", (3,))),
    ("fp8", spoilt_part("_scale_inv", (7, 3))),
    ("int8", spoilt_part(".SCB", (5,))),
    ("gptq", spoilt_part(".g_idx", (32,), torch.int32)),
    ("gptq", spoilt_part(".qzeros", (1, 1), torch.int32)),
    ("awq", spoilt_part(".scales", (3, 5))),
]


@pytest.mark.parametrize(("scheme", "spoil"), SPOILT)
def test_parts_that_do_not_fit_each_other_are_refused(root, scheme, spoil, tmp_path):
    packed = packing.pack(root, tmp_path / scheme, scheme)
    tensors = load_file(packed / "model.safetensors")
    spoil(tensors)
    save_file(tensors, packed / "model.safetensors")

    with pytest.raises(InvalidInput, match=f"is not packed as {scheme} in a form that is known"):
        unpacked(packed, scheme)
