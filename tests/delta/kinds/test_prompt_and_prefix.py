"""peft's prompts and prefixes: what is read, where it goes, and what is refused."""

import json

import numpy as np
import pytest
from safetensors.numpy import save_file

from deltareg.delta.accounting import account, recognise
from deltareg.delta.maths.numpy_ops import NumPyOps
from deltareg.errors import Refused
from tests import tiny
from tests.folders import open_base, open_folder

N, LAYERS, WIDTH = 3, tiny.LAYERS, tiny.WIDTH
ATTENTIONS = [f"model.layers.{layer}.self_attn" for layer in range(LAYERS)]
CONFIG = {
    "base_model_name_or_path": "tiny",
    "inference_mode": True,
    "modules_to_save": None,
    "num_attention_heads": 2,
    "num_layers": LAYERS,
    "num_transformer_submodules": 1,
    "num_virtual_tokens": N,
    "peft_version": "0.21.2",
    "task_type": "CAUSAL_LM",
    "token_dim": WIDTH,
}
PREFIX = {**CONFIG, "peft_type": "PREFIX_TUNING", "prefix_projection": True}
PROMPT = {**CONFIG, "peft_type": "PROMPT_TUNING", "prompt_tuning_init": "RANDOM"}
FLAT = (N, 2 * LAYERS * WIDTH)


def numbers(*shape):
    return np.random.default_rng(5).standard_normal(shape).astype(np.float32)


@pytest.fixture
def opened(tmp_path):
    """Give a function that writes a delta and accounts for it on a tiny Llama or another base."""
    made = tiny.base(tmp_path / "base")

    def open_delta(config, tensors, *, base=None, **changes):
        folder = tmp_path / "delta"
        folder.mkdir(exist_ok=True)
        given = {name: value for name, value in {**config, **changes}.items() if value != "absent"}
        (folder / "adapter_config.json").write_text(json.dumps(given))
        save_file(tensors, folder / "adapter_model.safetensors")
        view = base or open_base(made.path)[0]
        files = open_folder(folder)
        kind, _ = recognise(files.files, view)
        return account(kind.parse(files.files, view), files.files, files.tensors, view)

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


def prompt(*shape):
    return {"prompt_embeddings": numbers(*shape)}


def test_a_prefix_goes_to_every_attention_and_moves_the_tokens(opened):
    tensors = prompt(*FLAT)

    found = opened(PREFIX, tensors)

    assert [(e.site, e.module, e.shift) for e in found.effects] == [("attention", path, N) for path in ATTENTIONS]
    assert found.roles == {"prompt_embeddings": ("prefix", ATTENTIONS[0])}
    assert (found.delta.name, found.delta.foldable) == ("prefix", False)


def test_keys_and_values_take_turns_in_the_rows_of_a_prefix(opened):
    tensors = prompt(*FLAT)

    keys, values = opened(PREFIX, tensors).effects[1].vectors.make(NumPyOps())

    rows = tensors["prompt_embeddings"].reshape(N, LAYERS, 2, 2, WIDTH // 2)
    assert np.array_equal(keys, rows[:, 1, 0])
    assert np.array_equal(values, rows[:, 1, 1])


def test_a_prompt_goes_before_the_tokens(opened):
    tensors = prompt(N, WIDTH)

    found = opened(PROMPT, tensors)

    (insert,) = found.effects
    assert (insert.site, insert.module, insert.shift) == ("tokens", "", 0)
    assert np.array_equal(insert.vectors.make(NumPyOps())[0], tensors["prompt_embeddings"])
    assert found.delta.name == "prompt"


@pytest.mark.parametrize(
    ("peft_type", "variant", "fields"),
    [
        ("P_TUNING", "p_tuning", {"encoder_hidden_size": 8, "encoder_num_layers": 2}),
        ("CPT", "cpt", {"cpt_token_ids": [1, 2, 3], "opt_projection_epsilon": 0.1}),
    ],
)
def test_how_a_prompt_was_trained_does_not_matter(opened, peft_type, variant, fields):
    plain = {**CONFIG, "peft_type": peft_type, **fields}

    found = opened(plain, prompt(N, WIDTH))

    assert found.is_accepted
    assert (found.delta.name, found.delta.variant) == ("prompt", variant)


def test_a_cartridge_is_a_prefix(opened):
    found = opened({**CONFIG, "peft_type": "CARTRIDGE", "num_frozen_tokens": 1}, prompt(*FLAT))

    assert found.is_accepted
    assert (found.delta.name, found.delta.variant) == ("prefix", "cartridge")


def test_the_manifest_holds_sizes_only(opened):
    assert opened(PREFIX, prompt(*FLAT)).delta.config() == {
        "num_virtual_tokens": N,
        "token_dim": WIDTH,
        "num_attention_heads": 2,
        "num_layers": LAYERS,
        "num_transformer_submodules": 1,
        "modules_to_save": [],
    }


@pytest.mark.parametrize(
    ("changes", "shape", "code"),
    [
        ({}, (N, WIDTH), "shape"),  # a prompt's vectors under a prefix's config
        ({"num_virtual_tokens": N + 1}, FLAT, "shape"),
        ({"num_layers": LAYERS + 1}, FLAT, "shape"),
        ({"num_attention_heads": 4}, FLAT, "shape"),
        ({"token_dim": 2 * WIDTH}, FLAT, "shape"),
        ({"num_virtual_tokens": -1}, FLAT, "bad_config"),
        ({"num_transformer_submodules": 2}, FLAT, "bad_config"),
        ({"num_transformer_submodules": 3}, FLAT, "bad_config"),
        ({"task_type": "SEQ_2_SEQ_LM", "num_transformer_submodules": "absent"}, FLAT, "bad_config"),
        ({"gate": True}, FLAT, "bad_config"),
        ({"auto_mapping": {"import": "this"}}, FLAT, "custom_code"),
    ],
)
def test_a_prefix_that_does_not_fit_is_refused(codes, changes, shape, code):
    assert codes(PREFIX, prompt(*shape), **changes) == [code]


@pytest.mark.parametrize(
    ("changes", "shape", "code"),
    [
        ({}, FLAT, "shape"),  # a prefix's vectors under a prompt's config
        ({}, (2 * N, WIDTH), "shape"),
        ({"token_dim": WIDTH + 1}, (N, WIDTH + 1), "shape"),
        ({"num_virtual_tokens": "absent"}, (N, WIDTH), "shape"),
        ({"prefix_projection": True}, (N, WIDTH), "bad_config"),
    ],
)
def test_a_prompt_that_does_not_fit_is_refused(codes, changes, shape, code):
    assert codes(PROMPT, prompt(*shape), **changes) == [code]


def test_vectors_are_real_numbers(codes):
    tensors = {"prompt_embeddings": np.zeros((N, WIDTH), dtype=np.int64)}

    assert codes(PROMPT, tensors) == ["shape"]


def test_factors_of_another_kind_are_told_apart(codes):
    name = f"{tiny.PREFIX}{ATTENTIONS[0]}.q_proj.lora_A.weight"

    assert codes(PROMPT, {name: numbers(2, WIDTH)}) == ["kind_mismatch"]


def test_the_name_of_the_vectors_alone_says_no_kind(codes):
    assert codes(CONFIG, prompt(N, WIDTH)) == ["unknown_kind"]


def test_a_prompt_for_many_tasks_is_refused_by_name(opened):
    tensors = {**prompt(N, WIDTH), "prefix_task_cols": numbers(2, N, 1)}

    with pytest.raises(Refused, match="MULTITASK_PROMPT_TUNING") as refused:
        opened({**CONFIG, "peft_type": "MULTITASK_PROMPT_TUNING", "num_tasks": 2}, tensors)

    assert [problem.code for problem in refused.value.problems] == ["unknown_kind"]


@pytest.mark.parametrize(
    ("name", "code"),
    [
        ("base_model.model.norm.weight", "undeclared_base_override"),
        ("base_model.model.nothing.weight", "unexpected_tensors"),
        ("stray", "unexpected_tensors"),
    ],
)
def test_tensors_beside_the_vectors_must_be_declared(codes, name, code):
    assert codes(PROMPT, {**prompt(N, WIDTH), name: numbers(WIDTH)}) == [code]


def test_a_head_that_is_saved_whole_is_taken(opened):
    tensors = {**prompt(N, WIDTH), "base_model.score.weight": numbers(3, WIDTH)}

    found = opened(PROMPT, tensors, task_type="SEQ_CLS", modules_to_save=["score", "classifier"])

    assert found.is_accepted
    assert found.roles["base_model.score.weight"] == ("saved", "score.weight")


def base_of(tmp_path, config, shapes):
    folder = tmp_path / "other"
    folder.mkdir()
    (folder / "config.json").write_text(json.dumps(config))
    save_file({n: numbers(*s) for n, s in shapes.items()}, folder / "model.safetensors")
    return open_base(folder)[0]


@pytest.mark.parametrize(
    ("model_type", "names"),
    [
        ("gpt_neox", ["gpt_neox.layers.{}.attention.query_key_value.weight"]),
        ("olmo2", ["model.layers.{}.self_attn.k_proj.weight", "model.layers.{}.self_attn.q_proj.weight"]),
    ],
)
def test_attentions_of_other_types_are_found_by_their_keys(opened, tmp_path, model_type, names):
    shapes = {name.format(layer): (WIDTH, WIDTH) for name in names for layer in range(LAYERS)}
    base = base_of(tmp_path, {**tiny.LLAMA, "model_type": model_type}, shapes)

    found = opened(PREFIX, prompt(*FLAT), base=base)

    paths = [name.rpartition(".")[0].rpartition(".")[0] for name in names[:1]]
    assert [e.module for e in found.effects] == [paths[0].format(n) for n in range(LAYERS)]


@pytest.mark.parametrize(
    ("config", "names"),
    [
        ({}, ["layers.0.mixer.in.weight", "layers.1.mixer.in.weight"]),  # no attention
        ({}, ["layers.0.attn.k_proj.weight", "layers.2.attn.k_proj.weight"]),  # a layer without
        ({}, ["layers.0.a.k_proj.weight", "layers.0.b.k_proj.weight"]),  # two in a layer
        ({"kv_lora_rank": 8}, ["layers.0.a.k_proj.weight", "layers.1.a.k_proj.weight"]),
        ({"multi_query": True}, ["layers.0.a.k_proj.weight", "layers.1.a.k_proj.weight"]),
    ],
)
def test_where_keys_go_is_not_guessed(codes, tmp_path, config, names):
    config = {**tiny.LLAMA, "model_type": "new", **config}
    base = base_of(tmp_path, config, dict.fromkeys(names, (WIDTH, WIDTH)))

    assert codes(PREFIX, prompt(*FLAT), base=base) == ["unknown_kind"]


def t5(tmp_path, layers):
    paths = {"encoder": ["0.SelfAttention"], "decoder": ["0.SelfAttention", "1.EncDecAttention"]}
    shapes = {
        f"{stack}.block.{n}.layer.{path}.k.weight": (WIDTH, WIDTH)
        for stack, listed in paths.items()
        for path in listed
        for n in range(layers)
    }
    config = {
        "architectures": ["T5ForConditionalGeneration"],
        "model_type": "t5",
        "is_encoder_decoder": True,
        "num_heads": 2,
        "d_model": WIDTH,
        "d_kv": WIDTH // 2,
        "num_layers": layers,
        "vocab_size": 20,
    }
    return base_of(tmp_path, config, {**shapes, "shared.weight": (20, WIDTH)})


@pytest.mark.parametrize(("layers", "dealt"), [(2, [0, 0]), (3, [0, 2, 1]), (4, [0, 2, 0, 2])])
def test_a_decoder_beside_an_encoder_gets_every_second_layers_vectors(opened, tmp_path, layers, dealt):
    tensors = prompt(N, 2 * layers * WIDTH)
    more = {"num_transformer_submodules": 2, "task_type": "SEQ_2_SEQ_LM", "num_layers": layers}

    found = opened(PREFIX, tensors, base=t5(tmp_path, layers), **more)

    rows = tensors["prompt_embeddings"].reshape(N, layers, 2, 2, WIDTH // 2)
    assert [e.module for e in found.effects] == [f"decoder.block.{n}.layer.0.SelfAttention" for n in range(layers)]
    for effect, layer in zip(found.effects, dealt, strict=True):
        assert np.array_equal(effect.vectors.make(NumPyOps())[0], rows[:, layer, 0])


def test_an_encoder_gets_the_first_half_of_a_prompt(opened, tmp_path):
    tensors = prompt(2 * N, WIDTH)
    more = {"num_transformer_submodules": 2, "task_type": "SEQ_2_SEQ_LM"}

    found = opened(PROMPT, tensors, base=t5(tmp_path, 2), **more)

    (insert,) = found.effects
    assert np.array_equal(insert.vectors.make(NumPyOps())[0], tensors["prompt_embeddings"][:N])
