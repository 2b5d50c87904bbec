"""Networks as they are called on the probes of their base, beside transformers' own calls."""

from dataclasses import replace

import pytest
import torch
from torch.distributions import Categorical
from transformers import AutoModelForCausalLM, AutoTokenizer, Wav2Vec2ForCTC

from deltareg.suites.base_probes import draw
from deltareg_verify.engine.torch_engine.batching import LENGTHS, BatchCapabilities, deviations
from deltareg_verify.engine.torch_engine.general import general_inputs, measure
from deltareg_verify.engine.torch_engine.prefix_cache import CACHE_NAMES, name_of_cache
from tests.verify import judged
from tests.verify.bench import sample_bench


def cached(network, ids, cache):
    """Go on with a cache; gives what came of it, and the cache then."""
    result = network(input_ids=ids, use_cache=True, **{name_of_cache(network): cache})
    return result, next(result[name] for name in CACHE_NAMES if name in result)


def test_each_way_of_calling_is_what_transformers_makes_of_it_alone(cache_dir):
    """Three ways share a forward here; there each has its own."""
    bench = sample_bench("tinygpt2/lora", cache_dir)  # whose positions are learnt
    probes = draw("blake3:ab", bench.base.view.config)
    network = AutoModelForCausalLM.from_pretrained(bench.base.path).eval()
    tokenizer = AutoTokenizer.from_pretrained(bench.base.path)
    asked = general_inputs(network, tokenizer, probes, is_causal=True, most=64)
    assert asked is not None
    rows = [row.tolist() for row in asked.inputs["input_ids"][: len(LENGTHS)]]
    calls = []

    def run(inputs):
        calls.append({name: value.clone() for name, value in inputs.items()})
        return network(**inputs)

    def continues(ids, cache):
        return cached(network, ids, cache)

    with torch.no_grad():
        found = deviations(
            rows,
            run,
            BatchCapabilities(
                pad=0,
                device=torch.device("cpu"),
                beside=lambda _: {},
                pads_left=True,
                continues=continues,
                farthest=network.config.max_position_embeddings,
            ),
        )

        text = torch.tensor([rows[0][: LENGTHS[0]]])
        alone = network(input_ids=text).logits[0]
        far = torch.arange(text.shape[1]) + network.config.max_position_embeddings - text.shape[1]
        at_the_end = network(input_ids=text, position_ids=far[None]).logits[0]
    scale = float(alone[:-1].double().square().mean().sqrt())
    expected = float((alone - at_the_end)[:-1].abs().max()) / max(1.0, scale)
    assert len(calls) == 1  # padded on the right, on the left, and far on
    assert expected > 0.01
    assert found["longest"] == pytest.approx(expected, rel=1e-3)
    assert all(found[way] < 1e-5 for way in ("batch", "padded_left", "cache"))


def test_rows_that_turn_with_the_farthest_position_stay_out_of_the_batch():
    """A network with dynamic positions would be held to its own far row."""
    farthest: list[int] = []

    def run(inputs):
        ids = inputs["input_ids"]
        farthest.append(int(inputs.get("position_ids", torch.tensor(ids.shape[1] - 1)).max()))
        return {"logits": ids.float()[:, :, None] * (2.0 if farthest[-1] > ids.shape[1] else 1.0)}

    ways = BatchCapabilities(0, torch.device("cpu"), lambda _: {}, pads_left=True, farthest=100)
    texts = [list(range(5, 20))] * len(LENGTHS)

    apart = deviations(texts, run, replace(ways, is_apart=False))

    assert farthest == [3, 5, 99]  # alone; beside others; on the left and far on
    assert apart["batch"] == 0.0
    assert deviations(texts, run, ways)["batch"] > 0.5


@pytest.mark.parametrize(
    ("refused", "left"),
    [
        ("position_ids", {"batch", "cache"}),
        ("far", {"batch", "cache", "padded_left"}),
        ("cache", {"batch", "longest", "padded_left"}),
    ],
)
def test_a_way_that_is_refused_takes_no_other_with_it(cache_dir, refused, left):
    bench = sample_bench("tinyllama/lora", cache_dir)
    network = AutoModelForCausalLM.from_pretrained(bench.base.path).eval()
    most = network.config.max_position_embeddings

    def run(inputs):
        places = inputs.get("position_ids")
        if places is not None and (refused == "position_ids" or int(places.max()) + 1 == most):
            assert refused == "cache", "no such positions"
        return network(**inputs)

    def continues(ids, cache):
        assert refused != "cache", "no cache"
        return cached(network, ids, cache)

    with torch.no_grad():
        found = deviations(
            [list(range(5, 20))] * len(LENGTHS),
            run,
            BatchCapabilities(
                pad=0,
                device=torch.device("cpu"),
                beside=lambda _: {},
                pads_left=True,
                continues=continues,
                farthest=most,
            ),
        )

    assert set(found) == left


def test_a_network_that_names_sounds_names_a_class_in_each_frame(tmp_path):
    """Its scores are of a vocabulary, and yet of no words that it reads."""
    network = Wav2Vec2ForCTC.from_pretrained(judged.listener(tmp_path).base).eval()
    probes = draw("blake3:ab", network.config.to_dict())
    asked = general_inputs(network, None, probes, is_causal=False, most=64)
    assert asked is not None

    with torch.no_grad():
        found = measure(asked, lambda inputs: network(**inputs)).classes
        frames = network(**asked.inputs).logits.flatten(0, 1)

    said = Categorical(logits=frames.double())
    assert found is not None
    assert (found.count, found.of_frames) == (network.config.vocab_size, True)
    whole = float(Categorical(probs=said.probs.mean(0)).entropy())
    assert found.informed == pytest.approx(whole - float(said.entropy().mean()), abs=1e-6)
