"""Deltas that were once applied wrongly or refused wrongly: each is right now, or refused by name.

The library that made them left its own outputs beside them.
"""

import json
from pathlib import Path

import numpy as np
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

from tests.verify.bench import Bench, read_arrays  # noqa: E402  # it needs torch

CASES = Path(__file__).parents[3] / "shared" / "cases"
MISSING = "needs the cases beside the repository: ../shared/cases"
RIGHT = [
    "c_bert_gpt2",
    "c_vit_gpt2",
    "e_bart_savehead",
    "e_bert_mlm_emb",
    "e_deberta_mlm_saveemb",
    "e_mamba2_tied_emb",
    "e_pegasus_head",
    "e_pegasus_savehead",
    "e_roberta_mlm_savehead",
    "f_olmoe",
    "gpt_oss_square",
    "m_qwen2vl",
    "q_plain",
    "qwen3",
    "v_modsave_embed_tied_ensure",
    "v_regex_rank_pattern",
]
ATTACHED = ["v_alora"]
# What it expects is of the network in training, whose BatchNorm the delta did not bring along: peft
# itself gives something else, by as much as the case's `reload_err` says.
AS_RELOADED = "segformer"
REFUSED = {"p_fsdp": "wrapped_names", "v_layer_replication": "bad_config"}
FOLDERS = {
    "cfg_automapping_unsloth": None,
    "cfg_swift_regex": None,
    "cfg_unsloth": None,
    "comfy": "unknown_kind",
    "diffusers_peft_meta": None,
    "lycoris_loha": "unknown_kind",
    "kohya_dora": "unknown_kind",
    "mlx": "unknown_kind",
    "module_ddp": "wrapped_names",
    "named_subfolder": None,
    "orig_mod": "wrapped_names",
    "two_adapters": "ambiguous",
}
pytestmark = pytest.mark.skipif(not CASES.is_dir(), reason=MISSING)


def folder_of(name):
    if not (CASES / name).is_dir():
        pytest.skip(f"needs ../shared/cases/{name}")
    return CASES / name


@pytest.mark.parametrize("name", RIGHT)
def test_a_folded_case_answers_like_the_library_that_made_it(tmp_path, name):
    case = folder_of(name)
    told = json.loads((case / "meta.json").read_text())
    inputs = load_file(case / "inputs.safetensors")
    want = load_file(case / "expected.safetensors")["attached"]

    with open_base(case / "base", Cache(tmp_path)) as base, open_folder(case / "delta") as delta:
        fold_folder(base, delta, tmp_path / "out")

    with small_networks.quiet(), torch.no_grad():
        network = getattr(transformers, told["cls"]).from_pretrained(tmp_path / "out")
        got = getattr(network.float().eval()(**inputs), told["out"])
    assert float((got - want).abs().max()) < 5e-6


def test_a_case_that_did_not_bring_its_statistics_answers_as_the_library_reloads_it(tmp_path):
    peft = pytest.importorskip("peft", reason="needs peft")
    case = folder_of(AS_RELOADED)
    told = json.loads((case / "meta.json").read_text())
    inputs = load_file(case / "inputs.safetensors")
    cls = getattr(transformers, told["cls"])

    with open_base(case / "base", Cache(tmp_path)) as base, open_folder(case / "delta") as delta:
        fold_folder(base, delta, tmp_path / "out")
        warnings = assess(delta.files, delta.tensors, base.view).account.problems

    with small_networks.quiet(), torch.no_grad():
        folded = getattr(cls.from_pretrained(tmp_path / "out").eval()(**inputs), told["out"])
        attached = peft.PeftModel.from_pretrained(cls.from_pretrained(case / "base"), case / "delta")
        want = getattr(attached.eval()(**inputs), told["out"])
    assert float((folded - want).abs().max()) < 5e-6
    (warning,) = warnings
    assert (warning.code, warning.severity) == ("not_self_contained", "warning")
    assert "running statistics of 1 modules (decode_head.batch_norm)" in warning.message


@pytest.mark.parametrize("name", ATTACHED)
def test_an_attached_case_answers_like_the_library_that_made_it(tmp_path, name):
    case = folder_of(name)
    told = json.loads((case / "meta.json").read_text())
    bench = Bench(case / "delta", case / "base", tmp_path)

    got = bench.engine().outputs_for("attached", read_arrays(case / "inputs.safetensors"))

    want = read_arrays(case / "expected.safetensors")["attached"]
    assert np.abs(got[told["out"]] - want).max() < 5e-6
    assert not bench.assessment.kind.foldable


@pytest.mark.parametrize("name", REFUSED)
def test_a_case_that_no_reader_here_takes_is_refused_by_name(tmp_path, name):
    case = folder_of(name)

    assert codes(case / "delta", case / "base", tmp_path) == {REFUSED[name]}


@pytest.mark.parametrize("name", FOLDERS)
def test_a_folder_that_people_have_is_taken_or_refused_by_name(tmp_path, name):
    code = FOLDERS[name]

    found = codes(folder_of("folders") / name, folder_of("q_plain") / "base", tmp_path)

    assert found == ({code} if code else set())


def codes(delta, base, cache):
    """Give the codes of what refuses a delta."""
    with open_base(base, Cache(cache)) as opened:
        try:
            with open_folder(delta) as folder:
                found = assess(folder.files, folder.tensors, opened.view).errors
        except Refused as refused:
            found = list(refused.problems)
    return {problem.code for problem in found if problem.severity == "error"}
