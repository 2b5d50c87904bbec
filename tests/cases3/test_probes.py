"""Cases for which no probe could be drawn, or none that reached: each is right, and passes.

The library that made them left its own outputs beside them.
"""

import json
from pathlib import Path

import numpy as np
import pytest

from deltareg.client.fold.fold_folder import fold_folder
from tests import small_networks
from tests.verify.bench import SMOKE, Bench, read_arrays

torch = pytest.importorskip("torch", reason="needs torch: pip install 'deltareg[verify]'")
transformers = pytest.importorskip("transformers", reason="needs transformers")
from deltareg_verify.judging.examine import examine  # noqa: E402  # it needs torch
from deltareg_verify.judging.verdict import judge  # noqa: E402

CASES = Path(__file__).parents[3] / "shared" / "cases3"
NAMES = ["cases/bigbird_pegasus-emb_lora", "cases/canine-full", "cases/fuyu-emb_lora", "cases_old/p10-llava-leafs"]
pytestmark = [
    pytest.mark.skipif(not CASES.is_dir(), reason="needs the third set of cases: ../shared/cases3"),
    pytest.mark.filterwarnings("ignore"),  # what the libraries say to each other
]


@pytest.fixture(params=NAMES)
def case(request, tmp_path):
    folder = CASES / request.param
    return folder, json.loads((folder / "meta.json").read_text()), Bench(folder / "delta", folder / "base", tmp_path)


def test_it_passes_and_is_attached_as_the_library_attaches_it(case):
    folder, told, bench = case

    results = list(examine(bench.case()))
    got = bench.engine().outputs_for("attached", read_arrays(folder / "inputs.safetensors"))

    want = read_arrays(folder / "expected.safetensors")["attached"]
    assert judge(SMOKE, results) == "pass"
    assert np.abs(got[told["out"]] - want).max() < 5e-6


def test_it_is_folded_to_what_the_library_computes(case, tmp_path):
    folder, told, bench = case

    fold_folder(bench.base, bench.folder, tmp_path / "out")

    with small_networks.quiet(), torch.no_grad():
        network = getattr(transformers, told["cls"]).from_pretrained(tmp_path / "out").float().eval()
        inputs = {name: torch.from_numpy(value) for name, value in read_arrays(folder / "inputs.safetensors").items()}
        got = network(**inputs)[told["out"]].numpy()
    want = read_arrays(folder / "expected.safetensors")["attached"]
    assert np.abs(got - want).max() < 5e-6
