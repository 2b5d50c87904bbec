"""Deltas whose names, formulas or formats were once read wrongly or refused: right now, or refused with a way out.

The library that made them left its own outputs beside them.
"""

import json
from pathlib import Path

import pytest

from deltareg.client.cache.cache import Cache
from deltareg.client.fold.fold_folder import fold_folder
from deltareg.client.folders.base_folder import open_base
from deltareg.client.folders.folder import open_folder
from deltareg.delta.delta_manifest import assess
from deltareg.errors import Refused
from tests import small_networks

torch = pytest.importorskip("torch", reason="needs torch: pip install 'deltareg[verify]'")
transformers = pytest.importorskip("transformers", reason="needs transformers")
from safetensors.torch import load_file  # noqa: E402  # it needs torch

from deltareg_verify.judging.examine import examine  # noqa: E402  # it needs torch
from tests.verify.bench import Bench, read_arrays, suite_of  # noqa: E402  # it needs torch

CASES = Path(__file__).parents[3] / "shared" / "cases3"
MISSING = "needs the third set of cases: ../shared/cases3"
RIGHT = [
    "cases/aya_vision-lora_leafs",
    "cases/bigbird_pegasus-resized",
    "cases/nemotron_h-conv_lora",
    "cases_diff/flux-alpha",
    "cases_diff/flux-bfl",
    "cases_diff/flux-pipe_alpha",
    "cases_old/p10-llama-lokr",
    "cases_old/p10-llama-oft",
    "cases_old/p14-granitemoe-leafs",
    "cases_old/p14-jamba-leafs",
    "cases_old/p17-aya-leafs",
    "cases_old/p17-aya-regexlang",
]
ATTACHED = ["cases/bigbird_pegasus-prefix_s2s"]
REFUSED = {  # case -> its code, and what its message or its advice says
    "cases/bit-conv_dora": ("ambiguous", "standardises bit.embedder.convolution.weight"),
    "cases/flaubert-tokens": ("ambiguous", "model.merge_and_unload().save_pretrained(DIR)"),
    "cases/mobilebert-emb_lora": ("header", "if t.numel()"),
    "cases/nomic_bert-dora_rs": ("no_tensor_applied", "save_original_format=False"),
    "cases/xlnet_lm-tti": ("ambiguous", "model.merge_and_unload().save_pretrained(DIR)"),
    "cases_old/p10-llama-multitask": ("unknown_kind", "prefix_task_cols[TASK] @ prefix_task_rows[TASK]"),
    "cases_old/p14-paligemma-all": ("not_selected", "deltareg convert PATH --out DIR --base BASE"),
}
LIBRARY = suite_of("attached_equals_folded", "library_agrees")
OLDER = {  # case -> what the gate says of the releases that load it
    "cases_old/p10-llama-lokr": "load it with peft 0.13 or earlier, or fold it",
    "cases_old/p10-llama-oft": "load it with peft 0.13 or earlier, or fold it",
    "cases_old/p14-granitemoe-leafs": "load it with peft 0.14.0 and transformers 4, or fold it",
    "cases_old/p14-jamba-leafs": "load it with peft 0.14.0 and transformers 4, or fold it",
}
pytestmark = [
    pytest.mark.skipif(not CASES.is_dir(), reason=MISSING),
    pytest.mark.filterwarnings("ignore"),  # what the libraries say to each other
]


def case_of(name):
    if not (CASES / name).is_dir():
        pytest.skip(f"needs ../shared/cases3/{name}")
    told = json.loads((CASES / name / "meta.json").read_text())
    if name.startswith("cases_diff"):
        pytest.importorskip("diffusers", reason="needs diffusers: pip install 'deltareg[diffusion]'")
    return CASES / name, told


def class_of(name):
    if hasattr(transformers, name):
        return getattr(transformers, name)
    return getattr(pytest.importorskip("diffusers"), name)


def largest(got, want):
    """Give the largest difference, as a share of the largest output."""
    got, want = torch.as_tensor(got), torch.as_tensor(want)
    return float((got - want).abs().max() / want.abs().max())


@pytest.mark.parametrize("name", RIGHT)
def test_it_answers_like_the_library_that_made_it(tmp_path, name):
    case, told = case_of(name)
    want = load_file(case / "expected.safetensors")["attached"]
    bench = Bench(case / "delta", case / "base", tmp_path / "cache")

    attached = bench.engine().outputs_for("attached", read_arrays(case / "inputs.safetensors"))[told["out"]]
    fold_folder(bench.base, bench.folder, tmp_path / "out")

    with small_networks.quiet(), torch.no_grad():
        network = class_of(told["cls"]).from_pretrained(tmp_path / "out").float().eval()
        folded = getattr(network(**load_file(case / "inputs.safetensors")), told["out"])
    assert largest(attached, want) < 1e-5
    assert largest(folded, want) < 1e-5


@pytest.mark.parametrize("name", ATTACHED)
def test_what_cannot_be_folded_answers_like_the_library_when_it_is_attached(tmp_path, name):
    case, told = case_of(name)
    bench = Bench(case / "delta", case / "base", tmp_path)

    got = bench.engine().outputs_for("attached", read_arrays(case / "inputs.safetensors"))[told["out"]]

    assert largest(got, load_file(case / "expected.safetensors")["attached"]) < 1e-5


@pytest.mark.parametrize("name", OLDER)
def test_the_gate_names_the_releases_that_load_it(tmp_path, name):
    case, _ = case_of(name)

    attached, library = examine(Bench(case / "delta", case / "base", tmp_path, suite=LIBRARY).case())

    assert attached.verdict == "pass", attached.detail
    assert (library.verdict, library.code) == ("warn", "older_library"), library.detail
    assert OLDER[name] in library.detail


def test_an_adapter_on_a_module_that_never_runs_is_stopped_with_the_reason(tmp_path):
    """The library adapts the router's module, and the network computes with its weight alone."""
    case, _ = case_of("cases/longcat_flash-lora_all")

    attached, library = examine(Bench(case / "delta", case / "base", tmp_path, suite=LIBRARY).case())

    assert attached.verdict == "pass", attached.detail
    assert (library.verdict, library.code) == ("fail", "library_differs")
    assert "mlp.router.classifier and does not run it" in library.detail
    assert "take it out of target_modules" in library.detail


@pytest.mark.parametrize("name", REFUSED)
def test_what_no_reader_takes_is_refused_with_a_way_out(tmp_path, name):
    case, _ = case_of(name)
    code, words = REFUSED[name]

    try:
        with open_base(case / "base", Cache(tmp_path)) as base, open_folder(case / "delta") as folder:
            problems = assess(folder.files, folder.tensors, base.view).errors
    except Refused as refused:
        problems = list(refused.problems)

    assert code in {problem.code for problem in problems}
    assert any(words in f"{problem.message} {problem.fix}" for problem in problems)
