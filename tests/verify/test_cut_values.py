"""Matrices that were clipped, rounded, emptied or multiplied away, beside those of a training."""

import json

import numpy as np
import peft
import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import AutoModelForCausalLM

from deltareg_verify.judging.checks import all_checks
from tests.small_networks import quiet
from tests.verify.bench import SMOKE, Bench, sample_base

SPEC = next(spec for spec in SMOKE.checks if spec.name == "cut_values")
FORMS = {
    "lora": peft.LoraConfig(r=32, target_modules=["q_proj", "gate_proj"], task_type="CAUSAL_LM"),
    "ia3": peft.IA3Config(
        target_modules=["k_proj", "down_proj"], feedforward_modules=["down_proj"], task_type="CAUSAL_LM"
    ),
}


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """Train each for some steps on any tokens; gives the folders that peft wrote."""
    folder = tmp_path_factory.mktemp("cut")
    for name, form in FORMS.items():
        torch.manual_seed(2)
        with quiet():
            network = AutoModelForCausalLM.from_pretrained(sample_base("tinyllama"))
            tuned = peft.get_peft_model(network, form)
            _descend(tuned, 20, 2e-2)
            tuned.save_pretrained(folder / name)
    with quiet():
        network = AutoModelForCausalLM.from_pretrained(sample_base("tinyllama"))
        _descend(network, 6, 1e-3)
        network.save_pretrained(folder / "full")
    return folder


def _descend(network, steps, rate):
    wanted = [value for value in network.parameters() if value.requires_grad]
    optimizer = torch.optim.AdamW(wanted, lr=rate)
    for _ in range(steps):
        ids = torch.randint(5, 300, (4, 12))
        optimizer.zero_grad()
        network(input_ids=ids, labels=ids).loss.backward()
        optimizer.step()


@pytest.fixture
def found(trained, tmp_path, cache_dir):
    """Change the tensors of one, and give what the check finds."""

    def find(name, change):
        folder = tmp_path / "changed" / name
        folder.mkdir(parents=True)
        for path in (trained / name).glob("*.json"):
            (folder / path.name).write_bytes(path.read_bytes())
        (file,) = (trained / name).glob("*.safetensors")
        tensors = load_file(file)
        base = load_file(sample_base("tinyllama") / "model.safetensors")
        changed = {n: change(n, v, base.get(n)).contiguous() for n, v in tensors.items()}
        save_file(changed, folder / file.name, {"format": "pt"})
        config = folder / "adapter_config.json"
        if config.exists():
            told = {**json.loads(config.read_text()), "base_model_name_or_path": "tiny"}
            config.write_text(json.dumps(told))
        bench = Bench(folder, sample_base("tinyllama"), cache_dir)
        return all_checks()["cut_values"].run(bench.case(), SPEC)

    return find


def quantised(_, value, __):
    scale = value.abs().max() / 7
    return (value / scale).round() * scale


def clipped(_, value, base):
    change = value if base is None else value - base
    most = change.abs().flatten().quantile(0.6)
    return change.clamp(-most, most) + (0 if base is None else base)


def pruned(_, value, base):
    change = value if base is None else value - base
    kept = change * (change.abs() >= change.abs().flatten().quantile(0.9))
    return kept + (0 if base is None else base)


def cut(name, value, _):
    value = value.clone()
    (value if "lora_A" in name else value.T)[8:] = 0
    return value


@pytest.mark.parametrize("name", ["lora", "ia3", "full"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
def test_what_was_trained_passes_in_any_precision(found, name, dtype):
    finding = found(name, lambda _, value, __: value.to(dtype))

    assert finding.verdict == "pass", finding.detail
    assert finding.value < 0.8


@pytest.mark.parametrize(
    ("name", "change", "told"),
    [
        ("lora", quantised, "different values"),
        ("full", quantised, "different values"),
        ("lora", clipped, "at the largest size"),
        ("full", clipped, "at the largest size"),
        ("lora", pruned, "here and there"),
        ("lora", cut, "24 of its 32 directions"),
        ("ia3", lambda _, value, __: value - 1, "of the base's values are left"),
    ],
)
def test_what_was_done_to_it_afterwards_fails_and_is_named(found, name, change, told):
    finding = found(name, change)

    assert (finding.verdict, finding.code) == ("fail", "cut_values")
    assert finding.value > 1
    assert told in finding.detail


def test_a_change_of_which_the_largest_were_kept_is_told_and_no_fault(found):
    finding = found("full", pruned)

    assert (finding.verdict, finding.code) == ("warn", "cut_values")
    assert "small at none" in finding.detail


@pytest.mark.parametrize("steps", [1, 2, 4, 20])
def test_a_few_steps_by_signs_pass(found, steps):
    """As Lion and the first steps of Adam: all that is trained moves by one size, up or down."""
    random = np.random.default_rng(steps)

    def moved(name, value, base):
        start = base if base is not None else torch.zeros_like(value)
        if "lora_A" in name:
            start = torch.tensor(random.normal(size=value.shape, scale=0.1), dtype=value.dtype)
        lean = random.uniform(0.1, 0.9, value.shape)  # some gradients hardly ever turn
        ups = sum(np.where(random.random(value.shape) < lean, 1, -1) for _ in range(steps))
        return start + 1e-3 * torch.tensor(ups, dtype=value.dtype)

    for name in ("lora", "full"):
        finding = found(name, moved)
        assert finding.verdict == "pass", finding.detail


def test_words_that_nobody_said_are_no_pruning(found):
    """Adam's first steps leave no small change, and an embedding moves where words were seen."""

    def seen(_, value, base):
        signs = torch.where(torch.arange(value.numel()).reshape(value.shape) % 3 > 0, 1.0, -0.6)
        moved = base + 1e-3 * signs
        moved[20:] = base[20:]
        return moved

    assert found("full", seen).verdict == "pass"


def test_a_sparse_change_may_be_stored_with_its_zeros(trained, tmp_path, cache_dir):
    new = load_file(trained / "full" / "model.safetensors")
    old = load_file(sample_base("tinyllama") / "model.safetensors")
    chosen = torch.Generator().manual_seed(3)

    def few(change):
        return change * (torch.rand(change.shape, generator=chosen) < 0.05)

    changes = {name: few(new[name] - old[name]) for name in new if new[name].ndim > 1}
    save_file(changes, tmp_path / "delta.safetensors")
    bench = Bench(tmp_path, sample_base("tinyllama"), cache_dir, convention="difference")

    finding = all_checks()["cut_values"].run(bench.case(), SPEC)

    assert finding.verdict == "pass", finding.detail


def test_a_diagonal_that_training_left_alone_is_no_pruning(found):
    def diagonal(name, value, _):
        return torch.eye(*value.shape) if "layers.1" in name and "lora_A" in name else value

    assert found("lora", diagonal).verdict == "pass"


def test_what_is_left_of_a_weight_is_what_numpy_finds(trained, cache_dir):
    bench = Bench(trained / "ia3", sample_base("tinyllama"), cache_dir)
    factors = load_file(next((trained / "ia3").glob("*.safetensors")))
    base = load_file(sample_base("tinyllama") / "model.safetensors")

    own = {change.target: change.kept for change in bench.engine().changes()}

    for name, factor in factors.items():
        target = name.removeprefix("base_model.model.").replace("ia3_l", "weight")
        target = target.replace(".weight.weight", ".weight")
        old = base[target].double().numpy()
        new = old * factor.double().numpy().reshape((-1, 1) if "k_proj" in name else (1, -1))
        assert own[target] == pytest.approx(np.sum(new * old) / np.sum(old * old), rel=1e-5)
