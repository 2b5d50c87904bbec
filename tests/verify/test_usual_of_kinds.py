"""What is usual for a kind fails no check, and what would be a fault beside it still does.

The library makes and saves every delta here.
"""

import shutil
import sys
import tempfile
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.numpy import load_file as load_arrays
from safetensors.numpy import save_file as save_arrays
from safetensors.torch import load_file, save_file

from deltareg.delta.kinds import all_kinds
from deltareg.delta.traits import PLAIN, traits_of
from deltareg_verify.judging.checks import all_checks
from tests import corpus
from tests.small_networks import IMAGE, NETWORKS, SMALL, WORDS
from tests.verify import kinds_by_checks
from tests.verify.bench import SAMPLES, SMOKE, Bench, sample_base
from tests.verify.kinds_by_checks import COLLAPSED, PAGE, own_samples, samples_of, verdicts_of
from tests.verify.library_deltas import LibraryDelta, peft, verdict_of

FILE = "adapter_model.safetensors"
SMALL_RUN = ("lily", "frod", "tinyllama/lora_bf16")
TOWERS = ("blip captioning", "blip matching", "clip", "siglip")
CLIP = {"text_config": {**SMALL, **WORDS, "max_position_embeddings": 16}, "vision_config": {**SMALL, **IMAGE}}
pytestmark = pytest.mark.filterwarnings("ignore")  # what peft says of made-up configs


def spec(name):
    return next(one for one in SMOKE.checks if one.name == name)


def found(bench, name):
    """Give what one check of smoke finds."""
    return all_checks()[name].run(bench.case(), spec(name))


def failures(bench):
    """Give what fails a delta, each check by itself."""
    return {name: verdict for name, verdict in verdicts_of(bench).items() if verdict.startswith("fail")}


def rewrite(folder, change):
    """Change the tensors of a saved delta."""
    path = folder / FILE
    save_file({n: v.contiguous() for n, v in change(load_file(path)).items()}, path, metadata={"format": "pt"})


SAMPLES_HERE = {one.name: one for one in own_samples()}


@pytest.mark.parametrize(
    "name", [n if n in SMALL_RUN else pytest.param(n, marks=pytest.mark.soak) for n in SAMPLES_HERE]
)
def test_a_healthy_delta_of_a_kind_fails_no_check(name, cache_dir):
    bench = SAMPLES_HERE[name].open(cache_dir)

    assert bench is None or failures(bench) == {}


HEALTHY = {one.name: one for one in samples_of(corpus.CORPUS)} if corpus.has_corpus() else {}


@pytest.mark.soak
@pytest.mark.parametrize("name", sorted(HEALTHY) or [pytest.param("", marks=pytest.mark.skip(reason=corpus.MISSING))])
def test_a_healthy_delta_of_the_corpus_fails_no_check(name, cache_dir):
    bench = HEALTHY[name].open(cache_dir)

    assert bench is None or failures(bench) == {}


FORMS = {
    "lora": partial(peft.LoraConfig, r=4),
    "dora": partial(peft.LoraConfig, r=4, use_dora=True),
    "loha": partial(peft.LoHaConfig, r=4, alpha=4),
    "lokr": partial(peft.LoKrConfig, r=4, alpha=4),
    "ia3": partial(peft.IA3Config, feedforward_modules=[]),
    "oft": partial(peft.OFTConfig, oft_block_size=4, r=0),
    "hra": partial(peft.HRAConfig, r=4),
    "lily": partial(peft.LilyConfig, r=4, num_B=3, stride_A=2),
    "vera": partial(peft.VeraConfig, r=8, save_projection=True),
    "frod": partial(peft.FrodConfig, progressbar=False),
}


@pytest.mark.soak
@pytest.mark.parametrize("network", TOWERS)
@pytest.mark.parametrize("form", FORMS)
def test_a_healthy_delta_of_two_towers_fails_no_check(tmp_path, monkeypatch, network, form):
    monkeypatch.setitem(NETWORKS, "clip", ("CLIPModel", {**CLIP, "projection_dim": 16}))
    targets = ["query", "value", "qkv"] if "blip" in network else ["q_proj", "v_proj"]
    delta = LibraryDelta(tmp_path, network, FORMS[form](target_modules=targets))

    assert failures(delta.bench) == {}


def test_attention_across_towers_that_a_training_called_without_may_stand_still(tmp_path):
    delta = LibraryDelta(tmp_path, "blip matching", peft.LoraConfig(r=4, target_modules=["query", "value"]))

    def still(words, tensors):
        return {n: v * 0 if "lora_B" in n and all(w in n for w in words) else v for n, v in tensors.items()}

    rewrite(tmp_path / "delta", partial(still, ["crossattention"]))
    left_out = found(delta.bench, "module_types")
    del delta.__dict__["bench"]
    rewrite(tmp_path / "delta", partial(still, [".attention.", "query"]))
    half = found(delta.bench, "module_types")

    assert (left_out.verdict, left_out.value) == ("warn", 2)
    assert "can be called without" in left_out.detail
    assert half.verdict == "fail"


def shared(tensors, like, *, of="lora_A"):
    """Give tensors the numbers of others, by a change of their name."""
    return {n: tensors[like(n)].clone() if of in n and like(n) in tensors else v for n, v in tensors.items()}


def one_for_queries_and_values(name):
    return name.replace("v_proj", "q_proj")


def one_for_all_layers(name):
    return name.replace("layers.1.", "layers.0.")


@pytest.mark.parametrize(
    ("change", "verdict"),
    [
        (partial(shared, like=one_for_queries_and_values), "pass"),
        (partial(shared, like=one_for_all_layers), "fail"),
        (partial(shared, like=one_for_all_layers, of="lora"), "fail"),
        (partial(shared, like=one_for_queries_and_values, of="lora"), "fail"),
    ],
    ids=["a split projection", "factors of all layers", "layers", "both factors"],
)
def test_a_factor_of_a_projection_that_was_split_is_no_copy(tmp_path, change, verdict):
    delta = LibraryDelta(tmp_path, "olmo2", peft.LoraConfig(r=8, target_modules=["q_proj", "v_proj"]))
    rewrite(tmp_path / "delta", change)

    finding = found(delta.bench, "placement")

    assert (finding.verdict == "fail") == (verdict == "fail"), finding.detail


def test_one_weight_may_be_turned_round_and_not_all_of_them_taken_away(tmp_path, cache_dir):
    shutil.copytree(SAMPLES / "kinds/ia3/delta", tmp_path / "delta")
    tensors = load_arrays(tmp_path / "delta" / FILE)
    first = min(tensors)
    random = np.random.default_rng(3)

    def judged(change):
        save_arrays(change, tmp_path / "delta" / FILE, metadata={"format": "pt"})
        return found(Bench(tmp_path / "delta", sample_base("tinyllama"), cache_dir), "cut_values")

    turned = random.normal(0.1, 0.6, tensors[first].shape).astype(np.float32)
    some = judged({**tensors, first: turned})
    none_left = judged({**tensors, first: 0.05 * turned})
    everywhere = judged({name: value - 1 for name, value in tensors.items()})

    assert some.verdict == "pass", some.detail
    assert (none_left.verdict, everywhere.verdict) == ("fail", "fail")


def test_reflections_leave_a_weight_its_size(tmp_path):
    delta = LibraryDelta(tmp_path, "gemma", peft.HRAConfig(r=12, target_modules=["q_proj", "v_proj"]))
    random = torch.Generator().manual_seed(2)
    rewrite(tmp_path / "delta", lambda old: {n: torch.randn(v.shape, generator=random) for n, v in old.items()})

    finding = found(delta.bench, "cut_values")

    assert min(change.kept for change in delta.bench.case().changes) < 0.2
    assert finding.verdict in {"pass", "n/a"}, finding.detail


def test_a_basis_that_another_machine_decomposes_otherwise_is_the_saved_one(cache_dir, monkeypatch):
    """Signs of singular vectors are arbitrary: as if peft had drawn the others where it loads."""
    model = sys.modules["peft.tuners.frod.model"]
    decompose = model._projection_from_weights
    monkeypatch.setattr(model, "_projection_from_weights", lambda *given: -decompose(*given).flip(1))
    bench = SAMPLES_HERE["frod"].open(cache_dir)

    finding = found(bench, "library_agrees")

    assert finding.verdict == "pass", finding.detail


def test_statistics_that_did_not_come_along_are_told_and_fail_nothing(tmp_path):
    delta = LibraryDelta(tmp_path, "resnet", peft.LoraConfig(r=2, target_modules=["convolution"]))

    verdict, results = verdict_of(delta)

    assert verdict == "pass", results
    assert (results["golden"].verdict, results["golden"].code) == ("warn", "not_self_contained")
    assert "recorded in training" in results["golden"].detail


def test_tokens_that_are_retrained_are_in_the_probe(tmp_path):
    config = peft.TrainableTokensConfig(token_indices=[33, 37], target_modules=["embed_tokens"])
    delta = LibraryDelta(tmp_path, "olmo2", config)

    assert {33, 37} <= {*delta.bench.engine()._probe["input_ids"].flatten().tolist()}
    assert found(delta.bench, "effect").verdict == "pass"


def test_the_page_has_a_row_for_every_layout_and_says_what_is_usual():
    rows = {cells[1].strip(): cells for line in PAGE.read_text().splitlines() if (cells := line.split("|"))[3:]}

    for layout, kind in all_kinds().items():
        assert rows[layout][-2].strip() == "; ".join(traits_of(kind).describe())


def test_a_kind_says_what_is_usual_by_its_own_roles():
    usual = {layout: traits_of(kind) for layout, kind in all_kinds().items()}

    assert {layout for layout, traits in usual.items() if traits.turns} == {
        f"peft {name}" for name in ("BOFT", "HRA", "OFT", "ROAD")
    }
    assert usual["peft LILY"].shared == {"lily_A", "lily_B"}
    assert usual["peft VERA"].shared == {"projection_A", "projection_B"}
    assert usual["peft LORA"] == PLAIN


@pytest.mark.soak
def test_the_page_is_what_the_checks_say():
    if not corpus.has_corpus():
        pytest.skip(corpus.MISSING)
    with tempfile.TemporaryDirectory() as cache:
        samples = [*own_samples(), *samples_of(corpus.CORPUS)]
        assert PAGE.read_text() == kinds_by_checks.generate(kinds_by_checks.measure(samples, Path(cache)))


@pytest.mark.soak
@pytest.mark.parametrize("name", sorted(COLLAPSED))
def test_what_is_left_out_as_collapsed_is_so_by_its_library(name):
    if not corpus.has_corpus():
        pytest.skip(corpus.MISSING)
    outputs = load_arrays(corpus.CORPUS / "expected" / f"{name}.safetensors")
    before, after = (outputs[key].reshape(-1, outputs[key].shape[-1]) for key in ("logits_base", "logits_attached"))

    assert after.std(0).mean() < before.std(0).mean() / 10
