"""Weights that come and go with the calls give the same bits as those that stay."""

import gc
import shutil
import weakref
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import nn
from torch.nn import functional

from deltareg.delta.kind import WeightUpdate
from deltareg.delta.maths.updates import Replacement, ScaledAddition
from deltareg.errors import Inconclusive
from deltareg_verify.engine.torch_engine import MemoryRoom
from deltareg_verify.engine.torch_engine.room import estimate_need
from deltareg_verify.engine.torch_engine.streamed import DeferredParameter, StreamPlacement, stand_in
from deltareg_verify.judging.examine import examine
from deltareg_verify.judging.verdict import judge
from tests import corpus
from tests.verify.bench import SAMPLES as SAMPLE_FILES
from tests.verify.bench import SMOKE, Bench, sample_base, sample_bench
from tests.verify.library_deltas import LibraryDelta, peft

pytestmark = pytest.mark.filterwarnings("ignore")  # what the libraries say to each other
CPU = torch.device("cpu")
SAMPLES = [
    "tinyllama/lora",
    "tinyllama/lora_dora",
    "tinyllama/full",
    "tinyllama/lora_embeddings",
    "tinyllama/lora_modules_to_save",
    "tinyllama_bf16/lora",
    "tinygpt2/lora",
    "tinygpt2/bitfit",
]
WANTED = {"lora", "lora+dora", "full", "ia3", "prefix", "bitfit"}
BASES = ("tinyllama", "tinygpt2", "minilm", "tinyvit", "tinyclip")
REAL = {
    (one["base"], one["registry_kind"]): one
    for one in corpus.manifest()["deltas"]
    if one["base"] in BASES and one["registry_kind"] in WANTED and "expected" in one and one["lib"] != "adapters"
}
IDS: list[Any] = sorted(REAL) or [pytest.param("", marks=pytest.mark.skip(reason=corpus.MISSING))]
QV = ["q_proj", "v_proj"]
MADE = {
    "experts of a mixtral": ("mixtral", lambda: lora("q_proj", "experts.gate_up_proj")),
    "all of a mixtral": ("mixtral", lambda: None),
    "experts with a loop": ("gpt_oss", lambda: lora(*QV)),
    "a loha": ("gemma", lambda: peft.LoHaConfig(r=2, target_modules=QV)),
    "all of a t5": ("t5", lambda: None),
    "norms with statistics": ("resnet", lambda: None),
    "weight norms": ("wav2vec2", lambda: lora(*QV)),
    "images and text": ("siglip", lambda: lora(*QV)),
}


def lora(*modules):
    return peft.LoraConfig(r=2, lora_alpha=5, target_modules=list(modules))


def forced(device=CPU):
    return MemoryRoom(device, is_streaming=True)


def bits(outputs):
    return {name: value.view("i4").tolist() for name, value in outputs.items()}


def told(engine):
    """Give all that an engine says of a delta, as values to be compared."""
    states = ["base", "attached", *(["folded"] if engine.is_foldable else [])]
    tokens = engine.generate(3)
    return {
        **{state: bits(engine.outputs(state)) for state in states},
        "fired": engine.find_fired(),
        "overflowed": engine.find_overflowed() if engine.is_foldable else (),
        "tokens": None if tokens is None else tokens.tolist(),
        "dtype": engine.dtype,
    }


def largest_module(engine):
    """Give the bytes of the parameters of the largest module that has any of its own."""
    modules = engine._network.module.modules()
    return max(sum(p.nbytes for p in one.parameters(recurse=False)) for one in modules)


@pytest.mark.parametrize("sample", SAMPLES)
def test_nothing_differs_by_a_bit(cache_dir, sample):
    bench = sample_bench(sample, cache_dir)
    room = forced()

    assert told(bench.engine(room=room)) == told(bench.engine())
    assert room.environment() == {"weights": "streamed"}


@pytest.mark.parametrize("one", IDS, ids=" ".join)
def test_nothing_differs_for_deltas_of_other_people(cache_dir, one):
    delta = REAL[one]
    bench = Bench(corpus.CORPUS / delta["path"], corpus.base_folder(delta["base"]), cache_dir)

    assert told(bench.engine(room=forced())) == told(bench.engine())


@pytest.mark.parametrize("what", MADE)
def test_nothing_differs_on_odd_networks(tmp_path, what):
    bench = LibraryDelta(tmp_path, MADE[what][0], MADE[what][1]()).bench
    # Of two rows CLIP's last product may come out by where its memory begins.
    bench.suite = replace(SMOKE, probes={"sequences": 4, "tokens": 16})

    assert told(bench.engine(room=forced())) == told(bench.engine())


@pytest.mark.parametrize("dtype", ["f32", "bf16", "f16"])
@pytest.mark.parametrize("sample", ["tinyllama/lora_dora", "tinyllama/full", "tinyllama_bf16/lora"])
def test_nothing_differs_in_another_dtype(cache_dir, sample, dtype):
    bench = sample_bench(sample, cache_dir, suite=replace(SMOKE, dtype=dtype))

    assert told(bench.engine(room=forced())) == told(bench.engine())


def test_nothing_differs_in_another_dtype_where_some_weights_keep_theirs(tmp_path):
    """Nor where buffers come from files."""
    for name in ("t5", "resnet"):
        bench = LibraryDelta(tmp_path / name, name, None).bench
        bench.suite = replace(SMOKE, dtype="f16")

        assert told(bench.engine(room=forced())) == told(bench.engine())


def test_nothing_differs_where_the_files_have_several_dtypes(cache_dir, tmp_path):
    """Nothing is rounded on the way from a wide tensor in a narrow base to a wide network."""
    base = tmp_path / "base"
    shutil.copytree(sample_base("tinyllama_bf16"), base)
    (file,) = base.glob("*.safetensors")
    weights = load_file(file)
    weights["model.norm.weight"] = weights["model.norm.weight"].float() + 1e-4
    save_file(weights, file, metadata={"format": "pt"})
    suite = replace(SMOKE, dtype="f32")
    bench = Bench(SAMPLE_FILES / "deltas" / "tinyllama_bf16/lora", base, cache_dir, suite=suite)
    norm = "model.norm.weight"
    effect = WeightUpdate(norm, ScaledAddition(bench.base.tensors[norm]), {})

    assert told(bench.engine([effect], room=forced())) == told(bench.engine([effect]))


def test_the_verdict_is_the_same(cache_dir):
    bench = sample_bench("tinyllama/lora", cache_dir)
    case = bench.case(engine=lambda account: bench.engine(account.effects, room=forced()))

    results = list(examine(case))

    assert judge(SMOKE, results) == "pass", results


@pytest.mark.parametrize("sample", ["tinyllama/lora", "tinyllama/full", "tinygpt2/lora"])
def test_no_more_is_there_at_once_than_the_largest_module(cache_dir, sample):
    room = forced()
    engine = sample_bench(sample, cache_dir).engine(room=room)

    told(engine)

    assert all(isinstance(p, DeferredParameter) for p in engine._network.module.parameters())
    assert room.placings[0].peak_bytes == largest_module(engine)


def test_a_shared_weight_stays_shared(cache_dir):
    bench = sample_bench("tinygpt2/lora", cache_dir)
    wte = bench.base.tensors["transformer.wte.weight"]
    twin = WeightUpdate("lm_head.weight", Replacement(wte), {}, reads="transformer.wte.weight")

    engine = bench.engine([twin], room=forced())
    module = engine._network.module

    assert module.lm_head.weight is module.transformer.wte.weight
    assert set(engine._folded) == {"lm_head.weight"}
    assert bits(engine.outputs("base")) == bits(engine.outputs("folded"))


def test_a_network_is_the_base_again_when_a_forward_breaks(cache_dir):
    bench = sample_bench("tinyllama/full", cache_dir)
    engine = bench.engine(room=forced())
    before = dict(engine._network.module.named_parameters())
    norm = engine._network.module.model.norm
    norm.forward = lambda *_: 1 / 0

    with pytest.raises(ZeroDivisionError):
        engine.outputs("attached")

    after = dict(engine._network.module.named_parameters())
    assert all(after[name] is value for name, value in before.items())


def test_a_stand_in_tells_about_itself_without_being_brought():
    placing = StreamPlacement(CPU, is_forced=True)
    made = placing.bring(torch.ones(3, 2), torch.bfloat16)

    seen = (made.shape, made.dtype, made.device, made.ndim, len(made), made.is_floating_point())

    assert seen == ((3, 2), torch.bfloat16, CPU, 2, 3, True)
    assert placing.peak_bytes == 0
    assert made.T.shape == (2, 3)
    assert placing.peak_bytes == 12


def test_of_a_stand_in_that_is_indexed_only_the_part_is_brought():
    placing = StreamPlacement(CPU, is_forced=True)
    made = placing.bring(torch.arange(6.0).reshape(3, 2), torch.float32)

    assert made[torch.tensor(1)].tolist() == [2, 3]
    assert placing.peak_bytes == 8


def test_what_was_brought_is_gone_after_the_call_without_a_collection():
    gone: list[str] = []

    def give():
        value = torch.ones(2, 2)
        weakref.finalize(value, gone.append, "gone")
        return value

    made = StreamPlacement(CPU).make(give, (2, 2), torch.float32)
    gc.disable()
    try:
        functional.linear(torch.ones(1, 2), made)
        torch.cat([made, made])

        assert gone == ["gone"] * 2
    finally:
        gc.enable()


def test_weights_in_lists_are_brought(cache_dir):
    network = nn.LSTM(4, 4).eval()
    given = torch.ones(2, 1, 4)
    with torch.no_grad():
        expected = network(given)[0]
        stand_in(network, dict(network.named_parameters()), StreamPlacement(CPU, is_forced=True))

        assert torch.equal(network(given)[0], expected)


def test_what_passes_by_torchs_functions_fails():
    made = StreamPlacement(CPU, is_forced=True).bring(torch.ones(2, 2), torch.float32)

    with torch._C.DisableTorchFunctionSubclass(), pytest.raises(RuntimeError, match="storage"):
        functional.linear(torch.ones(1, 2), made)
    with pytest.raises(Inconclusive, match="a kernel of the base"):
        made.data_ptr()


def test_a_base_on_a_cpu_is_the_memory_of_its_files(cache_dir):
    bench = sample_bench("tinyllama/lora", cache_dir)
    engine = bench.engine()
    mapped = np.frombuffer(bench.base.tensors["model.norm.weight"].read(), np.uint8)

    assert engine._network.module.model.norm.weight.data_ptr() == mapped.ctypes.data


def test_room_is_made_by_arithmetic_before_anything_is_loaded(cache_dir):
    bench = sample_bench("tinyllama/lora", cache_dir)
    effects = bench.assessment.account.effects
    kept = estimate_need(bench.base.view, effects, torch.float32, CPU)
    changed = {effect.target for effect in effects}
    sizes = {name: 4 * np.prod(one.shape) for name, one in bench.base.view.tensors.items()}

    assert kept.whole == sum(sizes[name] for name in changed)
    assert kept.least == max(sizes.values())
    half = estimate_need(bench.base.view, effects, torch.bfloat16, CPU)
    assert half.whole == (sum(sizes.values()) + sum(sizes[name] for name in changed)) / 2
    assert MemoryRoom(CPU).placing(kept) is None


def test_what_does_not_fit_whole_is_streamed_and_what_never_fits_is_said_with_bytes(cache_dir):
    """The budget counts what this process, which has torch in it, has taken already."""
    bench = sample_bench("tinyllama/lora", cache_dir)
    need = estimate_need(bench.base.view, bench.assessment.account.effects, torch.float32, CPU)
    plenty = MemoryRoom(CPU, budget_bytes=1 << 50)
    wide = replace(need, whole=1 << 60)

    assert plenty.placing(wide) is not None
    assert plenty.environment() == {"weights": "streamed"}
    with pytest.raises(Inconclusive, match=f"or {need.least:,} one after the other"):
        MemoryRoom(CPU, budget_bytes=1).placing(wide)


@pytest.mark.gpu
@pytest.mark.parametrize("dtype", ["", "f32", "bf16"])
@pytest.mark.parametrize("sample", SAMPLES)
def test_nothing_differs_on_a_gpu(cache_dir, sample, dtype):
    suite = replace(SMOKE, dtype=dtype or SMOKE.dtype)
    bench = sample_bench(sample, cache_dir, device="cuda:0", suite=suite)
    room = forced(torch.device("cuda:0"))

    assert told(bench.engine(room=room)) == told(bench.engine())
    assert all(p.is_cuda for p in bench.engine(room=room)._network.module.parameters())
