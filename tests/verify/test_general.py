"""A base and deltas on general text: what `smoke` finds with nothing from a publisher."""

import shutil
import warnings

import peft
import pytest
import torch
from safetensors.torch import load_file, save_file
from torch.distributions import Categorical
from transformers import AutoModelForCausalLM, AutoTokenizer, Wav2Vec2ForCTC

from deltareg.suites.base_probes import draw
from deltareg_verify.examine import examine
from deltareg_verify.torch_engine.batching import LENGTHS, Ways, deviations
from deltareg_verify.torch_engine.general import general_inputs, measure
from tests.verify import judged
from tests.verify.bench import Bench, sample_bench, suite_of
from tests.verify.small_language import make_language_base, pages, train


@pytest.fixture(scope="module")
def language(tmp_path_factory):
    """Give a folder with a base that knows some English, and an IA3 on it as peft saves it."""
    folder = tmp_path_factory.mktemp("language")
    base = make_language_base(folder / "base")
    network = AutoModelForCausalLM.from_pretrained(base)
    form = peft.IA3Config(
        task_type="CAUSAL_LM", target_modules=["k_proj", "v_proj", "down_proj"],
        feedforward_modules=["down_proj"],
    )  # fmt: skip
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        tuned = peft.get_peft_model(network, form)
    tokenizer = AutoTokenizer.from_pretrained(base)
    ids = tokenizer(pages()[:20_000], add_special_tokens=False)["input_ids"]
    train(tuned, torch.tensor(ids), steps=20, rate=5e-3)
    tuned.save_pretrained(folder / "ia3")
    (folder / "ia3" / "README.md").unlink(missing_ok=True)
    return folder


def smoke(language, delta):
    case = Bench(delta, language / "base", language / "cache").case()
    return {result.name: result for result in examine(case)}


def test_a_tune_of_a_language_model_passes(language):
    found = smoke(language, language / "ia3")

    assert {
        name for name, result in found.items() if result.verdict in {"fail", "skipped"}
    } == set()
    assert {found[n].verdict for n in ("general_perplexity", "special_tokens", "batching")} == {
        "pass"
    }
    assert "4 ways" in found["batching"].detail


def test_an_ia3_that_is_applied_minus_one_fails(language):
    broken = language / "minus-one"
    shutil.copytree(language / "ia3", broken)
    file = broken / "adapter_model.safetensors"
    save_file({name: value - 1 for name, value in load_file(file).items()}, file)

    stored = smoke(language, broken)["cut_values"]  # smoke ends there, before anything runs
    bench = Bench(
        broken, language / "base", language / "cache", suite=suite_of("general_perplexity")
    )
    (found,) = examine(bench.case())

    assert stored.verdict == "fail"
    assert (found.verdict, found.code) == ("fail", "worse_than_base")
    # How much worse depends on what the how-to pages say, which the base was trained on.
    assert float(found.value or 0) > 3 * float(found.baseline or 0)


def test_losses_are_those_that_transformers_computes(cache_dir):
    bench = sample_bench("tinyllama/lora", cache_dir)
    engine = bench.engine()
    probes = draw("blake3:ab", bench.base.view.config)

    found = engine.general("base", probes)

    network = AutoModelForCausalLM.from_pretrained(bench.base.path).eval()
    tokenizer = AutoTokenizer.from_pretrained(bench.base.path)
    (english,) = [[one.text for one in probes.texts if one.name == "en"]]
    total, tokens = 0.0, 0
    for text in english:
        ids = torch.tensor([tokenizer(text)["input_ids"][:48]])
        with torch.no_grad():
            total += float(network(input_ids=ids, labels=ids).loss) * (ids.shape[1] - 1)
        tokens += ids.shape[1] - 1
    assert found.losses["en"].tokens == tokens
    assert found.losses["en"].total == pytest.approx(total, rel=1e-5)
    assert set(found.batching) == {"batch", "padded_left", "cache", "longest"}


def test_each_way_of_calling_is_what_transformers_makes_of_it_alone(cache_dir):
    """Two ways share a forward here; there each has its own."""
    bench = sample_bench("tinyllama/lora", cache_dir)
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
        result = network(input_ids=ids, past_key_values=cache, use_cache=True)
        return result, result.past_key_values

    with torch.no_grad():
        found = deviations(rows, run, Ways(
            pad=0, device=torch.device("cpu"), beside=lambda _: {}, pads_left=True,
            continues=continues, farthest=network.config.max_position_embeddings,
        ))  # fmt: skip

        text = torch.tensor([rows[0][: LENGTHS[0]]])
        alone = network(input_ids=text).logits[0]
        far = torch.arange(text.shape[1]) + network.config.max_position_embeddings - text.shape[1]
        at_the_end = network(input_ids=text, position_ids=far[None]).logits[0]
    scale = float(alone[:-1].double().square().mean().sqrt())
    expected = float((alone - at_the_end)[:-1].abs().max()) / max(1.0, scale)
    assert len(calls) == 2  # in a batch; on the left and far on
    assert found["longest"] == pytest.approx(expected, rel=1e-3)
    assert all(found[way] < 1e-5 for way in ("batch", "padded_left", "cache"))


@pytest.mark.parametrize(("refused", "left"), [
    ("position_ids", {"batch", "cache"}), ("far", {"batch", "cache", "padded_left"}),
    ("cache", {"batch", "longest", "padded_left"}),
])  # fmt: skip
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
        result = network(input_ids=ids, past_key_values=cache, use_cache=True)
        return result, result.past_key_values

    with torch.no_grad():
        found = deviations([list(range(5, 20))] * len(LENGTHS), run, Ways(
            pad=0, device=torch.device("cpu"), beside=lambda _: {}, pads_left=True,
            continues=continues, farthest=most,
        ))  # fmt: skip

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
