"""The library that wrote a delta is asked itself; what it reads otherwise does not pass."""

import json
import shutil
from dataclasses import replace
from functools import partial

import pytest

from deltareg.identity.manifest import Source
from deltareg_verify.judging.examine import examine
from tests.verify.bench import SAMPLES, Bench, sample_base, suite_of

peft = pytest.importorskip("peft", reason="needs peft: pip install 'deltareg[libraries]'")
AGREES = suite_of("library_agrees")
pytestmark = pytest.mark.filterwarnings("ignore")  # what the library says of odd configs


@pytest.fixture
def opened(cache_dir, tmp_path):
    """Open a copy of a sample, whose files may change after it was accounted for."""
    return partial(_open, cache_dir, tmp_path / "delta")


def _open(cache_dir, folder, sample, suite=AGREES):
    shutil.copytree(SAMPLES / "deltas" / sample, folder)
    bench = Bench(folder, sample_base(sample.partition("/")[0]), cache_dir, suite=suite)
    assert bench.account.is_accepted
    return bench


def rewrite(bench, **fields):
    """Change the config that the library will read."""
    path = bench.folder.path / "adapter_config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **fields}))


def only(bench):
    """Give the one result."""
    (result,) = examine(bench.case())
    return result


@pytest.mark.parametrize(
    "sample", ["tinyllama/lora_qv", "tinyllama/lora_dora", "tinyllama/lora_embeddings", "tinygpt2/lora"]
)
def test_peft_gives_what_the_engine_gives(opened, sample):
    result = only(opened(sample))

    assert result.verdict == "pass", result.detail
    assert f"peft {peft.__version__}" in result.detail
    assert isinstance(result.value, float)
    assert result.value < 1e-5


@pytest.mark.parametrize("fields", [{"target_modules": ["q_proj"]}, {"lora_alpha": 17}, {"layers_to_transform": [0]}])
def test_a_config_that_means_something_else_to_peft_fails(opened, fields):
    bench = opened("tinyllama/lora_qv")
    rewrite(bench, **fields)

    result = only(bench)

    assert (result.verdict, result.code) == ("fail", "library_differs")


def test_a_copy_in_a_folder_of_its_own_is_not_what_peft_loads(cache_dir, tmp_path):
    delta = tmp_path / "delta"
    shutil.copytree(SAMPLES / "deltas" / "tinyllama/lora_qv", delta)
    shutil.copytree(SAMPLES / "deltas" / "tinyllama/lora_qv", delta / "ref")
    bench = Bench(delta, sample_base("tinyllama"), cache_dir, suite=AGREES)

    assert only(bench).verdict == "pass"


def test_what_peft_refuses_fails_with_what_it_said(opened):
    bench = opened("tinyllama/lora_qv")
    rewrite(bench, target_modules=["no_such_module"])

    result = only(bench)

    assert (result.verdict, result.code) == ("fail", "library_differs")
    assert "no_such_module" in result.detail


def test_the_network_is_untouched_by_what_the_library_did(opened):
    bench = opened("tinyllama/lora_qv")
    engine = bench.engine()
    before = engine.outputs("base")["logits"]

    engine.second_opinion("peft", bench.folder.path)

    assert (engine.outputs_for("base", {"input_ids": probe(engine)})["logits"] == before).all()


def probe(engine):
    """Give the token ids of the seeded probe."""
    return engine._probe["input_ids"].numpy()


def test_a_library_that_is_not_here_is_said(opened):
    bench = opened("tinyllama/lora_qv")
    bench.manifest = replace(bench.manifest, source=Source("adapters", "1.3.0"))

    result = only(bench)

    assert (result.verdict, result.code) == ("warn", "library_absent")
    assert "adapters" in result.detail


def test_a_suite_may_insist_on_the_library(opened):
    insists = suite_of(("library_agrees", {"absent": "fail"}))
    bench = opened("tinyllama/lora_qv", suite=insists)
    bench.manifest = replace(bench.manifest, source=Source("adapters", "1.3.0"))

    assert only(bench).verdict == "fail"
