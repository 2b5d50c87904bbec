"""Bottlenecks at cross-attentions of real networks, beside the same written by hand in torch."""

import json
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import save_file

from deltareg.errors import Refused
from deltareg_verify.judging.examine import examine
from deltareg_verify.judging.verdict import judge
from tests import small_networks
from tests.delta.kinds import peft_oracle as oracle
from tests.small_networks import torch
from tests.verify.bench import SMOKE, Bench

WIDTH, RANK, SCALE = 16, 4, 0.5
WORDS = {"input_ids": [[3, 4, 5, 6], [7, 8, 9, 3]]}
SPOKEN = {"decoder_input_ids": [[1, 4, 5], [1, 8, 9]]}
IMAGES = (2, 3, 8, 8)


class Beside(torch.nn.Module):
    """A module with a bottleneck on what it gives, by the layer's formula and not by a hook.

    It reads what went in (`parallel`) or what came out (`after`).
    """

    def __init__(self, inner, held, insert):
        super().__init__()
        self.inner, self.held, self.insert = inner, held, insert

    def added(self, read):
        at = {name: torch.from_numpy(value) for name, value in self.held.items()}
        narrow = torch.relu(read @ at["down.weight"].T + at["down.bias"])
        return SCALE * (narrow @ at["up.weight"].T + at["up.bias"])

    def forward(self, *args, **kwargs):
        made = self.inner(*args, **kwargs)
        first = args[0] if args else kwargs["hidden_states"]
        out = made[0] if isinstance(made, tuple) else made
        out = out + self.added(first if self.insert.startswith("parallel") else out)
        return (out, *made[1:]) if isinstance(made, tuple) else out


class InBert(Beside):
    """The same within `BertSelfOutput` and its like: before the residual and the norm."""

    def forward(self, hidden_states, input_tensor):
        out = self.inner.dense(hidden_states)
        read = input_tensor if self.insert.startswith("parallel") else out
        return self.inner.LayerNorm(out + self.added(read) + input_tensor)


def bart():
    return oracle.bart().eval()


def vit_gpt2():
    return oracle.vit_gpt2().eval()


def named(name):
    return lambda: small_networks.made(name)


# A network; its layers with a cross-attention; what is put in place of what; inputs that are
# no words by their shape.
Case = tuple[Callable[[], Any], list[str], str, type[Beside], dict[str, Any]]
CASES: dict[str, Case] = {
    "bart": (bart, ["model.decoder.layers.0"], "encoder_attn", Beside, {**WORDS, **SPOKEN}),
    "t5": (named("t5"), ["decoder.block.0", "decoder.block.1"], "layer.1.EncDecAttention", Beside, {**WORDS, **SPOKEN}),
    "whisper": (
        named("whisper"),
        ["model.decoder.layers.0", "model.decoder.layers.1"],
        "encoder_attn",
        Beside,
        {"input_features": (2, 8, 16), **SPOKEN},
    ),
    "blip captioning": (
        named("blip captioning"),
        ["text_decoder.bert.encoder.layer.0", "text_decoder.bert.encoder.layer.1"],
        "crossattention.output",
        InBert,
        {**WORDS, "pixel_values": IMAGES},
    ),
    "blip_2": (
        named("blip_2"),
        ["qformer.encoder.layer.0"],
        "crossattention.output",
        InBert,
        {"input_ids": [[30, 30, 30, 30, 5, 6]] * 2, "pixel_values": IMAGES},
    ),
    "mllama": (
        named("mllama"),
        ["model.language_model.layers.1"],
        "cross_attn",
        Beside,
        {
            **WORDS,
            "pixel_values": (2, 1, 2, 3, 8, 8),
            "aspect_ratio_ids": [[2], [1]],
            "aspect_ratio_mask": [[[1, 1]], [[1, 0]]],
        },
    ),
    "idefics": (
        named("idefics"),
        ["model.gated_cross_attn_layers.0", "model.gated_cross_attn_layers.1"],
        "cross_attn",
        Beside,
        {**WORDS, "pixel_values": (2, 1, 3, 8, 8), "image_attention_mask": [[[1], [1], [0], [1]]] * 2},
    ),
    "vit_gpt2": (vit_gpt2, ["decoder.transformer.h.0"], "crossattention", Beside, {"pixel_values": IMAGES, **SPOKEN}),
}
JUDGED = ["bart", "blip captioning", "idefics", "mllama", "t5", "vit_gpt2"]


class Made:
    """A base and an adapter at its cross-attentions, as files and by hand."""

    def __init__(self, folder, name, insert, *, layers=None, size=1.0):
        make, paths, self.inner, self.wrapper, given = CASES[name]
        random = np.random.default_rng(5)
        with small_networks.quiet():
            torch.manual_seed(3)
            self.network = make()
            self.network.save_pretrained(folder / "base")
        self.inputs = {
            key: random.standard_normal(value).astype(np.float32) if isinstance(value, tuple) else np.asarray(value)
            for key, value in given.items()
        }
        shapes = {"down.weight": (RANK, WIDTH), "down.bias": (RANK,), "up.weight": (WIDTH, RANK), "up.bias": (WIDTH,)}
        self.layers = {
            path: {n: size * random.standard_normal(s).astype(np.float32) for n, s in shapes.items()} for path in paths
        }
        self.insert, self.folder = insert, folder
        self.write(layers or self.layers)

    def write(self, held_by, **more):
        (self.folder / "delta").mkdir(exist_ok=True)
        config = {
            "kind": "visual_adapter",
            "variant": "vl_adapter",
            "insert": self.insert,
            "rank": RANK,
            "activation": "relu",
            "scale": SCALE,
            **more,
        }
        (self.folder / "delta/adapter_config.json").write_text(json.dumps(config))
        tensors = {f"{path}.vl_adapter.{name}": value for path, held in held_by.items() for name, value in held.items()}
        save_file(tensors, self.folder / "delta/adapter.safetensors")

    def by_hand(self):
        """Give the outputs of the network with modules of its own in place of its own."""
        for path, held in self.layers.items():
            at = f"{path}.{self.inner}"
            parent, _, attribute = at.rpartition(".")
            module = self.wrapper(self.network.get_submodule(at), held, self.insert)
            setattr(self.network.get_submodule(parent), attribute, module)
        with torch.no_grad():
            given = {key: torch.from_numpy(value) for key, value in self.inputs.items()}
            return self.network(**given).logits.numpy()

    def bench(self, cache_dir):
        return Bench(self.folder / "delta", self.folder / "base", cache_dir)


@pytest.mark.parametrize("insert", ["after_cross_attention", "parallel_cross_attention"])
@pytest.mark.parametrize("name", CASES)
def test_it_is_where_a_layer_written_by_hand_has_it(tmp_path, cache_dir, name, insert):
    made = Made(tmp_path, name, insert)
    bench = made.bench(cache_dir)

    got = bench.engine().outputs_for("attached", made.inputs)["logits"]

    plain = bench.engine().outputs_for("base", made.inputs)["logits"]
    assert np.abs(got - made.by_hand()).max() < 2e-5
    assert np.abs(got - plain).max() > 1e-3
    assert len(bench.assessment.account.effects) == len(made.layers)


@pytest.mark.parametrize("name", JUDGED)
def test_the_verdict_is_that_it_does_something(tmp_path, cache_dir, name):
    bench = Made(tmp_path, name, "after_cross_attention").bench(cache_dir)

    results = list(examine(bench.case()))

    assert judge(SMOKE, results) == "pass", results


@pytest.mark.parametrize("name", ["t5", "idefics"])
def test_a_layer_that_has_a_cross_attention_must_have_an_adapter(tmp_path, cache_dir, name):
    made = Made(tmp_path, name, "after_cross_attention")
    first, *_ = made.layers

    made.write({first: made.layers[first]})

    assert codes(made, cache_dir) == {"missing_tensors"}
    made.write({first: made.layers[first]}, layers=[0])
    assert codes(made, cache_dir) == set()


@pytest.mark.parametrize(
    ("name", "layer"),
    [("mllama", "model.language_model.layers.0"), ("blip_2", "qformer.encoder.layer.1"), ("t5", "encoder.block.0")],
)
def test_a_layer_without_a_cross_attention_is_no_place_for_one(tmp_path, cache_dir, name, layer):
    made = Made(tmp_path, name, "after_cross_attention")
    held = next(iter(made.layers.values()))

    made.write({**made.layers, layer: held})

    assert codes(made, cache_dir) == {"unexpected_tensors"}


def test_words_are_no_grid_for_a_convolution(tmp_path, cache_dir):
    made = Made(tmp_path, "mllama", "after_cross_attention")

    made.write(made.layers, variant="convpass", grid=[2, 2])

    assert "bad_config" in codes(made, cache_dir)


def codes(made, cache_dir):
    try:
        return {p.code for p in made.bench(cache_dir).assessment.errors}
    except Refused as refused:
        return {p.code for p in refused.problems}
