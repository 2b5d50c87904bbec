"""Prefixes and unions of the corpus that only pickles hold: unpacked here, they act as they should.

Where the library contradicts itself, its own attention lets no token see itself; the mask here is
the one that the network was made for, and the text is likelier under it.
"""

import shutil

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch.nn.functional import cross_entropy

from tests import corpus
from tests.verify.bench import Bench
from tests.verify.oracles import expected_logits, probe_of

FILES = {"pytorch_adapter.bin": "adapter.safetensors", "pytorch_model_head.bin": "model_head.safetensors"}
DELTAS = {
    d["id"]: d
    for d in corpus.manifest()["deltas"]
    if d["lib"] == "adapters" and d["registry_kind"] in {"prefix", "composite"}
}
CONFLICTS = sorted(name for name, d in DELTAS.items() if d.get("oracle_conflict"))
AGREED = sorted(DELTAS.keys() - set(CONFLICTS))
NONE = [pytest.param("", marks=pytest.mark.skip(reason=corpus.MISSING))]


@pytest.fixture
def bench(tmp_path, cache_dir):
    """Give a function that unpacks a delta and puts it before the worker."""

    def unpacked(delta):
        source, folder = corpus.CORPUS / delta["path"], tmp_path / "delta"
        folder.mkdir()
        for file in source.glob("*.json"):
            shutil.copy(file, folder)
        for old, new in FILES.items():
            # The corpus is ours, and nothing but tensors is unpickled.
            held = torch.load(source / old, weights_only=True)  # noqa: TID251
            save_file({k: v.clone().contiguous() for k, v in held.items()}, folder / new)
        return Bench(folder, corpus.base_folder(delta["base"]), cache_dir)

    return unpacked


def attached(bench, base):
    """Give the logits with a delta."""
    inputs, name = probe_of(base)
    return bench.engine().outputs_for("attached", inputs)[name]


@pytest.mark.parametrize("name", AGREED or NONE)
def test_logits_are_the_librarys(bench, name):
    delta = DELTAS[name]
    opened = bench(delta)

    found = attached(opened, delta["base"])

    assert np.max(np.abs(found - expected_logits(delta))) <= 2e-6
    assert opened.engine().find_fired().silent == ()


@pytest.mark.parametrize("name", CONFLICTS or NONE)
def test_text_is_likelier_than_under_the_librarys_mask(bench, name):
    delta = DELTAS[name]
    tokens = torch.tensor(probe_of(delta["base"])[0]["input_ids"])

    found = attached(bench(delta), delta["base"])

    ours, theirs = (loss(logits, tokens) for logits in (found, expected_logits(delta)))
    assert ours < theirs


@pytest.mark.skipif(not corpus.has_corpus(), reason=corpus.MISSING)
def test_a_prompt_gives_what_the_library_gives_where_nothing_is_padded(cache_dir):
    delta = next(d for d in corpus.manifest()["deltas"] if d["id"] == "minilm/adp_prompt")
    whole = probe_of("minilm")[0]["attention_mask"].all(axis=1)

    found = attached(Bench(corpus.CORPUS / delta["path"], corpus.base_folder("minilm"), cache_dir), "minilm")

    assert whole.any()
    assert np.max(np.abs(found - expected_logits(delta))[whole]) <= 2e-6


def loss(logits, tokens):
    return float(cross_entropy(torch.tensor(logits)[:, :-1].flatten(0, 1), tokens[:, 1:].flatten()))
