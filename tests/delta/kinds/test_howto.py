"""The kind that the how-to adds as an exercise does what the how-to says."""

import re
import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from deltareg.delta.accounting import account, recognise
from deltareg.delta.fold import FoldedBase
from deltareg.delta.kinds import all_kinds
from tests import tiny
from tests.folders import open_base, open_folder

PAGE = Path(__file__).parents[3] / "docs" / "howto" / "add-a-kind.md"
(SOURCE,) = re.findall(r"```python\n(.*?)```", PAGE.read_text(), re.DOTALL)
MODULE = "h.0.attn.c_attn"


@pytest.fixture
def ssf(monkeypatch):
    """Run the page's file as a module of its own."""
    module = ModuleType("ssf_of_the_howto")
    monkeypatch.setitem(sys.modules, module.__name__, module)
    exec(compile(SOURCE, str(PAGE), "exec"), module.__dict__)
    return module.SSF


@pytest.fixture
def base(tmp_path):
    """Write a base of no known type: layers with biases, outputs as rows."""
    rng = np.random.default_rng(5)
    weights = {
        f"blocks.{at}.fc.{end}": tiny.normal(rng, *shape)
        for at in range(2)
        for end, shape in {"weight": (6, 4), "bias": (6,)}.items()
    }
    tiny.write(tmp_path / "base", weights, file="model.safetensors")
    (tmp_path / "base" / "config.json").write_text("{}")
    return tmp_path / "base", weights


def delta(path, weights, **changes):
    rng = np.random.default_rng(6)
    tensors = {}
    for module in sorted({name.rpartition(".")[0] for name in weights}):
        tensors[f"base_model.model.{module}.ssf_scale"] = tiny.normal(rng, 6)
        tensors[f"base_model.model.{module}.ssf_shift"] = tiny.normal(rng, 6)
    config = {"peft_type": "SSF", "target_modules": ["fc"]}
    return tiny.write(path, {**tensors, **changes}, adapter_config=config)


def opened(ssf, path, base):
    view, tensors = open_base(base)
    folder = open_folder(path)
    kind, _ = recognise(folder.files, view, kinds=[*all_kinds().values(), ssf])
    return account(kind.parse(folder.files, view), folder.files, folder.tensors, view), tensors


def test_it_is_short():
    assert len([line for line in SOURCE.splitlines() if line.strip()]) < 60


def test_it_folds_as_its_formula_says(ssf, tmp_path, base):
    folder, weights = base
    made = delta(tmp_path / "delta", weights)

    found, tensors = opened(ssf, made.path, folder)

    folding = FoldedBase(found.effects, tensors)
    assert found.problems == []
    assert found.delta.variant == "ssf"
    for name, weight in weights.items():
        module = f"base_model.model.{name.rpartition('.')[0]}"
        scale = made.tensors[f"{module}.ssf_scale"].astype(np.float64)
        shift = made.tensors[f"{module}.ssf_shift"].astype(np.float64)
        want = weight * scale[:, None] if weight.ndim == 2 else weight * scale + shift
        got = np.frombuffer(b"".join(folding.rows(name)), np.float32).reshape(weight.shape)
        np.testing.assert_allclose(got, want, atol=1e-6)


@pytest.mark.parametrize(("end", "shape"), [("ssf_scale", (5,)), ("ssf_shift", (5,)), ("ssf_scale", (7,))])
def test_what_does_not_fit_is_refused_without_a_line_for_it(ssf, tmp_path, base, end, shape):
    folder, weights = base
    name = f"base_model.model.blocks.0.fc.{end}"
    made = delta(tmp_path / "delta", weights, **{name: np.ones(shape, np.float32)})

    found, _ = opened(ssf, made.path, folder)

    assert {problem.code for problem in found.problems} == {"shape"}
