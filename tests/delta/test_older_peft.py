"""Deltas of earlier releases of peft: each answers as in the release that wrote it.

`tests/golden/make_older_peft.py` made them, with the outputs that the release gave.
"""

import json
import shutil
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
from tests.verify.bench import Bench, suite_of  # noqa: E402  # it needs torch

GOLDEN = Path(__file__).parents[1] / "golden" / "older-peft"
BASE = GOLDEN / "base"
OLDER = {  # name -> what is said of the release that reads it
    "peft-0.10-lokr": "peft 0.13 or earlier",
    "peft-0.10-lokr-factors": "peft 0.13 or earlier",
    "peft-0.10-lokr-ranks": "peft 0.13 or earlier",
    "peft-0.10-lokr-even": "",
    "peft-0.10-loha": "",
    "peft-0.10-oft": "peft 0.13 or earlier",
    "peft-0.10-oft-uneven": "peft 0.13 or earlier",
    "peft-0.10-oft-small": "peft 0.13 or earlier",
    "peft-0.10-oft-shared": "peft 0.13 or earlier",
    "peft-0.14-lokr": "",
    "peft-0.14-oft": "peft 0.14 or 0.15",
    "peft-0.14-oft-size": "peft 0.14 or 0.15",
    "peft-0.14-oft-small": "peft 0.14 or 0.15",
    "peft-0.14-oft-shared": "peft 0.14 or 0.15",
    "peft-0.14-bone": "peft 0.18 or earlier",
    "peft-0.14-bone-bat": "peft 0.18 or earlier",
    "peft-0.17-lokr": "",
    "peft-0.17-oft": "",
    "peft-0.17-oft-series": "peft 0.16 or 0.17",
    "peft-0.17-oft-series-3": "peft 0.16 or 0.17",
}


def outputs_of(folder):
    inputs = load_file(GOLDEN / "peft-0.10-lokr.outputs")["input_ids"]
    with small_networks.quiet(), torch.no_grad():
        return transformers.LlamaForCausalLM.from_pretrained(folder).eval()(input_ids=inputs).logits


def fold(delta, tmp_path):
    with open_base(BASE, Cache(tmp_path / "cache")) as base, open_folder(delta) as folder:
        fold_folder(base, folder, tmp_path / "out")
        return assess(folder.files, folder.tensors, base.view)


def changed(name, tmp_path, fields, without=()):
    """Copy a delta with other fields in its config, and without some."""
    shutil.copytree(GOLDEN / name, tmp_path / "delta")
    path = tmp_path / "delta" / "adapter_config.json"
    config = {**json.loads(path.read_text()), **fields}
    path.write_text(json.dumps({key: value for key, value in config.items() if key not in without}))
    return tmp_path / "delta"


def test_every_delta_of_an_earlier_release_is_tried():
    assert {path.name for path in GOLDEN.iterdir() if path.is_dir()} == {"base", *OLDER}


@pytest.mark.parametrize("name", OLDER)
def test_a_delta_answers_as_in_the_release_that_wrote_it(tmp_path, name):
    want = load_file(GOLDEN / f"{name}.outputs")["logits"]

    assessment = fold(GOLDEN / name, tmp_path)

    got = outputs_of(tmp_path / "out")
    assert float((got - want).abs().max()) < 1e-5 * float(want.abs().max())
    notes = [p for p in assessment.account.problems if p.code == "older_library"]
    assert [note.severity for note in notes] == (["warning"] if OLDER[name] else [])
    assert all(OLDER[name] in note.message for note in notes)


@pytest.mark.parametrize("name", ["peft-0.10-lokr", "peft-0.10-oft", "peft-0.14-bone-bat", "peft-0.17-oft-series"])
def test_the_gate_lets_it_pass_with_a_warning_that_names_the_release(tmp_path, name):
    bench = Bench(GOLDEN / name, BASE, tmp_path, suite=suite_of("attached_equals_folded", "library_agrees"))

    attached, library = examine(bench.case())

    assert attached.verdict == "pass", attached.detail
    assert (library.verdict, library.code) == ("warn", "older_library"), library.detail
    assert f"load it with {OLDER[name]}, or fold it" in library.detail


def test_a_false_mark_of_age_does_not_pass(tmp_path):
    """Where today's library can restate an old reading, it has to agree with ours."""
    bench = Bench(GOLDEN / "peft-0.10-lokr", BASE, tmp_path, suite=suite_of("library_agrees"))
    pushed = Bench(
        changed("peft-0.10-lokr", tmp_path, {"alpha": 6, "r": 2}), BASE, tmp_path, suite=suite_of("library_agrees")
    )
    bench.folder = pushed.folder  # what the library loads has another rank

    (result,) = examine(bench.case())

    assert (result.verdict, result.code) == ("fail", "library_differs")


@pytest.mark.parametrize(
    ("fields", "without"),
    [({"rank_dropout_scale": False}, ()), ({"peft_version": "0.15.0"}, ()), ({}, ("auto_mapping", "revision"))],
)
def test_a_lokr_that_is_not_shown_to_be_older_is_scaled(tmp_path, fields, without):
    """By a field of today's, by the version, or by nothing that a release wrote: as today's library loads it."""
    peft = pytest.importorskip("peft", reason="needs peft")
    delta = changed("peft-0.10-lokr", tmp_path, fields, without)

    assessment = fold(delta, tmp_path)

    with small_networks.quiet(), torch.no_grad():
        network = transformers.LlamaForCausalLM.from_pretrained(BASE)
        loaded = peft.PeftModel.from_pretrained(network, delta).eval()
        want = loaded(input_ids=load_file(GOLDEN / "peft-0.10-lokr.outputs")["input_ids"]).logits
    assert float((outputs_of(tmp_path / "out") - want).abs().max()) < 1e-5
    assert not assessment.account.problems


@pytest.mark.parametrize(
    ("name", "fields", "without", "code"),
    [
        ("peft-0.10-oft", {"oft_block_size": 8, "r": 0, "use_cayley_neumann": False}, (), "kind_mismatch"),
        ("peft-0.10-oft", {"oft_block_size": 8, "r": 0}, (), "kind_mismatch"),
        ("peft-0.10-oft", {}, ("revision",), "bad_config"),
        ("peft-0.14-oft", {"use_cayley_neumann": False}, (), "kind_mismatch"),
        ("peft-0.10-oft", {"r": 5}, (), "shape"),
        ("peft-0.14-oft-small", {"eps": 0.0}, (), "bad_config"),
        ("peft-0.14-bone", {"init_weights": "mini"}, (), "bad_config"),
    ],
)
def test_what_config_and_tensors_say_differently_is_refused(tmp_path, name, fields, without, code):
    delta = changed(name, tmp_path, fields, without)

    with open_base(BASE, Cache(tmp_path / "cache")) as base:
        try:
            with open_folder(delta) as folder:
                found = assess(folder.files, folder.tensors, base.view).errors
        except Refused as refused:
            found = list(refused.problems)
    assert code in {problem.code for problem in found}
