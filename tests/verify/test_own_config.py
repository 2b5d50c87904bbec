"""A delta that brings a config of its own and a larger vocabulary runs by that config."""

import pytest
import torch

from tests.fresh import bases
from tests.verify.bench import Bench

IDS = torch.arange(3, 19)[None]
CHANGES = {
    "llama, tied": {"rms_norm_eps": 0.3, "pad_token_id": 41},
    "t5": {"layer_norm_epsilon": 0.3, "pad_token_id": 41},
}


@pytest.fixture(params=CHANGES)
def grown(request, tmp_path):
    """Save a base, and what transformers trained of it: with other numbers, and three tokens."""
    network = bases.made(request.param)
    network.save_pretrained(tmp_path / "base")
    network.resize_token_embeddings(network.config.vocab_size + 3, mean_resizing=False)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.mul_(1.1)
    for name, value in CHANGES[request.param].items():
        setattr(network.config, name, value)
    network.save_pretrained(tmp_path / "delta")
    return type(network).from_pretrained(tmp_path / "delta").eval(), tmp_path


@pytest.fixture
def bench(grown):
    _, folder = grown
    bench = Bench(folder / "delta", folder / "base", folder / "cache")
    with bench.base, bench.folder:
        yield bench


def test_it_answers_as_the_library_does(grown, bench):
    network, _ = grown
    given = {"input_ids": IDS, **({"decoder_input_ids": IDS} if network.config.is_encoder_decoder else {})}
    with torch.no_grad():
        want = network(**given).logits.numpy()

    for state in ("attached", "folded"):
        got = bench.engine().outputs_for(state, {n: v.numpy() for n, v in given.items()})
        assert abs(got["logits"] - want).max() < 1e-5
