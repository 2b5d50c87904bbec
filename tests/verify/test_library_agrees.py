"""The library that wrote a delta is asked itself; what it reads otherwise does not pass."""

import json
import shutil
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest
from safetensors.torch import load_file, save_file

from deltareg.identity.manifest import Source
from deltareg_verify.judging.examine import examine
from tests import small_networks
from tests.verify.bench import SAMPLES, Bench, sample_base, suite_of

peft = pytest.importorskip("peft", reason="needs peft: pip install 'deltareg[libraries]'")
torch = pytest.importorskip("torch", reason="needs torch: pip install 'deltareg[verify]'")
transformers = pytest.importorskip("transformers", reason="needs transformers: pip install 'deltareg[verify]'")
CASES3 = Path(__file__).parents[3] / "shared" / "cases3"
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


def test_weights_under_another_name_do_not_pass(opened):
    bench = opened("tinyllama/lora_qv")
    path = bench.folder.path
    (path / "adapter_model.safetensors").rename(path / "final.safetensors")

    result = only(bench)

    assert (result.verdict, result.code) == ("fail", "library_differs")
    assert "it looks for adapter_model.safetensors, and the folder has final.safetensors" in result.detail


def test_a_full_fine_tune_is_loaded_from_its_folder(opened):
    bench = opened("tinyllama/full")
    result = only(bench)

    assert result.verdict == "pass", result.detail
    assert result.detail.startswith(f"transformers {transformers.__version__}")


def test_a_full_fine_tune_whose_config_means_another_network_fails(opened):
    bench = opened("tinyllama/full")
    path = bench.folder.path / "config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "rms_norm_eps": 0.5}))

    result = only(bench)

    assert (result.verdict, result.code) == ("fail", "library_differs")


@pytest.fixture(scope="module")
def of_transformers_4(tmp_path_factory):
    """Make a base with experts, and a LoRA by the names that transformers 4 has for its modules."""
    folder = tmp_path_factory.mktemp("granite")
    torch.manual_seed(7)
    config = transformers.GraniteMoeConfig(
        vocab_size=64,
        hidden_size=32,
        intermediate_size=24,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        num_local_experts=4,
        num_experts_per_tok=2,
        max_position_embeddings=64,
    )
    transformers.GraniteMoeForCausalLM(config).save_pretrained(folder / "base")
    shapes = {"block_sparse_moe.router.layer": (32, 4), "self_attn.q_proj": (32, 32)}
    tensors = {}
    for layer in range(2):
        for module, (wide, out) in shapes.items():
            name = f"base_model.model.model.layers.{layer}.{module}"
            tensors[f"{name}.lora_A.weight"] = torch.randn(4, wide) / 4
            tensors[f"{name}.lora_B.weight"] = torch.randn(out, 4) / 4
    delta = folder / "delta"
    delta.mkdir()
    save_file(tensors, delta / "adapter_model.safetensors", metadata={"format": "pt"})
    adapter = {"peft_type": "LORA", "r": 4, "lora_alpha": 8, "target_modules": ["layer", "q_proj"], "bias": "none"}
    (delta / "adapter_config.json").write_text(json.dumps(adapter))
    (delta / "README.md").write_text("### Framework versions\n\n- PEFT 0.14.0\n")
    return folder


def test_what_todays_library_drops_of_an_older_one_is_a_warning(of_transformers_4, cache_dir):
    folder = of_transformers_4
    result = only(Bench(folder / "delta", folder / "base", cache_dir, suite=AGREES))

    assert (result.verdict, result.code) == ("warn", "older_library")
    assert f"peft {peft.__version__} agrees on 2 of 4 changes, and misreads" in result.detail
    assert "layers.0.block_sparse_moe.router.layer; load it with peft 0.14.0 and transformers 4" in result.detail


def test_a_suite_may_insist_there_too(of_transformers_4, cache_dir):
    insists = suite_of(("library_agrees", {"absent": "fail"}))
    folder = of_transformers_4
    result = only(Bench(folder / "delta", folder / "base", cache_dir, suite=insists))

    assert (result.verdict, result.code) == ("fail", "older_library")


def test_older_names_excuse_nothing_that_the_library_finds(of_transformers_4, cache_dir, tmp_path):
    shutil.copytree(of_transformers_4 / "delta", tmp_path / "delta")
    bench = Bench(tmp_path / "delta", of_transformers_4 / "base", cache_dir, suite=AGREES)
    rewrite(bench, lora_alpha=16)

    result = only(bench)

    assert (result.verdict, result.code) == ("fail", "library_differs")


def test_a_bias_is_scaled_where_its_layer_is_though_experts_are_not(cache_dir, tmp_path):
    """peft 0.14 scaled each expert by itself, and the bias of k_proj along with its weight."""
    with small_networks.quiet():
        small_networks.made("qwen2_moe").save_pretrained(tmp_path / "base")
    shapes = {n: v.shape for n, v in load_file(tmp_path / "base" / "model.safetensors").items()}
    modules = [n.removesuffix(".weight") for n in shapes if n.endswith(("k_proj.weight", "down_proj.weight"))]
    torch.manual_seed(3)
    tensors = {f"base_model.model.{m}.ia3_l": 1 + torch.randn(shapes[f"{m}.weight"][0], 1) / 4 for m in modules}
    (tmp_path / "delta").mkdir()
    save_file(tensors, tmp_path / "delta" / "adapter_model.safetensors", metadata={"format": "pt"})
    config = {"peft_type": "IA3", "target_modules": ["k_proj", "down_proj"], "feedforward_modules": []}
    (tmp_path / "delta" / "adapter_config.json").write_text(json.dumps(config))

    result = only(Bench(tmp_path / "delta", tmp_path / "base", cache_dir, suite=AGREES))

    assert (result.verdict, result.code) == ("warn", "older_library")
    assert "agrees on 4 of" in result.detail


@pytest.mark.skipif(not CASES3.is_dir(), reason="needs the third set of cases: ../shared/cases3")
def test_a_mixture_of_experts_of_transformers_4_does_not_fail(cache_dir):
    case = CASES3 / "cases_old/p14-granitemoe-leafs"
    result = only(Bench(case / "delta", case / "base", cache_dir, suite=AGREES))

    assert (result.verdict, result.code) == ("warn", "older_library")
    assert "agrees on 8 of 10 changes" in result.detail
