"""Deltas on a live model: composed, cut down, swapped, and gone without a trace."""

import gc

import pytest
import torch
import transformers

from deltareg.client.cache.cache import Cache
from deltareg.client.folders.base_folder import open_base
from deltareg.delta.fold import FoldedBase
from deltareg.delta.kind import Tap
from deltareg.errors import BaseMismatch, Conflict, Inconclusive, InvalidInput, Refused
from deltareg_verify.engine.torch_engine.attach import Host, OpenedDelta, attach, open_delta
from tests.verify.bench import SAMPLES, read_arrays, sample_base
from tests.verify.toys import Keeping, hook

IDS = torch.from_numpy(read_arrays(SAMPLES / "probes.safetensors")["input_ids"].copy())[:2, :12]
EIGHT = [
    "lora",
    "lora_dora",
    "lora_embeddings",
    "lora_modules_to_save",
    "lora_patterns",
    "lora_rslora",
    "lora_v2",
    "full",
]
DEVICES = ["cpu", pytest.param("cuda:0", marks=pytest.mark.gpu)]


@pytest.fixture(scope="module")
def base(cache_dir):
    return open_base(sample_base("tinyllama"), Cache(cache_dir))


@pytest.fixture
def model():
    return live()


def live(name="tinyllama", kind=transformers.AutoModelForCausalLM):
    return kind.from_pretrained(sample_base(name), dtype="auto", local_files_only=True).eval()


def opened(base, name):
    return open_delta(SAMPLES / "deltas" / "tinyllama" / name, base)


def toy(base, *hooks):
    return OpenedDelta(base.path, base, hooks)


def logits(model):
    with torch.no_grad():
        return model(input_ids=IDS.to(model.device), use_cache=False).logits


def fingerprint_of(model):
    """Everything about a model that must be the same afterwards."""
    state = dict(model.named_parameters(remove_duplicate=False)) | dict(model.named_buffers())
    values = {name: value.detach().clone() for name, value in state.items()}
    return {name: id(value) for name, value in state.items()}, values, logits(model)


def is_untouched(model, before):
    identities, values, outputs = before
    now = dict(model.named_parameters(remove_duplicate=False)) | dict(model.named_buffers())
    assert {name: id(value) for name, value in now.items()} == identities
    assert all(torch.equal(values[name], value) for name, value in now.items())
    assert torch.equal(outputs, logits(model))
    assert not any(m._forward_hooks or m._forward_pre_hooks for m in model.modules())
    return True


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("name", EIGHT)
def test_a_delta_changes_the_model_and_leaves_no_trace(base, model, name, device):
    model.to(device)
    before = fingerprint_of(model)

    with attach(model, [opened(base, name)]) as attached:
        assert not torch.equal(logits(model), before[2])
        assert attached.silent({"input_ids": IDS.to(device)}) == []

    assert is_untouched(model, before)


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("names", [("lora", "lora_v2"), ("lora_dora", "full")])
def test_swapping_there_and_back_gives_the_same_bits(base, model, names, device):
    model.to(device)
    host = Host(model, base)
    a, b = (host.prepare([opened(base, name)]) for name in names)
    before = fingerprint_of(model)

    with host.attach(a) as attached:
        first = logits(model)
        attached.swap(b)
        other = logits(model)
        attached.swap(a)
        again = logits(model)

    assert torch.equal(first, again)
    assert not torch.equal(first, other)
    assert is_untouched(model, before)


@pytest.mark.parametrize("device", DEVICES)
def test_memory_stays_flat_over_many_swaps(base, model, device):
    model.to(device)
    host = Host(model, base)
    ready = [host.prepare([opened(base, name)]) for name in EIGHT]
    before = fingerprint_of(model)

    with host.attach(ready[0]) as attached:
        seen = [logits(model)]
        for one in ready[1:]:
            attached.swap(one)
            seen.append(logits(model))
        held = tensors_alive()
        for turn in range(200):
            attached.swap(ready[turn % 8])
            if turn % 8 == turn // 25:  # each of them is asked once more, at another time
                assert torch.equal(logits(model), seen[turn % 8])

        assert tensors_alive() <= held + 2

    assert is_untouched(model, before)


def tensors_alive():
    gc.collect()
    return sum(issubclass(type(thing), torch.Tensor) for thing in gc.get_objects())


def test_deltas_act_in_the_order_in_which_they_are_listed(base, model):
    double = toy(base, hook(lambda v, _: v * 2, "model.norm"))
    more = toy(base, hook(lambda v, _: v + 1, "model.norm"))

    def norm_of(*deltas):
        kept = []
        handle = model.model.norm.register_forward_hook
        with attach(model, deltas):
            last = handle(lambda _m, _i, out: kept.append(out))
            logits(model)
        last.remove()
        return kept[0]

    plain, one, other = norm_of(toy(base)), norm_of(double, more), norm_of(more, double)

    assert torch.equal(one, plain * 2 + 1)
    assert torch.equal(other, (plain + 1) * 2)


def test_two_low_rank_updates_add_up(base, model):
    both = [opened(base, "lora"), opened(base, "lora_v2")]
    with attach(model, both):
        together = logits(model)
    effects = [effect for delta in both for effect in delta.effects]
    folding = FoldedBase(effects, base.tensors)
    merged = {
        name: torch.frombuffer(bytearray(b"".join(folding.rows(name))), dtype=torch.float32) for name in folding.changed
    }

    model.load_state_dict({name: value.reshape(folding.shape(name)) for name, value in merged.items()}, strict=False)

    assert torch.allclose(together, logits(model), atol=1e-4)


def test_only_the_layers_that_are_named_change(base, model):
    host = Host(model, base)

    ready = host.prepare([opened(base, "lora")], include=["model.layers.1"])

    assert {target.split(".")[2] for target in ready.plan.targets.values()} == {"1"}


@pytest.mark.parametrize("glob", ["*.q_proj", "*layers.?.self_attn.q_proj", "*.q_*"])
def test_only_the_modules_that_are_named_change(base, model, glob):
    ready = Host(model, base).prepare([opened(base, "lora")], include=[glob])

    assert {target.split(".")[-2] for target in ready.plan.targets.values()} == {"q_proj"}


def test_a_pattern_that_matches_nothing_is_refused(base, model):
    with pytest.raises(InvalidInput, match=r"layers\.99"):
        attach(model, [opened(base, "lora")], include=["model.layers.0", "model.layers.99"])


def test_a_pattern_is_no_regular_expression(base, model):
    with pytest.raises(InvalidInput):
        attach(model, [opened(base, "lora")], include=[r"model\.layers\.\d"])


def test_an_attachment_that_fails_midway_leaves_the_base(base, model):
    full = opened(base, "full")
    broken = toy(base, hook(Keeping(), "lm_head", x=Tap("gone", "output")))
    before = fingerprint_of(model)

    with pytest.raises(Inconclusive, match="no module gone"):
        attach(model, [full, broken])

    assert is_untouched(model, before)


def test_a_swap_that_fails_leaves_the_base(base, model):
    host = Host(model, base)
    broken = toy(base, hook(Keeping(), "lm_head", x=Tap("gone", "output")))
    before = fingerprint_of(model)
    attached = host.attach(host.prepare([opened(base, "lora")]))

    with pytest.raises(Inconclusive):
        attached.swap(host.prepare([broken]))

    assert is_untouched(model, before)


def test_a_forward_that_fails_leaves_a_model_that_works(base, model):
    failing = toy(base, hook(lambda *_: 1 / 0, "model.norm"))
    before = fingerprint_of(model)

    with attach(model, [failing]), pytest.raises(ZeroDivisionError):
        logits(model)

    assert is_untouched(model, before)


@pytest.mark.parametrize("name", ["lora", "full"])
def test_whether_gradients_are_recorded_stays_the_programs_own(base, model, name):
    attached = attach(model, [opened(base, name)])
    while_attached = torch.is_grad_enabled()
    with torch.no_grad():
        attached.detach()
        after = torch.is_grad_enabled()

    assert (while_attached, after, torch.is_grad_enabled()) == (True, False, True)


def test_detaching_twice_is_as_good_as_once(base, model):
    attached = attach(model, [opened(base, "lora")])

    attached.detach()
    attached.detach()

    assert not any(m._forward_hooks for m in model.modules())


def test_a_second_attachment_is_refused(base, model):
    host = Host(model, base)
    ready = host.prepare([opened(base, "lora")])

    with host.attach(ready), pytest.raises(Conflict, match="other deltas are attached"):
        host.attach(ready)


def test_a_hook_that_no_forward_runs_is_named(base, model):
    idle = toy(base, hook(lambda v, _: v, "model.norm", "before"))
    model.model.norm.forward = lambda hidden_states: hidden_states

    with attach(model, [idle, opened(base, "full")]) as attached:
        silent = attached.silent({"input_ids": IDS})

    assert silent == ["model.norm.weight"]


def test_hits_are_counted(base, model):
    with attach(model, [opened(base, "lora_qv")]) as attached:
        logits(model)
        logits(model)

        assert set(attached.hits.values()) == {2}


def test_a_model_that_is_not_the_base_is_refused(base):
    other = live()
    with torch.no_grad():
        other.model.norm.weight[3] += 1

    with pytest.raises(BaseMismatch, match=r"model\.norm\.weight"):
        attach(other, [opened(base, "lora")])


def test_a_delta_of_another_base_is_refused(base, model, cache_dir):
    other = open_base(sample_base("tinyllama_bf16"), Cache(cache_dir))
    delta = open_delta(SAMPLES / "deltas/tinyllama_bf16/lora", other)

    with pytest.raises(BaseMismatch, match="another base"):
        attach(model, [opened(base, "lora"), delta])


def test_a_folder_that_is_no_delta_of_the_base_is_refused(base):
    with pytest.raises(Refused):
        open_delta(SAMPLES / "deltas/tinygpt2/lora", base)


def test_a_model_without_a_head_takes_what_it_has_a_place_for(base):
    plain = live(kind=transformers.AutoModel)
    silence = toy(base, hook(lambda v, _: v * 0, "model.norm"))

    with attach(plain, [opened(base, "lora"), silence]), torch.no_grad():
        hidden = plain(input_ids=IDS).last_hidden_state

    assert hidden.abs().max() == 0


def test_a_model_without_a_head_refuses_what_is_on_the_head(base):
    with pytest.raises(BaseMismatch, match="LlamaModel has no lm_head"):
        attach(live(kind=transformers.AutoModel), [opened(base, "full")])


@pytest.mark.parametrize("device", DEVICES)
def test_a_bfloat16_base_comes_back_bit_for_bit(cache_dir, device):
    base = open_base(sample_base("tinyllama_bf16"), Cache(cache_dir))
    model = live("tinyllama_bf16").to(device)
    before = fingerprint_of(model)

    with attach(model, [open_delta(SAMPLES / "deltas/tinyllama_bf16/lora", base)]):
        assert logits(model).dtype == torch.bfloat16
        assert not torch.equal(logits(model), before[2])

    assert is_untouched(model, before)


def test_attached_models_generate_with_a_cache_as_without(base, model):
    with attach(model, [opened(base, "lora")]):
        told = [
            model.generate(IDS, max_new_tokens=6, do_sample=False, use_cache=cached, pad_token_id=0)
            for cached in (True, False)
        ]

    assert torch.equal(*told)
