"""Tensor names of peft, taken apart."""

import pytest

from deltareg.delta.layouts.peft.factors import MARKERS
from deltareg.delta.layouts.peft.keys import PREFIX, read_keys


@pytest.mark.parametrize(
    ("name", "want"),
    [
        ("m.q.lora_A.weight", ("m.q", "lora_A", "weight")),
        ("m.q.lora_A.default.weight", ("m.q", "lora_A", "weight")),
        ("m.q.lora_B.bias", ("m.q", "lora_B", "bias")),
        ("m.e.lora_embedding_A", ("m.e", "lora_embedding_A", "")),
        ("m.e.lora_embedding_A.default", ("m.e", "lora_embedding_A", "")),
        ("m.q.lora_magnitude_vector", ("m.q", "lora_magnitude_vector", "")),
        ("m.q.lora_magnitude_vector.default.weight", ("m.q", "lora_magnitude_vector", "weight")),
        ("m.head.weight", ("m.head", "", "weight")),
        ("m.q.base_layer.bias", ("m.q", "base_layer", "bias")),
        ("m.head.modules_to_save.dense.weight", ("m.head", "modules_to_save", "dense.weight")),
        ("m.e.token_adapter.trainable_tokens_delta", ("m.e", "token_adapter", "trainable_tokens_delta")),
        ("m.e.token_adapter.base_layer.weight", ("m.e", "base_layer", "weight")),
    ],
)
def test_a_name_is_a_module_a_marker_and_a_parameter(name, want):
    keys = read_keys([PREFIX + name], MARKERS)

    [key] = keys.read.values()
    assert (key.module, key.marker, key.parameter) == want
    assert keys.unread == ()


@pytest.mark.parametrize(
    "name",
    [
        "m.q.lora_A.weight",
        f"{PREFIX}weight",
        f"{PREFIX}lora_A.weight",
        f"{PREFIX}m.q.lora_A.lora_B.weight",
        f"{PREFIX}m.q.base_layer.base_layer.weight",
    ],
)
def test_a_name_that_says_nothing_is_unread(name):
    keys = read_keys([name], MARKERS)

    assert keys.unread == (name,)
    assert keys.read == {}


def test_an_adapter_name_is_taken_out_of_what_is_saved_whole_too():
    names = [
        f"{PREFIX}m.q.lora_A.tuned.weight",
        f"{PREFIX}m.head.modules_to_save.tuned.weight",
        f"{PREFIX}m.e.token_adapter.trainable_tokens_delta.tuned",
    ]

    keys = read_keys(names, MARKERS)

    assert {key.parameter for key in keys.read.values()} == {"weight", "trainable_tokens_delta"}
