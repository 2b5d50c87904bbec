"""What came of one training that began at the base, beside what did not."""

import json

import peft
import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import nn
from transformers import AutoModelForCausalLM

from deltareg_verify.judging.checks import all_checks
from tests.small_networks import quiet
from tests.verify.bench import SMOKE, Bench, sample_base

SPEC = next(spec for spec in SMOKE.checks if spec.name == "descent")
TARGETS = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]
A, B = "lora_A", "lora_B"


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """Train each once on any tokens; gives the folders that the libraries wrote."""
    folder = tmp_path_factory.mktemp("descent")
    with quiet():
        for name, seed in (("one", 1), ("other", 2)):
            _lora(folder / name, seed=seed)
        _lora(folder / "frozen", seed=1, is_frozen=True)
        _lora(folder / "stabilised", seed=3, use_rslora=True)
        _lora(folder / "principal", seed=1, init_lora_weights="pissa")
        _taken_away(folder)
        _whole(folder)
    return folder


def _lora(folder, *, seed, is_frozen=False, **told):
    torch.manual_seed(seed)
    network = AutoModelForCausalLM.from_pretrained(sample_base("tinyllama"))
    form = peft.LoraConfig(r=16, target_modules=TARGETS, task_type="CAUSAL_LM", **told)
    tuned = peft.get_peft_model(network, form)
    is_principal = told.get("init_lora_weights") == "pissa"
    if is_principal:
        tuned.save_pretrained(f"{folder}-start")
    for name, value in tuned.named_parameters():
        value.requires_grad = value.requires_grad and not (is_frozen and A in name)
    _descend(tuned, rate=2e-2)
    start = f"{folder}-start" if is_principal else None
    tuned.save_pretrained(folder, path_initial_model_for_weight_conversion=start)


def _taken_away(folder):
    """Take one product from another as peft's merges do, which stores both beside each other."""
    network = AutoModelForCausalLM.from_pretrained(sample_base("tinyllama"))
    model = peft.PeftModel.from_pretrained(network, folder / "one", adapter_name="one")
    model.load_adapter(folder / "stabilised", "other")
    model.peft_config["other"].use_rslora = False
    model.add_weighted_adapter(["one", "other"], [1.0, -0.5], "both", combination_type="cat")
    model.save_pretrained(folder / "merged", selected_adapters=["both"])
    (folder / "merged" / "both").rename(folder / "taken")


def _whole(folder):
    network = AutoModelForCausalLM.from_pretrained(sample_base("tinyllama"))
    optimizer = _descend(network, rate=2e-3)
    network.save_pretrained(folder / "full")
    with torch.no_grad():
        for value in network.parameters():
            value.copy_(optimizer.state[value]["exp_avg"])
    network.save_pretrained(folder / "moments")


def _descend(network, *, rate, steps=60):
    torch.manual_seed(7)
    wanted = [value for value in network.parameters() if value.requires_grad]
    optimizer = torch.optim.AdamW(wanted, lr=rate)
    texts = torch.randint(5, 300, (24, 12))
    for step in range(steps):
        ids = texts[step % 6 * 4 :][:4]
        optimizer.zero_grad()
        network(input_ids=ids, labels=ids).loss.backward()
        optimizer.step()
    return optimizer


@pytest.fixture
def found(trained, tmp_path, cache_dir):
    """Change the tensors of one, and give what the check finds."""

    def find(name, change=lambda tensors: tensors):
        folder = tmp_path / "changed"
        folder.mkdir()
        for path in (trained / name).glob("*.json"):
            told = json.loads(path.read_text())
            if path.name == "adapter_config.json":
                told["base_model_name_or_path"] = "tiny"
            (folder / path.name).write_text(json.dumps(told))
        (file,) = (trained / name).glob("*.safetensors")
        changed = {n: v.contiguous() for n, v in change(load_file(file)).items()}
        save_file(changed, folder / file.name, {"format": "pt"})
        return _finding(folder, sample_base("tinyllama"), cache_dir)

    return find


def _finding(folder, base, cache_dir):
    return all_checks()["descent"].run(Bench(folder, base, cache_dir).case(), SPEC)


def tensors_of(folder):
    (file,) = folder.glob("*.safetensors")
    return load_file(file)


@pytest.mark.parametrize("name", ["one", "stabilised", "principal", "taken", "frozen", "full"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
def test_what_one_training_left_passes_in_any_precision(found, name, dtype):
    finding = found(name, lambda tensors: {n: v.to(dtype) for n, v in tensors.items()})

    assert finding.verdict == "pass", finding.detail
    assert finding.value < 0.7


@pytest.mark.parametrize("side", [A, B])
def test_a_factor_of_another_run_fails(found, trained, side):
    other = tensors_of(trained / "other")

    finding = found("one", lambda own: {n: (other if side in n else own)[n] for n in own})

    assert (finding.verdict, finding.code) == ("fail", "unrelated")
    assert "do not come from one run" in finding.detail


def turned(tensors):
    turn = torch.linalg.qr(torch.randn(16, 16, generator=torch.Generator().manual_seed(4))).Q
    return {n: turn.T @ v if A in n else v @ turn for n, v in tensors.items()}


def decomposed(tensors):
    """Give each product by its singular values, and a thousandth of it."""
    changed = dict(tensors)
    for name in (n for n in tensors if A in n):
        beside = name.replace(A, B)
        left, sizes, right = torch.linalg.svd(tensors[beside] @ tensors[name])
        roots = sizes[:16].sqrt() / 1000**0.5
        changed |= {name: roots[:, None] * right[:16], beside: left[:, :16] * roots}
    return changed


@pytest.mark.parametrize("change", [turned, decomposed])
def test_the_same_product_of_other_factors_passes(found, change):
    assert found("one", change).verdict in {"pass", "n/a"}


def test_gradients_in_the_place_of_factors_fail(found):
    finding = found("one", lambda tensors: {n: 1e-3 * v for n, v in tensors.items()})

    assert (finding.verdict, finding.code) == ("fail", "unrelated")
    assert "gradients were saved" in finding.detail


def test_an_optimizers_state_in_the_place_of_weights_fails(found):
    finding = found("moments")

    assert (finding.verdict, finding.code) == ("fail", "unrelated")
    assert "not trained from this base" in finding.detail


def test_a_network_that_was_trained_from_another_start_fails(found):
    def restarted(tensors):
        torch.manual_seed(3)
        return {n: v.std() * torch.randn_like(v) if v.dim() > 1 else v for n, v in tensors.items()}

    finding = found("full", restarted)

    assert (finding.verdict, finding.code) == ("fail", "unrelated")


def test_a_new_head_on_a_tuned_network_is_none_of_it(found):
    def with_new_head(tensors):
        torch.manual_seed(3)
        drawn = torch.randn_like(tensors["lm_head.weight"])
        return tensors | {"lm_head.weight": 0.02 * drawn}

    assert found("full", with_new_head).verdict == "pass"


class Hearing(nn.Sequential):
    """A small network of convolutions with norms, as many hear or see by."""

    def __init__(self):
        rows = [(1, 16), (16, 16), (16, 24), (24, 24)]
        parts = ((nn.Conv1d(i, o, 5), nn.BatchNorm1d(o), nn.ReLU()) for i, o in rows)
        super().__init__(*(part for three in parts for part in three), nn.AdaptiveAvgPool1d(1))


@pytest.fixture(scope="module")
def norms(tmp_path_factory):
    """Let statistics gather on sounds of two sorts; gives base and tuned network."""
    torch.manual_seed(1)
    network, folder = Hearing(), tmp_path_factory.mktemp("norms")
    for name, loud in (("base", 1.0), ("tuned", 3.0)):
        optimizer = torch.optim.Adam(network.parameters(), lr=1e-3)
        for _ in range(60):
            sound = loud * torch.randn(8, 1, 64).cumsum(2) / 8
            optimizer.zero_grad()
            (network(sound)[:, 0, 0] - sound[:, 0, ::7].mean(1)).square().mean().backward()
            optimizer.step()
        (folder / name).mkdir()
        save_file(network.state_dict(), folder / name / "model.safetensors")
    return folder


def norms_changed(norms, tmp_path, change):
    tensors = tensors_of(norms / "tuned")
    statistics = {n: change(v) for n, v in tensors.items() if "running" in n}
    folder = tmp_path / "delta"
    folder.mkdir()
    save_file(tensors | statistics, folder / "model.safetensors")
    return folder


def test_statistics_that_followed_louder_sounds_pass(norms, tmp_path, cache_dir):
    folder = norms_changed(norms, tmp_path, lambda value: value)

    finding = _finding(folder, norms / "base", cache_dir)

    assert finding.verdict == "pass", finding.detail


def test_statistics_that_were_never_gathered_fail(norms, tmp_path, cache_dir):
    folder = norms_changed(norms, tmp_path, torch.ones_like)

    finding = _finding(folder, norms / "base", cache_dir)

    assert (finding.verdict, finding.code) == ("fail", "unrelated")
    assert "are 1 for every channel" in finding.detail


def test_statistics_of_another_scale_fail(norms, tmp_path, cache_dir):
    own = tensors_of(norms / "base")
    folder = tmp_path / "delta"
    folder.mkdir()
    scaled = {n: 4 * v if "running" in n else v for n, v in own.items()}
    save_file(tensors_of(norms / "tuned") | scaled, folder / "model.safetensors")

    finding = _finding(folder, norms / "base", cache_dir)

    assert (finding.verdict, finding.code) == ("fail", "unrelated")
    assert "4 times the base's" in finding.detail
