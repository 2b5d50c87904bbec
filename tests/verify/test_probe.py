"""Probe inputs fit the architecture and are the same on every machine."""

from typing import Any

import numpy as np
import pytest
import torch
from transformers import (
    BertConfig,
    BertModel,
    CLIPConfig,
    CLIPModel,
    GPT2Config,
    GPT2LMHeadModel,
    LlamaConfig,
    LlamaForCausalLM,
    MarkupLMConfig,
    MarkupLMModel,
    T5Config,
    T5ForConditionalGeneration,
    ViTConfig,
    ViTForImageClassification,
)

from deltareg.errors import NoProbe
from deltareg_verify.engine.torch_engine.probe import floating_outputs, probe_inputs, undrawn_kinds
from tests import small_networks
from tests.fresh import bases

SMALL: dict[str, Any] = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 16}
TEXT: dict[str, Any] = {**SMALL, "vocab_size": 50}
VISION: dict[str, Any] = {**SMALL, "image_size": 16, "patch_size": 8}
NETWORKS = {
    "llama": lambda: LlamaForCausalLM(LlamaConfig(**TEXT)),
    "gpt2": lambda: GPT2LMHeadModel(GPT2Config(vocab_size=50, n_embd=16, n_layer=1, n_head=2)),
    "bert": lambda: BertModel(BertConfig(**TEXT)),
    "vit": lambda: ViTForImageClassification(ViTConfig(**VISION)),
    "clip": lambda: CLIPModel(
        CLIPConfig(
            text_config=TEXT | {"max_position_embeddings": 8, "eos_token_id": 49},
            vision_config=VISION,
            projection_dim=8,
        )
    ),
    "t5": lambda: T5ForConditionalGeneration(
        T5Config(vocab_size=50, d_model=16, d_kv=8, d_ff=16, num_layers=1, num_heads=2)
    ),
}
EXPECTED = {
    "llama": {"input_ids": (2, 8), "attention_mask": (2, 8)},
    "gpt2": {"input_ids": (2, 8), "attention_mask": (2, 8)},
    "bert": {"input_ids": (2, 8), "attention_mask": (2, 8)},
    "vit": {"pixel_values": (2, 3, 16, 16)},
    "clip": {"input_ids": (2, 8), "attention_mask": (2, 8), "pixel_values": (2, 3, 16, 16)},
    "t5": {"input_ids": (2, 8), "attention_mask": (2, 8), "decoder_input_ids": (2, 4)},
}
WORDS = {"input_ids": (2, 8), "attention_mask": (2, 8)}
PICTURE = {"pixel_values": (2, 3, 8, 8)}
SEEN = {"input_ids": (2, 12), "attention_mask": (2, 12), **PICTURE}
OTHERS = {
    "ast": {"input_values": (2, 16, 16)},
    "blip answering": {**WORDS, **PICTURE, "decoder_input_ids": (2, 4), "labels": (2, 4)},
    "blip captioning": {**WORDS, **PICTURE},
    "gemma3 vision": SEEN,
    "llava": SEEN,
    "paligemma": SEEN,
    "moonshine": {"input_values": (2, 6655), "decoder_input_ids": (2, 4)},
    "qwen2_vl": {
        "input_ids": (2, 24),
        "attention_mask": (2, 24),
        "pixel_values": (128, 96),
        "image_grid_thw": (2, 3),
        "mm_token_type_ids": (2, 24),
    },
    "resnet": {"pixel_values": (2, 3, 64, 64)},
    "speech_to_text": {"input_features": (2, 32, 8), "decoder_input_ids": (2, 4)},
    "t5 classifying": WORDS,
    "wav2vec2": {"input_values": (2, 65)},
    "wav2vec2 to bert": {"input_values": (2, 65), "decoder_input_ids": (2, 4)},
    "wav2vec2_bert": {"input_features": (2, 16, 8)},
    "whisper": {"input_features": (2, 8, 16), "decoder_input_ids": (2, 4)},
}


def inputs_of(module, *, seed=1, tokens=8):
    return probe_inputs(module, seed=seed, sequences=2, tokens=tokens)


@pytest.fixture(params=NETWORKS)
def network(request):
    torch.manual_seed(0)
    return request.param, NETWORKS[request.param]().eval()


def test_inputs_are_what_the_forward_takes(network):
    name, module = network

    shapes = {key: tuple(value.shape) for key, value in inputs_of(module).items()}

    assert shapes == EXPECTED[name]


def test_a_forward_runs_and_gives_finite_outputs(network):
    _, module = network

    with torch.no_grad():
        outputs = floating_outputs(module(**inputs_of(module), return_dict=True))

    assert outputs
    assert all(values.dtype == np.float32 for values in outputs.values())
    assert all(np.isfinite(values).all() for values in outputs.values())


def test_the_seed_decides(network):
    _, module = network
    first, again, other = inputs_of(module), inputs_of(module), inputs_of(module, seed=2)

    assert all(torch.equal(first[key], again[key]) for key in first)
    assert not all(torch.equal(first[key], other[key]) for key in first)


def test_ids_are_of_the_vocabulary_and_end_with_the_end_token():
    ids = inputs_of(NETWORKS["clip"]())["input_ids"]

    assert int(ids.min()) >= 0
    assert int(ids.max()) < 50
    assert ids[:, -1].tolist() == [49, 49]


def test_sequences_are_cut_to_what_the_network_takes():
    assert inputs_of(NETWORKS["clip"](), tokens=100)["input_ids"].shape == (2, 8)


def test_pixels_have_the_networks_dtype():
    module = NETWORKS["vit"]().bfloat16()

    assert inputs_of(module)["pixel_values"].dtype == torch.bfloat16


@pytest.mark.parametrize("name", OTHERS)
def test_pictures_and_sounds_have_the_shapes_that_networks_take(name):
    module = bases.made(name)

    inputs = inputs_of(module)

    assert {key: tuple(value.shape) for key, value in inputs.items()} == OTHERS[name]
    with torch.no_grad():
        outputs = floating_outputs(module(**inputs, return_dict=True))
    assert all(np.isfinite(values).all() for values in outputs.values())


@pytest.mark.parametrize("name", ["gemma3 vision", "llava", "paligemma", "qwen2_vl"])
def test_a_picture_stands_in_the_text_once(name):
    module = small_networks.made(name)

    ids = inputs_of(module)["input_ids"]

    rows = (ids == module.config.image_token_id).int()
    assert rows.sum(1).tolist() == [ids.shape[1] - 8] * 2
    assert rows.diff().abs().sum(1).tolist() == [2, 2]


def test_each_row_has_one_end_token():
    ids = probe_inputs(small_networks.made("t5 classifying"), seed=1, sequences=64, tokens=64)

    assert ((ids["input_ids"] == 2).sum(1) == 1).all()


def test_a_network_that_takes_something_else_is_told_of():
    config = MarkupLMConfig(**TEXT)
    module = MarkupLMModel(config)
    module.main_input_name = "pages"

    with pytest.raises(NoProbe, match=r"no probe for MarkupLMModel: it takes pages"):
        inputs_of(module)


def test_words_go_alone_where_pictures_are_of_an_unknown_shape():
    module = small_networks.made("llava")
    module.config.vision_config.image_size = 12

    inputs = inputs_of(module)

    assert inputs.keys() == {"input_ids", "attention_mask"}
    assert undrawn_kinds(module, inputs) == ["images"]


def test_a_network_of_pictures_of_an_unknown_shape_is_told_of():
    module = NETWORKS["vit"]()
    module.config.image_size = 12

    with pytest.raises(NoProbe, match=r"no probe for ViT.*: its forward takes pixel_values in no known shape") as told:
        inputs_of(module)
    assert "probe: {set: NAME}" in told.value.fix


def test_a_probe_of_words_costs_no_forward():
    module = NETWORKS["llama"]()
    calls = []
    module.register_forward_pre_hook(lambda *_: calls.append(1))

    inputs_of(module)

    assert not calls


REACHED = {
    "longformer": "longformer.encoder.layer.0.attention.self.query_global.weight",
    "led": "led.encoder.layers.0.self_attn.longformer_self_attn.value_global.weight",
    "luke": "luke.encoder.layer.0.attention.self.e2w_query.weight",
    "xlnet": "transformer.layer.0.rel_attn.seg_embed",
    "roc_bert": "roc_bert.embeddings.shape_embed.weight",
    "llava_onevision": "model.vision_tower.encoder.layers.0.self_attn.q_proj.weight",
    "qwen2_audio": "model.audio_tower.layers.0.self_attn.q_proj.weight",
    "decision_transformer": "encoder.h.0.attn.c_attn.weight",
}


@pytest.mark.parametrize("name", REACHED)
def test_the_probe_reaches_what_words_alone_do_not(name):
    module = bases.made(name)

    outputs = module(**inputs_of(module, tokens=12))

    torch.stack(
        [v.float().sum() for v in outputs.values() if isinstance(v, torch.Tensor) and v.requires_grad]
    ).sum().backward()
    assert module.get_parameter(REACHED[name]).grad.abs().sum() > 0
