"""A base and deltas on general text: what `smoke` finds with nothing from a publisher."""

import shutil
import warnings

import peft
import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import AutoModelForCausalLM, AutoTokenizer

from deltareg.suites.base_probes import draw
from deltareg_verify.judging.examine import examine
from tests.verify.bench import Bench, sample_bench, suite_of
from tests.verify.small_language import make_language_base, pages, train


@pytest.fixture(scope="module")
def language(tmp_path_factory):
    """Give a folder with a base that knows some English, and an IA3 on it as peft saves it."""
    folder = tmp_path_factory.mktemp("language")
    base = make_language_base(folder / "base")
    network = AutoModelForCausalLM.from_pretrained(base)
    form = peft.IA3Config(
        task_type="CAUSAL_LM", target_modules=["k_proj", "v_proj", "down_proj"], feedforward_modules=["down_proj"]
    )
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

    assert {name for name, result in found.items() if result.verdict in {"fail", "skipped"}} == set()
    assert {found[n].verdict for n in ("general_perplexity", "special_tokens", "batching")} == {"pass"}
    assert "4 ways" in found["batching"].detail


def test_an_ia3_that_is_applied_minus_one_fails(language):
    broken = language / "minus-one"
    shutil.copytree(language / "ia3", broken)
    file = broken / "adapter_model.safetensors"
    save_file({name: value - 1 for name, value in load_file(file).items()}, file)

    stored = smoke(language, broken)["cut_values"]  # smoke ends there, before anything runs
    bench = Bench(broken, language / "base", language / "cache", suite=suite_of("general_perplexity"))
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
