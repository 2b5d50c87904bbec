"""LoRAs with an alpha beside each pair of diffusers' names: read as its Flux reads them, and refused elsewhere."""

import json

import numpy as np
import pytest
from safetensors.numpy import save_file

from deltareg.delta.delta_manifest import assess
from deltareg.delta.examine import examine
from deltareg.delta.fold import FoldedBase
from deltareg.errors import Refused
from deltareg.tensors.array import to_f32, view
from tests.folders import open_base, open_folder

INNER, OUTER = "blocks.0.proj_out", "proj_out"
WIDTH, RANK = 8, 2


@pytest.fixture
def write(tmp_path):
    chance = np.random.default_rng(3)

    def draw(*shape):
        return chance.standard_normal(shape).astype(np.float32)

    def make(alphas, *, class_name="FluxTransformer2DModel", metadata=None):
        """Write a base and a LoRA on two modules of it; the alphas by module, as far as there are any."""
        (tmp_path / "base").mkdir()
        (tmp_path / "delta").mkdir()
        (tmp_path / "base" / "config.json").write_text(json.dumps({"_class_name": class_name}))
        base = {f"{module}.weight": draw(WIDTH, WIDTH) for module in (INNER, OUTER)}
        save_file(base, tmp_path / "base" / "diffusion_pytorch_model.safetensors")
        tensors = {}
        for module in (INNER, OUTER):
            tensors[f"transformer.{module}.lora_A.weight"] = draw(RANK, WIDTH)
            tensors[f"transformer.{module}.lora_B.weight"] = draw(WIDTH, RANK)
        tensors |= {f"transformer.{module}.alpha": np.array(alpha, np.float32) for module, alpha in alphas.items()}
        save_file(tensors, tmp_path / "delta" / "lora.safetensors", metadata=metadata)
        return base, tensors

    return make


def found(tmp_path):
    """Assess it and look at its values."""
    (view_, weights), folder = open_base(tmp_path / "base"), open_folder(tmp_path / "delta")
    assessment = assess(folder.files, folder.tensors, view_)
    problems = assessment.errors or examine(assessment.account, folder.tensors, weights, folder.files)
    return assessment, weights, problems


def codes(tmp_path):
    try:
        return {problem.code for problem in found(tmp_path)[2]}
    except Refused as refused:
        return {problem.code for problem in refused.problems}


def test_each_pair_is_scaled_by_its_alpha(write, tmp_path):
    base, tensors = write({INNER: 6.0, OUTER: 6.0})

    assessment, weights, problems = found(tmp_path)

    assert problems == []
    folding = FoldedBase(assessment.account.effects, weights)
    for module in (INNER, OUTER):
        name = f"{module}.weight"
        got = to_f32(view(b"".join(folding.rows(name)), "F32", folding.shape(name)), "F32")
        a, b = (tensors[f"transformer.{module}.lora_{side}.weight"] for side in "AB")
        assert np.allclose(got, base[name] + 6.0 / RANK * (b @ a), atol=1e-5)
    assert assessment.kind.source.library == "diffusers"


@pytest.mark.parametrize(
    ("alphas", "options", "code"),
    [
        ({INNER: 6.0, OUTER: 4.0}, {}, "ambiguous"),  # the library may take the outer one's for the inner
        ({INNER: 6.0}, {}, "missing_tensors"),
        ({INNER: 0.0, OUTER: 0.0}, {}, "bad_config"),
        ({INNER: 6.0, OUTER: 6.0}, {"class_name": "SD3Transformer2DModel"}, "ambiguous"),
        (
            {INNER: 6.0, OUTER: 6.0},
            {"metadata": {"lora_adapter_metadata": '{"transformer.r": 2, "transformer.lora_alpha": 4}'}},
            "unexpected_tensors",
        ),
    ],
)
def test_what_the_library_would_scale_otherwise_is_refused(write, tmp_path, alphas, options, code):
    write(alphas, **options)

    assert codes(tmp_path) == {code}
