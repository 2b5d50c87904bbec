"""What the libraries computed with the deltas of the corpus, and from which inputs."""

import numpy as np
import pytest
import torch
from transformers import BertForSequenceClassification

from tests import corpus
from tests.verify.bench import read_arrays

HEADLESS = "minilm/bitfit_delta"
"""Of its classifier it has the bias alone; what that was added to is in no file."""


def probe_of(base):
    """Give the inputs of the corpus' oracles for a base, and the output that they are about."""
    vision = read_arrays(corpus.CORPUS / "probes" / "vision.safetensors")
    if base == "tinyvit":
        return {"pixel_values": vision["pixel_values"]}, "logits"
    if base == "tinyclip":
        named = {"input_ids": "caption_ids", "attention_mask": "caption_mask"}
        given = {name: vision[key] for name, key in named.items()}
        return given | {"pixel_values": vision["pixel_values"]}, "logits_per_image"
    if base == "minilm":
        return read_arrays(corpus.CORPUS / "probes" / "minilm.safetensors"), "logits"
    lm = read_arrays(corpus.CORPUS / "probes" / "lm.safetensors")
    return {"input_ids": lm["input_ids"]}, "logits"


def head_of(bench):
    """Give a classifier that the base's class has no place for, as weight and bias.

    What the delta does not bring is what transformers begins with, from the corpus' seed.
    """
    torch.manual_seed(1234)
    net = BertForSequenceClassification.from_pretrained(bench.base.path, num_labels=3)
    head = {name: value.detach().numpy() for name, value in net.classifier.named_parameters()}
    for name, tensor in bench.folder.tensors.items():
        path, _, parameter = name.rpartition(".")
        if path.endswith("classifier"):
            head[parameter] = np.frombuffer(tensor.read(), "<f4").reshape(tensor.shape)
    return head["weight"], head["bias"]


def library_logits(delta):
    """Give what the library computed with the delta: attached, else merged; None where neither."""
    held = read_arrays(corpus.CORPUS / delta["expected"]) if "expected" in delta else {}
    return held.get("logits_attached", held.get("logits_merged"))


def expected_logits(delta):
    """Give what the library computed with the delta, or skip the test."""
    found = library_logits(delta)
    if found is None:
        pytest.skip("the corpus holds no outputs with this delta")
    return found


def attached_logits(bench, delta):
    """Give what the base computes from the same inputs with the delta attached."""
    inputs, name = probe_of(delta["base"])
    if delta["id"] != HEADLESS:
        return bench.engine().outputs_for("attached", inputs)[name]
    pooled = bench.plain_engine().outputs_for("attached", inputs)["pooler_output"]
    weight, bias = head_of(bench)
    return pooled @ weight.T + bias
