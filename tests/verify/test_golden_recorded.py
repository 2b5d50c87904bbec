"""What the process that trained recorded is found again, and a delta that was altered is not.

The oracle is peft, which trained the delta and computed its outputs in this very process.
"""

import json
from dataclasses import replace

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from deltareg.errors import InvalidInput, NotFound
from deltareg.suites.golden_file import GOLDEN_FILE, decode, encode

peft = pytest.importorskip("peft", reason="needs peft: pip install 'deltareg[libraries]'")
torch = pytest.importorskip("torch")

from deltareg import golden  # noqa: E402  # what it records with may not be there
from tests.verify.test_golden import checked  # noqa: E402
from tests.verify.trained_loras import copied, train  # noqa: E402

WEIGHTS = "adapter_model.safetensors"
HEAD = "base_model.model.lm_head.weight"
pytestmark = pytest.mark.filterwarnings("ignore")  # what peft says of saved heads


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    folder = tmp_path_factory.mktemp("trained")
    model, tokenizer = train(folder / "delta", modules_to_save=["lm_head"])
    return folder / "delta", model, tokenizer


@pytest.fixture
def delta(trained, tmp_path):
    return copied(trained[0], tmp_path / "delta")


def test_what_was_recorded_in_training_is_found_again(delta, cache_dir):
    verdict, result = checked(delta, cache_dir)

    assert (verdict, result.verdict) == ("pass", "pass"), result
    assert result.detail.startswith(f"recorded in training, with peft {peft.__version__} in F32")
    assert result.value < 1e-5


def test_it_is_found_again_by_a_suite_that_requires_it(delta, cache_dir):
    _, required = checked(delta, cache_dir, recorded="required")
    _, in_training = checked(delta, cache_dir, recorded="in_training")

    assert (required.verdict, in_training.verdict) == ("pass", "pass")


def scaled(tensors):
    return {n: v * np.float32(1.05) if "lora_B" in n else v for n, v in tensors.items()}


def negated(tensors):
    return {n: -v if "lora_B" in n else v for n, v in tensors.items()}


def swapped(tensors):
    """Exchange the first layer for the second."""
    other = {".layers.0.": ".layers.1.", ".layers.1.": ".layers.0."}
    found = {}
    for name, value in tensors.items():
        layer = next((key for key in other if key in name), "")
        found[name.replace(layer, other[layer]) if layer else name] = value
    return found


def other_row(tensors):
    """Give a token the row of another one, as a tokenizer that counts otherwise does."""
    head = tensors[HEAD].copy()
    head[[300, 301]] = head[[301, 300]]
    return {**tensors, HEAD: head}


def truncated(tensors):
    """Lose the last rank."""
    last = {n: v.copy() for n, v in tensors.items()}
    for name, value in last.items():
        if "lora_A" in name:
            value[-1] = 0
    return last


def half_trained(tensors):
    return {n: v * np.float32(0.7) if "lora_A" in n else v for n, v in tensors.items()}


def rounded(tensors):
    """Store what was trained in float32 in three bits of a mantissa."""
    return {n: np.round(v * 8 / np.abs(v).max()) / 8 * np.abs(v).max() for n, v in tensors.items()}


ALTERED = [scaled, negated, swapped, other_row, truncated, half_trained, rounded]


@pytest.mark.parametrize("alter", ALTERED)
def test_a_delta_that_was_altered_after_recording_fails(delta, cache_dir, alter):
    tensors = load_file(delta / WEIGHTS)
    save_file(alter(tensors), delta / WEIGHTS, metadata={"format": "pt"})

    verdict, result = checked(delta, cache_dir)

    assert (verdict, result.code) == ("fail", "golden_differs"), result


def test_a_config_that_was_altered_after_recording_fails(delta, cache_dir):
    path = delta / "adapter_config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "lora_alpha": 9}))

    verdict, result = checked(delta, cache_dir)

    assert (verdict, result.code) == ("fail", "golden_differs"), result


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float32])
@pytest.mark.parametrize("base", ["tinyllama", "tinyllama_bf16"])
def test_outputs_are_computed_again_in_the_dtype_they_were_made_in(tmp_path, cache_dir, dtype, base):
    train(tmp_path / "delta", dtype=dtype, base=base, steps=3)

    verdict, result = checked(tmp_path / "delta", cache_dir, base=base)

    spelled = {torch.bfloat16: "BF16", torch.float16: "F16", torch.float32: "F32"}[dtype]
    assert (verdict, f"in {spelled} on cpu" in result.detail) == ("pass", True), result


@pytest.mark.parametrize("wanted", ["required", "in_training"])
def test_a_suite_that_requires_outputs_fails_without_them(delta, cache_dir, wanted):
    (delta / GOLDEN_FILE).unlink()

    verdict, result = checked(delta, cache_dir, recorded=wanted)

    assert (verdict, result.code) == ("fail", "golden_missing")
    assert "deltareg golden record" in result.detail


def test_outputs_of_the_library_are_not_those_of_the_training(trained, delta, cache_dir):
    _, model, tokenizer = trained
    golden.record(model, tokenizer, None, delta, how="by_library")

    _, required = checked(delta, cache_dir, recorded="required")
    _, in_training = checked(delta, cache_dir, recorded="in_training")

    assert required.verdict == "pass"
    assert required.detail.startswith("recorded by the library afterwards")
    assert (in_training.verdict, in_training.code) == ("fail", "golden_missing")


def test_a_word_that_is_none_leaves_it_unshown(delta, cache_dir):
    verdict, result = checked(delta, cache_dir, recorded="sometimes")

    assert (verdict, result.verdict) == ("inconclusive", "skipped")
    assert "recorded is one of" in result.detail


def test_outputs_of_a_packed_base_tell_the_delta_from_the_base_alone(trained, delta, cache_dir):
    """Values that packing moved are as good as nothing for rounding, and still show a sign."""
    found = decode((delta / GOLDEN_FILE).read_bytes())
    rng = np.random.default_rng(0)
    for sample in found.samples:
        for kept in sample.outputs.values():
            kept.values[:] += 0.1 * rng.standard_normal(kept.values.shape).astype(np.float32)
    packed = replace(found, origin=replace(found.origin, quantised="bitsandbytes"))
    (delta / GOLDEN_FILE).write_bytes(encode(packed))

    healthy = checked(delta, cache_dir)
    save_file(negated(load_file(delta / WEIGHTS)), delta / WEIGHTS, metadata={"format": "pt"})
    altered = checked(delta, cache_dir)

    assert healthy[0] == "pass"
    assert "on a base packed as bitsandbytes" in healthy[1].detail
    assert (altered[0], altered[1].code) == ("fail", "golden_differs")


# Recording itself


def test_the_model_is_left_as_it_was(trained, tmp_path):
    _, model, tokenizer = trained
    model.train()
    frozen = next(iter(model.base_model.model.model.layers))
    frozen.eval()
    before, state = torch.get_rng_state(), {n: p.clone() for n, p in model.named_parameters()}

    golden.record(model, tokenizer, ["some text"], tmp_path)

    assert model.training
    assert not frozen.training
    assert torch.equal(torch.get_rng_state(), before)
    assert all(torch.equal(state[n], p) for n, p in model.named_parameters())
    assert all(p.grad is None or p.requires_grad for p in model.parameters())


def test_the_same_is_recorded_twice(trained, tmp_path):
    _, model, tokenizer = trained
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    model.train()  # dropout would show

    first = golden.record(model, tokenizer, None, tmp_path / "a")
    second = golden.record(model, tokenizer, None, tmp_path / "b")

    assert first.read_bytes() == second.read_bytes()
    assert first.name == GOLDEN_FILE


def test_inputs_of_ones_own_are_taken(trained, tmp_path):
    _, model, _ = trained
    ids = torch.tensor([[5, 6, 7]])

    golden.record(model, None, {"input_ids": ids}, tmp_path)
    golden.record(model, None, [{"input_ids": ids}, {"input_ids": ids[:, :2]}], tmp_path / "x.json")

    one, two = (decode((tmp_path / name).read_bytes()).samples for name in (GOLDEN_FILE, "x.json"))
    with torch.no_grad():
        wanted = model.eval()(input_ids=ids).logits.numpy()
    kept = one[0].outputs["logits"]
    assert [sample.inputs["input_ids"].shape for sample in two] == [(1, 3), (1, 2)]
    assert np.allclose(kept.values[:, 0], wanted.max(axis=-1)[0], atol=1e-5)


def test_what_cannot_be_recorded_says_why(trained, tmp_path):
    _, model, tokenizer = trained

    with pytest.raises(InvalidInput, match="texts need a tokenizer"):
        golden.record(model, None, ["x"], tmp_path)
    with pytest.raises(NotFound, match="there is no folder"):
        golden.record(model, tokenizer, ["x"], tmp_path / "none")
    with pytest.raises(InvalidInput, match="gives no output"):
        golden.record(model, tokenizer, [], tmp_path)
    assert not list(tmp_path.iterdir())
