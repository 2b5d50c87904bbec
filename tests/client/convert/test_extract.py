"""Extract: what peft makes of the folder is the fine-tune, but for the error that was stated."""

import json
import warnings

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from deltareg import Client
from deltareg.client.config import ClientConfig
from deltareg.errors import Conflict, InvalidInput, NotFound
from tests import folders, small_networks
from tests.fixtures.registries import SAMPLES

torch = pytest.importorskip("torch", reason="needs torch: pip install 'deltareg[verify]'")
peft = pytest.importorskip("peft", reason="needs peft: pip install peft")
transformers = pytest.importorskip("transformers", reason="needs transformers")

BASE, TUNED = SAMPLES / "bases" / "tinyllama", SAMPLES / "deltas" / "tinyllama" / "full"
NETWORKS = [
    "convnext",
    "falcon",
    "gemma3",
    "gpt_neox",
    "phi3",
    "qwen2_vl",
    "resnet",
    "roberta",
    "siglip",
    "starcoder2",
    "t5",
    "whisper",
]
_HEAD = "vision_model.head"
UNSAVABLE = {
    "convnext": {f"convnext.encoder.stages.{n}.layers.0.layer_scale_parameter" for n in range(2)},
    "roberta": {"lm_head.bias"},  # of a module that has others below it
    "siglip": {f"{_HEAD}.attention.in_proj_bias", f"{_HEAD}.attention.in_proj_weight", f"{_HEAD}.probe"}
    | {"logit_bias", "logit_scale"},
}


@pytest.fixture
def client(tmp_path):
    with Client(ClientConfig(cache_dir=tmp_path / "cache")) as client:
        yield client


def fine_tune(tmp_path, name):
    """Save a small network, and the same with every parameter moved a little: their folders."""
    network = small_networks.made(name)
    network.save_pretrained(tmp_path / "base")
    chance = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.add_(0.02 * torch.randn(parameter.shape, generator=chance))
    network.save_pretrained(tmp_path / "tuned")
    return tmp_path / "base", tmp_path / "tuned"


def loaded(folder):
    config = transformers.AutoConfig.from_pretrained(folder)
    return getattr(transformers, config.architectures[0]).from_pretrained(folder, dtype=torch.float32).eval()


def with_lora(base, lora):
    """Give a base with a LoRA, merged by peft; what peft has to say is an error."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        warnings.filterwarnings("ignore", message=".*(deprecated|tie).*")
        return peft.PeftModel.from_pretrained(loaded(base), lora).merge_and_unload()


def parameters(network):
    return {name: value.detach().double().numpy() for name, value in network.named_parameters()}


@pytest.mark.parametrize("name", NETWORKS)
def test_what_peft_makes_of_it_is_as_far_from_the_fine_tune_as_was_stated(name, client, tmp_path):
    base, tuned = fine_tune(tmp_path, name)

    report = client.folders.extract(tuned, tmp_path / "lora", base=str(base), energy=0.8)

    before, wanted, got = (parameters(n) for n in (loaded(base), loaded(tuned), with_lora(base, tmp_path / "lora")))
    lost = np.sqrt(sum(np.sum((got[n] - wanted[n]) ** 2) for n in wanted))
    change = np.sqrt(sum(np.sum((before[n] - wanted[n]) ** 2) for n in wanted))
    assert report.modules
    assert lost / change == pytest.approx(report.total_error, rel=1e-3)
    assert 0.2 < report.relative_error <= np.sqrt(0.2) + 1e-6
    assert report.relative_error < report.total_error


@pytest.mark.parametrize("name", NETWORKS)
def test_with_all_of_it_kept_it_is_the_fine_tune_but_for_what_is_named(name, client, tmp_path):
    base, tuned = fine_tune(tmp_path, name)

    report = client.folders.extract(tuned, tmp_path / "lora", base=str(base), energy=1.0, keep=True)

    before, wanted, got = (parameters(n) for n in (loaded(base), loaded(tuned), with_lora(base, tmp_path / "lora")))
    left_out = {change.target for change in report.left_out}
    assert left_out == UNSAVABLE.get(name, set())
    assert report.relative_error < 1e-5
    for parameter in wanted:
        expected = before if parameter in left_out else wanted
        assert np.abs(got[parameter] - expected[parameter]).max() < 1e-6, parameter


@pytest.mark.parametrize("name", ["mixtral", "gpt_oss", "granitemoe", "qwen3_moe", "deepseek_v3"])
def test_experts_are_refused_by_name(name, client, tmp_path):
    base, tuned = fine_tune(tmp_path, name)

    with pytest.raises(InvalidInput, match="belongs to a stack of experts") as refused:
        client.folders.extract(tuned, tmp_path / "lora", base=str(base))

    assert "push the fine-tune as it is" in refused.value.fix
    assert not (tmp_path / "lora").exists()


@pytest.mark.parametrize("rank", [1, 6])
@pytest.mark.parametrize("name", ["gemma3", "gpt2"])
def test_a_fine_tune_that_was_a_lora_gives_its_rank_and_its_outputs_back(name, rank, client, tmp_path):
    base = SAMPLES / "bases" / "tinygpt2" if name == "gpt2" else fine_tune(tmp_path, name)[0]
    targets = ["c_attn", "c_proj"] if name == "gpt2" else ["q_proj", "o_proj", "down_proj"]
    config = peft.LoraConfig(r=rank, lora_alpha=2 * rank, target_modules=targets, init_lora_weights=False)
    torch.manual_seed(3)
    with small_networks.quiet():
        peft.get_peft_model(loaded(base), config).merge_and_unload().save_pretrained(tmp_path / "merged")

    report = client.folders.extract(tmp_path / "merged", tmp_path / "lora", base=str(base), energy=0.999999)

    assert {module.rank for module in report.modules} == {rank}
    assert not report.left_out
    assert report.total_error < 1e-5
    tokens = torch.arange(1, 17).reshape(2, 8)
    with torch.no_grad():
        wanted, got = (n(tokens).logits for n in (loaded(tmp_path / "merged"), with_lora(base, tmp_path / "lora")))
    assert (wanted - got).abs().max() <= 1e-4 * wanted.abs().max()


def test_outputs_of_a_fine_tune_come_as_near_as_the_energy_says(client, tmp_path):
    tokens, distances = torch.arange(1, 33).reshape(2, 16), []

    for energy in (0.5, 0.9, 0.99, 0.9999):
        client.folders.extract(TUNED, tmp_path / f"{energy}", base=str(BASE), energy=energy, keep=True)
        with torch.no_grad():
            wanted, got = (n(tokens).logits for n in (loaded_delta(tmp_path), with_lora(BASE, tmp_path / f"{energy}")))
        distances.append(float((wanted - got).norm() / wanted.norm()))

    assert distances == sorted(distances, reverse=True)
    assert distances[-1] < 0.01 < distances[0]


def loaded_delta(tmp_path):
    """Load the sample fine-tune, beside the config that it shares with its base."""
    whole = tmp_path / "whole"
    if not whole.exists():
        whole.mkdir()
        for source in (BASE / "config.json", *TUNED.glob("model*")):
            (whole / source.name).write_bytes(source.read_bytes())
    return loaded(whole)


def test_a_fixed_rank_is_every_modules_and_with_an_energy_the_largest(client, tmp_path):
    four = client.folders.extract(TUNED, tmp_path / "four", base=str(BASE), rank=4)
    bounded = client.folders.extract(TUNED, tmp_path / "bounded", base=str(BASE), rank=4, energy=0.5)

    config = json.loads((tmp_path / "four" / "adapter_config.json").read_text())
    assert {module.rank for module in four.modules} == {4}
    assert (config["r"], config["rank_pattern"], config["task_type"]) == (4, {}, "CAUSAL_LM")
    assert max(module.rank for module in bounded.modules) == 4
    assert min(module.rank for module in bounded.modules) < 4
    assert bounded.relative_error > four.relative_error


def test_each_modules_error_is_that_of_the_full_decomposition(client, tmp_path):
    report = client.folders.extract(TUNED, tmp_path / "lora", base=str(BASE), energy=0.9)

    _, base = folders.open_base(BASE)
    tuned = {n: v for file in TUNED.glob("*.safetensors") for n, v in load_file(file).items()}
    for module in report.modules:
        before = np.frombuffer(base[module.target].read(), "<f4").reshape(base[module.target].shape)
        sizes = np.linalg.svd(tuned[module.target].astype(np.float64) - before, compute_uv=False)
        held = np.cumsum(sizes**2) / np.sum(sizes**2)
        assert module.rank == int(np.searchsorted(held, 0.9)) + 1
        assert module.norm == pytest.approx(np.linalg.norm(sizes))
        assert module.lost == pytest.approx(np.linalg.norm(sizes[module.rank :]), rel=1e-5)


def test_it_is_a_delta_that_is_pushed_like_any_other(client, tmp_path):
    client.folders.extract(TUNED, tmp_path / "lora", base=str(BASE), keep=True)

    lint = client.lint(tmp_path / "lora", base=str(BASE))

    assert (lint.is_accepted, lint.kind) == (True, "lora")


def test_only_biases_and_norms_are_nothing_for_factors(client, tmp_path):
    bitfit, gpt2 = SAMPLES / "deltas" / "tinygpt2" / "bitfit", SAMPLES / "bases" / "tinygpt2"

    with pytest.raises(InvalidInput, match="no weight of a layer differs"):
        client.folders.extract(bitfit, tmp_path / "lora", base=str(gpt2))

    assert not (tmp_path / "lora").exists()


def test_a_weight_that_is_not_finite_is_named(client, tmp_path):
    tensors = {n: v for file in TUNED.glob("*.safetensors") for n, v in load_file(file).items()}
    target = "model.layers.1.mlp.up_proj.weight"
    tensors[target][0, 0] = np.nan
    (tmp_path / "tuned").mkdir()
    save_file(tensors, tmp_path / "tuned" / "model.safetensors")

    with pytest.raises(InvalidInput, match=f"{target} holds numbers that are not finite"):
        client.folders.extract(tmp_path / "tuned", tmp_path / "lora", base=str(BASE))


@pytest.mark.parametrize(
    ("more", "error", "words"),
    [
        ({}, InvalidInput, "no base is named"),
        ({"base": str(BASE), "rank": 0}, InvalidInput, "rank 0 is not above 0"),
        ({"base": str(BASE), "energy": 90.0}, InvalidInput, "energy 90.0 is not above 0 and at most 1"),
    ],
)
def test_what_means_nothing_is_refused_before_anything_is_written(more, error, words, client, tmp_path):
    with pytest.raises(error, match=words):
        client.folders.extract(TUNED, tmp_path / "lora", **more)

    assert not list(tmp_path.glob("lora*"))


def test_a_folder_that_is_there_is_not_written_over(client, tmp_path):
    (tmp_path / "lora").mkdir()
    (tmp_path / "lora" / "mine").write_text("mine")

    with pytest.raises(Conflict, match="not empty"):
        client.folders.extract(TUNED, tmp_path / "lora", base=str(BASE))
    with pytest.raises(NotFound, match="there is nothing at"):
        client.folders.extract("./nowhere", tmp_path / "other", base=str(BASE))

    assert [file.name for file in (tmp_path / "lora").iterdir()] == ["mine"]


def test_a_version_of_the_registry_knows_its_base(local_registry, tmp_path):
    client = local_registry.client()
    client.bases.push(BASE, "tinyllama")
    client.push(TUNED, "team/tuned", base="tinyllama")

    report = client.folders.extract("team/tuned", tmp_path / "lora")
    pushed = client.push(tmp_path / "lora", "team/small")  # the base that its config names

    assert (report.source, report.base) == ("team/tuned:v1", "tinyllama")
    assert (pushed.version.kind, pushed.version.base.name) == ("lora", "tinyllama")
    with pytest.raises(InvalidInput, match="has its base"):
        client.folders.extract("team/tuned", tmp_path / "other", base="tinyllama")
