"""Models of diffusers as bases: LoRAs of all layouts give what diffusers gives; `smoke` passes."""

import json
import sys
from functools import partial

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from deltareg.client.cache.cache import Cache
from deltareg.client.fold.fold_folder import fold_folder
from deltareg.client.folders.base_folder import open_base
from deltareg.errors import Inconclusive, InvalidInput, Refused
from tests.verify.bench import SMOKE, Bench

torch = pytest.importorskip("torch", reason="needs torch: pip install 'deltareg[verify]'")
pytest.importorskip("diffusers", reason="needs diffusers: pip install 'deltareg[diffusion]'")
from deltareg_verify.engine.torch_engine import MemoryRoom, TorchEngine, prepare_device  # noqa: E402
from deltareg_verify.engine.torch_engine.networks.calling import call  # noqa: E402
from deltareg_verify.engine.torch_engine.probe import floating_outputs, probe_inputs  # noqa: E402
from deltareg_verify.judging.examine import examine  # noqa: E402  # it needs torch
from tests.verify import diffusion_loras, tiny_diffusers  # noqa: E402

pytestmark = pytest.mark.filterwarnings("ignore")  # what the libraries say to each other
EXACT = 2e-6
UNET = diffusion_loras.SORTS["unet new"]


QUICK = (
    "unet new convolutions",
    "unet old processors",
    "unet kohya",
    "sdxl original kohya",
    "flux new",
    "flux adapter",
    "flux alphas",
    "flux kohya",
    "flux original comfyui",
    "sd3 new",
    "pixart peft",
    "unet lokr",
)


def all_of(names, *, quick):
    """Give all names, those that the soak alone tries with its mark."""
    return [n if n in quick else pytest.param(n, marks=pytest.mark.soak) for n in names]


@pytest.fixture(scope="module", params=all_of(diffusion_loras.SORTS, quick=QUICK))
def sort(request):
    return diffusion_loras.SORTS[request.param]


@pytest.fixture(scope="module")
def made(sort, tmp_path_factory):
    return diffusion_loras.make(sort, tmp_path_factory.mktemp("lora"))


@pytest.fixture(scope="module")
def bench(made, cache_dir):
    return Bench(made.delta, made.base, cache_dir)


@pytest.fixture(scope="module")
def engine(bench):
    return bench.engine()


@pytest.fixture
def unet(tmp_path):
    return diffusion_loras.make(UNET, tmp_path)


def answers(model):
    """Run a model on the probe of `smoke`."""
    with torch.no_grad():
        inputs = probe_inputs(plain(model), seed=SMOKE.seed, **SMOKE.probes)
        return {n: np.asarray(v) for n, v in call(model, inputs).items()}


def plain(model):
    """Give the model within peft's."""
    return model.get_base_model() if hasattr(model, "get_base_model") else model


def largest(found, wanted):
    assert found.keys() == wanted.keys()
    return max(float(np.abs(found[name] - wanted[name]).max()) for name in wanted)


def verdicts(bench, **parts):
    return {result.name: result for result in examine(bench.case(**parts))}


def engine_of(base, effects=(), **more):
    return TorchEngine(base, effects, suite=SMOKE, device=prepare_device("cpu", threads=1), **more)


def test_smoke_passes(sort, bench):
    found = verdicts(bench)

    # diffusers reads kohya's names of a transformer in the spelling of the original models alone.
    is_asked = (sort.part, sort.layout) != ("transformer", "kohya")
    told = {r.name for r in found.values() if r.verdict not in {"pass", "n/a"}}
    assert told == (set() if is_asked else {"library_agrees"})
    assert found["library_agrees"].verdict == ("pass" if is_asked else "warn")
    assert found["effect"].verdict == found["attached_equals_folded"].verdict == "pass"


def test_attached_it_gives_what_the_library_gives(sort, made, engine):
    wanted = answers(diffusion_loras.loaded(sort, made))

    assert largest(engine.outputs("attached"), wanted) < EXACT
    assert largest(engine.outputs("base"), wanted) > 100 * EXACT


def test_folded_it_gives_what_the_library_fuses(sort, made, engine):
    wanted = answers(diffusion_loras.fused(diffusion_loras.loaded(sort, made)))

    assert largest(engine.outputs("folded"), wanted) < EXACT


def test_a_folded_folder_is_read_by_the_library(sort, made, bench, engine, tmp_path):
    fold_folder(bench.base, bench.folder, tmp_path / "out")

    model = tiny_diffusers.read(sort.model, tmp_path / "out")
    assert largest(answers(model), engine.outputs("folded")) < EXACT


@pytest.mark.parametrize("name", ["flux original kohya", "sdxl original kohya"])
def test_a_file_with_original_names_is_what_it_converts_to(name, tmp_path, cache_dir):
    made = diffusion_loras.make(diffusion_loras.SORTS[name], tmp_path)
    benches = [Bench(path, made.base, cache_dir) for path in (made.source, made.delta)]

    as_it_is, converted = (bench.engine().outputs("folded") for bench in benches)

    assert benches[0].assessment.errors == []
    assert largest(as_it_is, converted) < EXACT


@pytest.mark.parametrize("name", all_of(tiny_diffusers.TINY, quick=list(tiny_diffusers.TINY)[::4]))
def test_every_class_that_is_known_runs_as_the_library_reads_it(name, tmp_path, cache_dir):
    tiny_diffusers.make(name).save_pretrained(tmp_path / "base")
    with open_base(tmp_path / "base", Cache(cache_dir)) as base:
        found = engine_of(base).outputs("base")

    wanted = answers(tiny_diffusers.read(name, tmp_path / "base"))
    assert largest(found, wanted) == 0
    assert all(np.isfinite(value).all() and value.any() for value in found.values())


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
@pytest.mark.parametrize("name", ["UNet2DConditionModel", "WanTransformer3DModel"])
def test_it_runs_in_the_dtype_that_it_is_stored_in(name, dtype, tmp_path, cache_dir):
    tiny_diffusers.make(name).to(getattr(torch, dtype)).save_pretrained(tmp_path / "base")
    with open_base(tmp_path / "base", Cache(cache_dir)) as base:
        engine = engine_of(base)
        found = engine.outputs("base")

    # Wan keeps some of its layers in float32, as its own loader does.
    model = tiny_diffusers.read(name, tmp_path / "base", torch_dtype=getattr(torch, dtype))
    inputs = probe_inputs(model, seed=SMOKE.seed, **SMOKE.probes)
    with torch.no_grad():
        wanted = floating_outputs(call(model, inputs))
    assert engine.dtype == {"bfloat16": "BF16", "float16": "F16"}[dtype]
    assert largest(found, wanted) == 0


def test_weights_that_come_and_go_give_the_same_bits(bench, engine):
    room = MemoryRoom(prepare_device("cpu", threads=1), is_streaming=True)

    streamed = bench.engine(room=room)

    for state in ("base", "attached", "folded"):
        assert largest(streamed.outputs(state), engine.outputs(state)) == 0
    assert streamed.environment()["weights"] == "streamed"


def test_the_bases_weights_are_the_memory_of_its_files(unet, cache_dir):
    bench = Bench(unet.delta, unet.base, cache_dir)
    engine = bench.engine()

    live = engine._network.live["conv_in.weight"]

    data = np.frombuffer(bench.base.tensors["conv_in.weight"].read(), np.float32)
    assert live.data_ptr() == data.ctypes.data


def test_a_lora_of_another_model_is_refused(unet, tmp_path, cache_dir):
    tiny_diffusers.make("UNet2DModel").save_pretrained(tmp_path / "other")

    assert refusals(unet.delta, tmp_path / "other", cache_dir)


@pytest.mark.parametrize("side", ["lora_A", "lora_B"])
def test_a_lora_of_which_half_is_missing_is_refused(side, unet, cache_dir):
    file = unet.delta / diffusion_loras.FILE
    tensors = load_file(file)
    gone = [name for name in sorted(tensors) if side in name][::2]
    save_file({n: v for n, v in tensors.items() if n not in gone}, file)

    assert refusals(unet.delta, unet.base, cache_dir)


def test_a_lora_that_does_nothing_fails(unet, cache_dir):
    file = unet.delta / diffusion_loras.FILE
    tensors = load_file(file)
    save_file({n: v * (0 if "lora_B" in n else 1) for n, v in tensors.items()}, file)

    found = verdicts(Bench(unet.delta, unet.base, cache_dir))

    assert "fail" in {result.verdict for result in found.values()}


def test_a_branch_that_differs_from_the_fold_fails(unet, cache_dir):
    bench = Bench(unet.delta, unet.base, cache_dir)

    class Crooked(TorchEngine):
        def outputs(self, state, *, seed=0):
            found = super().outputs(state, seed=seed)
            return {n: v + (state == "folded") for n, v in found.items()}

    crooked = partial(engine_as, Crooked, bench)
    found = verdicts(bench, engine=lambda account: crooked(account.effects))

    assert found["attached_equals_folded"].verdict == "fail"


def engine_as(kind, bench, effects):
    return kind(bench.base, effects, suite=SMOKE, device=prepare_device("cpu", threads=1))


@pytest.mark.parametrize(
    "name", ["StableDiffusionPipeline", "DDIMScheduler", "os.system", "ModelMixin2", "__class__", "logging"]
)
def test_only_models_of_the_library_are_made(name, unet, cache_dir):
    rename(unet.base, name)

    with pytest.raises(Inconclusive, match="has no model"):
        Bench(unet.delta, unet.base, cache_dir).engine().outputs("base")


def test_a_class_without_a_probe_is_named(unet, cache_dir):
    rename(unet.base, "PriorTransformer")

    with pytest.raises(Inconclusive, match="PriorTransformer"):
        Bench(unet.delta, unet.base, cache_dir).engine().outputs("base")


def test_code_in_the_folder_is_not_run(unet, cache_dir):
    (unet.base / "evil.py").write_text("raise SystemExit('ran')\n")
    config = json.loads((unet.base / "config.json").read_text())
    config["auto_map"] = {"AutoModel": "evil.Evil"}
    (unet.base / "config.json").write_text(json.dumps(config))

    assert Bench(unet.delta, unet.base, cache_dir).engine().outputs("base")


@pytest.mark.parametrize("change", ["missing", "unexpected"])
def test_files_that_are_not_the_class_are_told(change, unet, cache_dir):
    file = unet.base / "diffusion_pytorch_model.safetensors"
    tensors = load_file(file)
    if change == "missing":
        del tensors["conv_in.bias"]
    else:
        tensors["conv_in.more"] = np.zeros(3, np.float32)
    save_file(tensors, file)

    with pytest.raises(Inconclusive, match=r"conv_in\.(bias|more)"):
        Bench(unet.delta, unet.base, cache_dir).engine().outputs("base")


def test_a_worker_without_the_library_names_the_extra(unet, cache_dir, monkeypatch):
    monkeypatch.setitem(sys.modules, "diffusers", None)

    with pytest.raises(Inconclusive, match="which this worker lacks") as told:
        Bench(unet.delta, unet.base, cache_dir).engine().outputs("base")
    assert "deltareg[diffusion]" in told.value.fix


def test_inputs_of_ones_own_are_taken(made, engine, sort):
    given = {name: value.numpy() for name, value in engine._probe.items()}

    assert largest(engine.outputs_for("attached", given), engine.outputs("attached")) == 0
    with pytest.raises(InvalidInput, match="does not take an input 'nonsense'"):
        engine.outputs_for("attached", {"nonsense": np.zeros(2, np.float32)})


def refusals(delta, base, cache_dir):
    """Give the codes of what refuses a delta."""
    try:
        bench = Bench(delta, base, cache_dir)
    except Refused as refused:
        return [problem.code for problem in refused.problems]
    return [problem.code for problem in bench.assessment.errors]


def rename(base, name):
    """Give the base's config another class."""
    config = json.loads((base / "config.json").read_text())
    (base / "config.json").write_text(json.dumps({**config, "_class_name": name}))
