"""LoRA files of today's diffusers: read as peft's own on the part that they name."""

import json

import numpy as np
import pytest
from safetensors.numpy import save_file

from deltareg.delta.delta_manifest import assess
from deltareg.delta.fold import FoldedBase
from deltareg.errors import Refused
from deltareg.tensors.array import to_f32, view
from tests import tiny
from tests.folders import open_base, open_folder

FILE = "pytorch_lora_weights.safetensors"


@pytest.fixture
def base(tmp_path):
    return tiny.base(tmp_path / "base")


def write(tmp_path, tensors, **config):
    """Write a file as `save_lora_weights` does."""
    told = {f"unet.{key}": value for key, value in config.items()}
    metadata = {"format": "pt"}
    if config:
        metadata["lora_adapter_metadata"] = json.dumps(told)
    (tmp_path / "delta").mkdir()
    save_file(tensors, tmp_path / "delta" / FILE, metadata=metadata)
    return tmp_path / "delta"


def tensors_of(tmp_path, base, part="unet", **options):
    plain = tiny.lora(tmp_path / "plain", base, **options)
    return {f"{part}.{n.removeprefix(tiny.PREFIX)}": t for n, t in plain.tensors.items()}


def folded(path, base):
    view_, weights = open_base(base.path)
    folder = open_folder(path)
    found = assess(folder.files, folder.tensors, view_)
    assert found.errors == []
    assert found.account.roles.keys() == folder.files.names
    folding = FoldedBase(found.account.effects, weights)
    return found, {
        name: to_f32(view(b"".join(folding.rows(name)), "F32", folding.shape(name)), "F32") for name in folding.changed
    }


def refused(path, base):
    folder, (view_, _) = open_folder(path), open_base(base.path)
    try:
        problems = assess(folder.files, folder.tensors, view_).errors
    except Refused as refused:
        problems = list(refused.problems)
    return problems


@pytest.mark.parametrize(
    ("config", "scale"), [({"r": 2, "lora_alpha": 1}, 0.5), ({"r": 2, "lora_alpha": 4, "use_rslora": True}, 2**1.5)]
)
def test_the_scale_is_what_the_metadata_tells(tmp_path, base, config, scale):
    tensors = tensors_of(tmp_path, base)

    found, got = folded(write(tmp_path, tensors, **config), base)

    module = "model.layers.0.self_attn.q_proj"
    a, b = (tensors[f"unet.{module}.lora_{side}.weight"] for side in "AB")
    want = base.weights[f"{module}.weight"] + np.float32(scale) * (b @ a)
    assert np.allclose(got[f"{module}.weight"], want, atol=1e-6)
    assert found.kind.source.library == "diffusers"
    assert found.kind.config()["part"] == "unet"


def test_without_metadata_alpha_is_the_rank(tmp_path, base):
    tensors = tensors_of(tmp_path, base)

    _, got = folded(write(tmp_path, tensors), base)

    module = "model.layers.0.self_attn.q_proj"
    a, b = (tensors[f"unet.{module}.lora_{side}.weight"] for side in "AB")
    assert np.allclose(got[f"{module}.weight"], base.weights[f"{module}.weight"] + b @ a, atol=1e-6)


def test_the_tensors_say_which_modules_were_trained(tmp_path, base):
    # The library puts adapters where the file has tensors, whatever the config asks for.
    path = write(tmp_path, tensors_of(tmp_path, base), r=2, lora_alpha=2, target_modules=["q_proj"])

    _, got = folded(path, base)

    assert any("v_proj" in name for name in got)


def test_dora_is_read_from_the_metadata(tmp_path, base):
    tensors = tensors_of(tmp_path, base, use_dora=True)

    found, _ = folded(write(tmp_path, tensors, r=2, lora_alpha=2, use_dora=True), base)

    assert found.kind.variant == "dora"


def test_two_parts_are_named(tmp_path, base):
    both = tensors_of(tmp_path, base) | tensors_of(tmp_path / "more", base, part="text_encoder")

    (problem,) = refused(write(tmp_path, both, r=2, lora_alpha=2), base)

    assert problem.code == "ambiguous"
    assert "text_encoder, unet" in problem.message


def test_ranks_that_differ_need_their_alphas(tmp_path, base):
    tensors = tensors_of(tmp_path, base)
    name = next(name for name in tensors if "lora_A" in name)
    tensors[name] = np.vstack([tensors[name]] * 2)
    other = name.replace("lora_A", "lora_B")
    tensors[other] = np.hstack([tensors[other]] * 2)

    (problem,) = refused(write(tmp_path, tensors), base)

    assert problem.code == "missing_config"
    assert "the ranks are 2, 4" in problem.message


def test_problems_name_the_tensors_of_the_file(tmp_path, base):
    tensors = tensors_of(tmp_path, base)
    tensors["unet.model.layers.9.self_attn.q_proj.lora_A.weight"] = np.zeros((2, 8), np.float32)

    found = refused(write(tmp_path, tensors, r=2, lora_alpha=2), base)

    assert "unet.model.layers.9.self_attn.q_proj.lora_A.weight" in {p.tensor for p in found}


@pytest.mark.parametrize("config", [{"r": "x"}, {"r": float("nan")}])
def test_problems_of_the_metadata_name_it_and_no_file(tmp_path, base, config):
    found = refused(write(tmp_path, tensors_of(tmp_path, base), **config), base)

    assert {p.code for p in found} == {"bad_config"}
    assert all(p.message.startswith("lora_adapter_metadata: ") for p in found)
