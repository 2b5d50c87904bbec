"""peft's adaption prompts: where they go, what they compute, and what is refused."""

import json
from dataclasses import replace

import numpy as np
import pytest
from safetensors.numpy import save_file

from deltareg.delta.accounting import account, recognise
from deltareg.delta.kind import HookInputs
from deltareg.delta.maths.numpy_ops import NumPyOps
from deltareg.errors import Refused
from tests import tiny
from tests.folders import open_base, open_folder

N, LAYERS, WIDTH = 3, tiny.LAYERS, tiny.WIDTH
ATTENTIONS = [f"model.layers.{layer}.self_attn" for layer in range(LAYERS)]
CONFIG = {
    "adapter_layers": LAYERS,
    "adapter_len": N,
    "base_model_name_or_path": "tiny",
    "inference_mode": True,
    "peft_type": "ADAPTION_PROMPT",
    "peft_version": "0.21.2",
    "target_modules": "self_attn",
    "task_type": "CAUSAL_LM",
}


def numbers(*shape):
    return np.random.default_rng(5).standard_normal(shape).astype(np.float32)


def tensors(layers=range(LAYERS), *, part="self_attn"):
    """Give a gate and a prompt for each layer."""
    found = {}
    for layer in layers:
        path = f"base_model.model.model.layers.{layer}.{part}"
        found[f"{path}.adaption_gate"] = numbers(1)
        found[f"{path}.adaption_prompt"] = numbers(1, N, WIDTH)
    return found


@pytest.fixture
def opened(tmp_path):
    """Give a function that writes a delta and accounts for it on a tiny Llama."""
    made = tiny.base(tmp_path / "base")

    def open_delta(given, *, view=lambda base: base, **changes):
        folder = tmp_path / "delta"
        folder.mkdir(exist_ok=True)
        config = {name: value for name, value in {**CONFIG, **changes}.items() if value != "absent"}
        (folder / "adapter_config.json").write_text(json.dumps(config))
        save_file(given, folder / "adapter_model.safetensors")
        base = view(open_base(made.path)[0])
        files = open_folder(folder)
        kind, _ = recognise(files.files, base)
        return account(kind.parse(files.files, base), files.files, files.tensors, base)

    return open_delta


@pytest.fixture
def codes(opened):
    """Give a function that says which errors a delta gets."""

    def errors(*args, **more):
        try:
            problems = opened(*args, **more).problems
        except Refused as refused:
            problems = refused.problems
        return [problem.code for problem in problems if problem.severity == "error"]

    return errors


def test_a_prompt_goes_beside_every_attention(opened):
    found = opened(tensors())

    assert (found.delta.name, found.delta.variant, found.delta.foldable) == ("prefix", "adaption", False)
    assert [(effect.module, effect.when) for effect in found.effects] == [(path, "after") for path in ATTENTIONS]
    assert found.problems == []
    assert found.roles.keys() == tensors().keys()


def test_only_the_last_layers_may_have_one(opened):
    found = opened(tensors([LAYERS - 1]), adapter_layers=1)

    assert [effect.module for effect in found.effects] == ATTENTIONS[-1:]


def test_the_second_attention_is_what_its_formula_says(opened):
    """One head at a time, in float64, beside what the hook computes for all of them at once."""
    second = opened(tensors()).effects[0].hook
    shape, heads = second.shape, second.heads
    width, each = shape.width, heads // shape.heads
    value, queries = numbers(2, 4, WIDTH), numbers(2, 4, heads * width) * 2
    angles = np.linspace(0, 3, 4 * width).reshape(1, 4, width)
    cosines, sines = np.cos(angles).astype("f4"), np.sin(angles).astype("f4")
    weights = [numbers(WIDTH, shape.heads * width), numbers(WIDTH, shape.heads * width) * 0.5]
    out = numbers(heads * width, WIDTH)
    functions = {"keys": lambda x: x @ weights[0], "values": lambda x: x @ weights[1], "out": lambda x: x @ out}
    arrays = {"queries": queries, "cosines": cosines, "sines": sines}

    found = second.apply(value, HookInputs(arrays, functions), NumPyOps())

    prompt = np.asarray(NumPyOps().load(second.prompt), "f8")[0]
    keys, values = prompt @ weights[0], prompt @ weights[1]
    parts = []
    for head in range(heads):
        query = queries[..., head * width : (head + 1) * width].astype("f8")
        turned = np.concatenate([-query[..., width // 2 :], query[..., : width // 2]], -1)
        query = query * np.cos(angles) + turned * np.sin(angles)
        own = slice(head // each * width, (head // each + 1) * width)
        scores = np.exp(query @ keys[:, own].T / np.sqrt(width))
        parts.append(scores / scores.sum(-1, keepdims=True) @ values[:, own])
    gate = float(np.asarray(NumPyOps().load(second.gate))[0])
    expected = value + gate * np.concatenate(parts, -1) @ out
    assert np.max(np.abs(found - expected)) < 1e-4
    assert np.max(np.abs(expected - value)) > 0.1


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"adapter_len": N + 1}, "shape"),
        ({"adapter_len": 0}, "bad_config"),
        ({"adapter_layers": LAYERS - 1}, "missing_tensors"),
        ({"target_modules": "mlp"}, "bad_config"),
        ({"peft_type": "absent"}, "bad_config"),
        ({"bias": "all"}, "bad_config"),
    ],
)
def test_a_config_that_does_not_fit_is_refused(codes, changes, code):
    assert set(codes(tensors(), **changes)) == {code}


@pytest.mark.parametrize(
    ("name", "value", "code"),
    [
        ("adaption_prompt", numbers(1, N, WIDTH + 1), "shape"),
        ("adaption_prompt", numbers(1, N, WIDTH).astype(np.int32), "shape"),
        ("adaption_gate", numbers(2), "shape"),
        ("adaption_gate", None, "missing_tensors"),
        ("surprise", numbers(1), "unexpected_tensors"),
        ("adaption_gate.weight", numbers(1), "unexpected_tensors"),
    ],
)
def test_tensors_that_do_not_fit_are_refused(codes, name, value, code):
    given = tensors()
    key = f"base_model.model.{ATTENTIONS[0]}.{name}"
    if value is None:
        del given[key]
    else:
        given[key] = value

    assert codes(given) == [code]


def test_layers_that_the_base_does_not_have_are_refused(codes):
    assert "partial_application" in codes(tensors(range(LAYERS + 1)), adapter_layers=LAYERS + 1)
    assert "no_tensor_applied" in codes(tensors(part="attn"), adapter_layers=LAYERS)


def test_where_it_goes_in_another_type_of_base_is_not_guessed(codes):
    def qwen(base):
        return replace(base, names=replace(base.names, model_type="qwen2"))

    assert codes(tensors(), view=qwen) == ["unknown_kind"]
