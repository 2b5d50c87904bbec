"""Prefixes, prompts and unions of the adapters library: accounted for, and made into effects."""

import json

import numpy as np
import pytest
from safetensors.numpy import save_file

from deltareg.delta.accounting import account, recognise
from deltareg.delta.examine import examine
from deltareg.delta.kind import ActivationHook, HookInputs
from deltareg.delta.maths.numpy_ops import NumPyOps
from deltareg.errors import Refused
from tests.folders import open_base, open_folder

N, LAYERS, WIDTH, HEADS, NARROW = 3, 2, 8, 2, 5
BERT = {
    "architectures": ["BertModel"],
    "model_type": "bert",
    "hidden_size": WIDTH,
    "num_hidden_layers": LAYERS,
    "num_attention_heads": HEADS,
    "vocab_size": 20,
}
ATTENTION = "encoder.layer.{}.attention.self"
POOL = "bert.encoder.layer.{}.attention.self.prefix_tuning.pool.prefix_tunings.task.self_prefix."
OWN = "bert.prefix_tuning.prefix_tunings.task.self_prefix."
GATE = "bert.encoder.layer.{}.attention.self.prefix_tuning.prefix_gates.task."
PREFIX = {
    "architecture": "prefix_tuning",
    "bottleneck_size": NARROW,
    "cross_prefix": True,
    "dropout": 0.0,
    "encoder_prefix": True,
    "flat": False,
    "init_weights_seed": None,
    "leave_out": [],
    "non_linearity": "tanh",
    "prefix_length": N,
    "shared_gating": True,
    "use_gating": False,
}
FLAT = {**PREFIX, "flat": True}
PROMPT = {
    "architecture": "prompt_tuning",
    "combine": "prefix",
    "init_weights_seed": None,
    "prompt_init": "random_uniform",
    "prompt_init_text": None,
    "prompt_length": N,
}
PROMPT_NAME = "bert.prompt_tuning.prompt_tunings.task.prompt_embedding.weight"
LORA = {"architecture": "lora", "r": 2, "alpha": 4, "attn_matrices": ["q"]}


def numbers(seed, *shape):
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


def network(layers=LAYERS):
    """Make what a pool stores of a prefix for some layers."""
    return {
        "wte.weight": numbers(1, N, WIDTH),
        "control_trans.0.weight": numbers(2, NARROW, WIDTH),
        "control_trans.0.bias": numbers(3, NARROW),
        "control_trans.2.weight": numbers(4, 2 * layers * WIDTH, NARROW),
        "control_trans.2.bias": numbers(5, 2 * layers * WIDTH),
    }


def flat(layers=LAYERS):
    return {"control_trans": numbers(6, N * 2 * layers * WIDTH)}


def pooled(stored, layers=range(LAYERS)):
    """Store it as the library does: for the network, and again for every attention."""
    places = [OWN, *(POOL.format(n) for n in layers)]
    return {f"{place}{name}": value for place in places for name, value in stored.items()}


def lora():
    return {
        f"bert.{ATTENTION.format(n)}.query.loras.task.lora_{letter}": numbers(n, *shape)
        for n in range(LAYERS)
        for letter, shape in (("A", (2, WIDTH)), ("B", (WIDTH, 2)))
    }


@pytest.fixture
def base(tmp_path):
    folder = tmp_path / "base"
    folder.mkdir()
    (folder / "config.json").write_text(json.dumps(BERT))
    shapes: dict[str, tuple[int, ...]] = {"embeddings.word_embeddings.weight": (20, WIDTH)}
    for layer in range(LAYERS):
        for name in ("query", "key", "value"):
            shapes[f"{ATTENTION.format(layer)}.{name}.weight"] = (WIDTH, WIDTH)
        shapes[f"encoder.layer.{layer}.output.LayerNorm.weight"] = (WIDTH,)
    save_file({n: numbers(9, *s) for n, s in shapes.items()}, folder / "model.safetensors")
    return open_base(folder)[0]


@pytest.fixture
def opened(tmp_path, base):
    """Give a function that writes an adapter, and gives its account and its folder."""

    def open_adapter(method, tensors, **frame):
        config = {
            "config": method,
            "hidden_size": WIDTH,
            "model_class": "BertModel",
            "model_name": "x",
            "model_type": "bert",
            "name": "task",
            "version": "adapters.1.3.0",
            **frame,
        }
        folder = tmp_path / "delta"
        folder.mkdir(exist_ok=True)
        (folder / "adapter_config.json").write_text(json.dumps(config))
        save_file(tensors, folder / "adapter.safetensors")
        found = open_folder(folder)
        kind, _ = recognise(found.files, base)
        made = account(kind.parse(found.files, base), found.files, found.tensors, base)
        return made, found

    return open_adapter


@pytest.fixture
def codes(opened):
    """Give a function that says which errors an adapter gets, by headers and by its numbers."""

    def errors(*args, **more):
        try:
            made, found = opened(*args, **more)
        except Refused as refused:
            return [problem.code for problem in refused.problems]
        problems = list(made.problems)
        if made.is_accepted:
            problems += examine(made, found.tensors, None, found.files)
        return [problem.code for problem in problems if problem.severity == "error"]

    return errors


def test_a_prefix_is_what_its_network_makes_of_its_vectors(opened):
    stored = network()

    made, _ = opened(PREFIX, pooled(stored))
    keys, values = made.effects[1].vectors.make(NumPyOps())

    inner = np.tanh(stored["wte.weight"] @ stored["control_trans.0.weight"].T + stored["control_trans.0.bias"])
    whole = inner @ stored["control_trans.2.weight"].T + stored["control_trans.2.bias"]
    rows = whole.reshape(N, LAYERS, 2, HEADS, WIDTH // HEADS)
    assert np.allclose(keys, rows[:, 1, 0], atol=1e-6)
    assert np.allclose(values, rows[:, 1, 1], atol=1e-6)


def test_a_flat_prefix_is_stored_as_it_is(opened):
    stored = flat()

    made, _ = opened(FLAT, pooled(stored))
    keys, values = made.effects[1].vectors.make(NumPyOps())

    rows = stored["control_trans"].reshape(N, LAYERS, 2, HEADS, WIDTH // HEADS)
    assert np.array_equal(keys, rows[:, 1, 0])
    assert np.array_equal(values, rows[:, 1, 1])
    assert made.delta.variant == "flat"


def test_a_prefix_does_not_move_the_tokens_and_every_copy_is_accounted_for(opened):
    tensors = pooled(network())

    made, _ = opened(PREFIX, tensors)

    assert [(e.module, e.shift) for e in made.effects] == [(ATTENTION.format(layer), 0) for layer in range(LAYERS)]
    assert made.roles.keys() == tensors.keys()
    assert made.roles[f"{OWN}wte.weight"][0] == "self_prefix.wte.weight"
    assert made.roles[f"{POOL.format(1)}wte.weight"][0] == "self_prefix.wte.weight_again"
    assert not made.delta.foldable


@pytest.mark.parametrize("kept", [OWN, POOL.format(1)])
def test_one_copy_of_the_pool_is_enough(codes, kept):
    tensors = {name: t for name, t in pooled(network()).items() if name.startswith(kept)}

    assert codes(PREFIX, tensors) == []


def test_a_copy_that_differs_is_refused(codes):
    tensors = pooled(network())
    tensors[f"{POOL.format(1)}wte.weight"] = numbers(7, N, WIDTH)

    assert codes(PREFIX, tensors) == ["ambiguous"]


def test_layers_that_are_left_out_do_not_count(opened):
    made, _ = opened({**PREFIX, "leave_out": [0]}, pooled(network(1), [1]))

    assert [effect.module for effect in made.effects] == [ATTENTION.format(1)]


def without(tensors, *ends):
    return {name: value for name, value in tensors.items() if not name.endswith(ends)}


@pytest.mark.parametrize(
    ("method", "tensors", "code"),
    [
        (PREFIX, without(pooled(network()), "control_trans.2.bias"), "missing_tensors"),
        (PREFIX, pooled(network(LAYERS + 1)), "shape"),
        ({**PREFIX, "prefix_length": N + 1}, pooled(network()), "shape"),
        ({**PREFIX, "bottleneck_size": NARROW + 1}, pooled(network()), "shape"),
        ({**PREFIX, "leave_out": [1]}, pooled(network()), "shape"),
        (FLAT, pooled({**flat(), "wte.weight": numbers(1, N, WIDTH)}), "unexpected_tensors"),
        ({**PREFIX, "use_gating": True}, pooled(network()), "missing_tensors"),
        ({**PREFIX, "non_linearity": "cube"}, pooled(network()), "bad_config"),
        ({**PREFIX, "twist": 1}, pooled(network()), "bad_config"),
        (PREFIX, {PROMPT_NAME: numbers(1, N, WIDTH)}, "no_tensor_applied"),
        (PREFIX, pooled(network(), [0, 1, 2]), "unexpected_tensors"),
        (PREFIX, {**pooled(network()), f"{GATE.format(0)}weight": numbers(1, 1, WIDTH)}, "unexpected_tensors"),
        (
            PREFIX,
            {**pooled(network()), f"{OWN.replace('self', 'cross')}wte.weight": numbers(1, N, WIDTH)},
            "unexpected_tensors",
        ),
    ],
)
def test_a_prefix_that_config_and_tensors_disagree_about_is_refused(codes, method, tensors, code):
    assert set(codes(method, tensors)) == {code}


@pytest.mark.parametrize("gates", [1, 2])
def test_gates_are_means_over_the_tokens(opened, gates):
    method = {**FLAT, "use_gating": True, "shared_gating": gates == 1}
    weight, bias = numbers(1, gates, WIDTH), numbers(2, gates)
    own = {
        f"{GATE.format(n)}{name}": value for n in range(LAYERS) for name, value in (("weight", weight), ("bias", bias))
    }
    states = numbers(3, 4, 6, WIDTH)

    made, _ = opened(method, {**pooled(flat()), **own})
    factors = made.effects[0].gate.apply(states, HookInputs(), NumPyOps())

    wanted = (1 / (1 + np.exp(-(states @ weight.T + bias)))).mean(1)
    assert np.allclose(factors, wanted[:, :, None], atol=1e-6)


def test_a_prompt_follows_the_embeddings(opened):
    vectors = numbers(1, N, WIDTH)

    made, _ = opened(PROMPT, {PROMPT_NAME: vectors})

    (insert,) = made.effects
    assert (insert.site, insert.module) == ("embeddings", "embeddings")
    assert np.array_equal(insert.vectors.make(NumPyOps())[0], vectors)


@pytest.mark.parametrize(
    ("changes", "shape", "code"),
    [
        ({"combine": "prefix_after_bos"}, (N, WIDTH), "bad_config"),
        ({"prompt_length": N + 1}, (N, WIDTH), "shape"),
        ({}, (N, WIDTH + 1), "shape"),
    ],
)
def test_a_prompt_that_does_not_fit_is_refused(codes, changes, shape, code):
    assert codes({**PROMPT, **changes}, {PROMPT_NAME: numbers(1, *shape)}) == [code]


def union(*methods):
    return {"architecture": "union", "configs": list(methods)}


def test_each_method_of_a_union_does_what_it_does_alone(opened):
    made, _ = opened(union(FLAT, LORA), {**pooled(flat()), **lora()})
    alone = [*opened(LORA, lora())[0].effects, *opened(FLAT, pooled(flat()))[0].effects]

    assert (made.delta.name, made.delta.variant, made.delta.foldable) == ("composite", "", False)
    assert [type(effect) for effect in made.effects] == [type(effect) for effect in alone]
    assert made.is_accepted


def test_a_union_of_foldable_methods_is_foldable(opened):
    made, _ = opened(union(LORA), lora())

    assert made.delta.foldable
    assert not any(isinstance(effect, ActivationHook) for effect in made.effects)


@pytest.mark.parametrize(
    ("method", "code"),
    [
        (union(), "bad_config"),
        (union(FLAT, FLAT), "bad_config"),
        (union(FLAT, {"architecture": "reft"}), "bad_config"),
        (union(FLAT, union(LORA)), "bad_config"),
        (union(FLAT, "lora"), "bad_config"),
        (union({**FLAT, "twist": 1}, LORA), "bad_config"),
        (union(LORA), "unexpected_tensors"),  # prefixes that no config speaks of
        (union(FLAT), "unexpected_tensors"),
    ],
)
def test_a_union_that_is_not_understood_is_refused(codes, method, code):
    assert set(codes(method, {**pooled(flat()), **lora()})) == {code}
