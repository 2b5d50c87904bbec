"""A pipeline of diffusers as one base: what a LoRA touches is run, each component on its probe."""

import json

import numpy as np
import pytest
from safetensors.torch import load_file, save_file

from deltareg.client.cache.cache import Cache
from deltareg.client.fold.fold_folder import fold_folder
from deltareg.client.folders.base_folder import open_base
from deltareg.client.folders.folder import open_folder
from deltareg.delta.base_manifest import base_view
from deltareg.delta.delta_manifest import assess
from deltareg.identity.manifest import Manifest
from tests.verify.bench import Bench

torch = pytest.importorskip("torch", reason="needs torch: pip install 'deltareg[verify]'")
pytest.importorskip("diffusers", reason="needs diffusers: pip install 'deltareg[diffusion]'")
from transformers import CLIPTextConfig, CLIPTextModel  # noqa: E402  # it needs torch

from deltareg_verify.engine.torch_engine import MemoryRoom, prepare_device  # noqa: E402
from deltareg_verify.engine.torch_engine.networks.calling import ComponentNetworks, call  # noqa: E402
from deltareg_verify.judging.examine import examine  # noqa: E402
from tests.client.convert.converting import client_of  # noqa: E402
from tests.verify import diffusion_loras, original_files, tiny_diffusers  # noqa: E402

pytestmark = pytest.mark.filterwarnings("ignore")  # what the libraries say to each other
EXACT = 2e-6
UNET = {"target_modules": ["to_q", "to_v"], "r": 2, "lora_alpha": 1}
TEXT = {"target_modules": ["q_proj", "fc1"], "r": 3, "lora_alpha": 6}
FILE = "pytorch_lora_weights.safetensors"


def text_encoder(seed):
    torch.manual_seed(seed)
    config = CLIPTextConfig(
        hidden_size=16,
        intermediate_size=24,
        num_attention_heads=2,
        num_hidden_layers=2,
        vocab_size=40,
        max_position_embeddings=16,
        bos_token_id=38,
        eos_token_id=39,
    )
    return CLIPTextModel(config).eval()


def components():
    """Make the parts of a pipeline, two of which have tensors of the same names."""
    return {
        "unet": tiny_diffusers.make("UNet2DConditionModel"),
        "vae": tiny_diffusers.make("AutoencoderKL"),
        "text_encoder": text_encoder(0),
        "text_encoder_2": text_encoder(1),
    }


def save_pipeline(folder):
    """Save a pipeline as the library does."""
    listed = {"_class_name": "StableDiffusionXLPipeline", "scheduler": ["diffusers", "Any"]}
    for name, part in components().items():
        part.save_pretrained(folder / name)
        listed[name] = [type(part).__module__.partition(".")[0], type(part).__name__]
    (folder / "scheduler").mkdir()
    (folder / "scheduler" / "scheduler_config.json").write_text("{}")
    (folder / "model_index.json").write_text(json.dumps(listed))


@pytest.fixture(scope="module")
def pipeline(tmp_path_factory):
    folder = tmp_path_factory.mktemp("pipeline")
    save_pipeline(folder)
    return folder


def trained(**configs):
    """Put a LoRA on parts; gives them, and its tensors as `save_lora_weights` names them."""
    from peft import LoraConfig, get_peft_model_state_dict, inject_adapter_in_model

    parts = components()
    tensors: dict = {}
    for name, config in configs.items():
        torch.manual_seed(2)
        inject_adapter_in_model(LoraConfig(init_lora_weights=False, **config), parts[name])
        with torch.no_grad():
            for weight in (v for n, v in parts[name].named_parameters() if ".lora_B." in n):
                weight.mul_(0.3)
        found = get_peft_model_state_dict(parts[name])
        tensors |= {f"{name}.{n}": value for n, value in found.items()}
    return parts, tensors


def write(folder, tensors, **configs):
    told = {f"{part}.{key}": value for part, c in configs.items() for key, value in c.items()}
    folder.mkdir()
    metadata = {"format": "pt", "lora_adapter_metadata": json.dumps(told)}
    save_file({n: v.contiguous() for n, v in tensors.items()}, folder / FILE, metadata=metadata)
    return folder


@pytest.fixture
def both(tmp_path):
    """Give parts with a LoRA on two of them, and the file of it."""
    configs = {"unet": UNET, "text_encoder_2": TEXT}
    parts, tensors = trained(**configs)
    return parts, write(tmp_path / "delta", tensors, **configs)


def answers(parts, inputs):
    with torch.no_grad():
        return call(ComponentNetworks(parts), inputs)


def largest(found, wanted):
    assert found.keys() == wanted.keys()
    return max(float(np.abs(found[name] - wanted[name].numpy()).max()) for name in wanted)


def test_its_tensors_are_named_by_component(pipeline, cache_dir):
    with open_base(pipeline, Cache(cache_dir)) as base:
        names = set(base.view.tensors)

        assert {"unet.conv_in.weight", "vae.encoder.conv_in.weight"} <= names
        assert names == set(base.tensors)
        assert {"text_encoder.final_layer_norm.bias", "text_encoder_2.final_layer_norm.bias"} <= names
        assert base_view(Manifest.decode(base.manifest.encode())).root == base.view.root


def test_smoke_passes_and_runs_only_what_is_touched(pipeline, both, cache_dir):
    bench = Bench(both[1], pipeline, cache_dir)

    found = {r.name: (r.verdict, r.detail) for r in examine(bench.case())}

    assert {n: r for n, r in found.items() if r[0] not in {"pass", "n/a"}} == {}
    tops = {name.partition(".")[0] for name in bench.engine().outputs("base")}
    assert tops == {"unet", "text_encoder_2"}


def test_it_gives_what_the_library_gives(pipeline, both, cache_dir):
    parts, delta = both
    engine = Bench(delta, pipeline, cache_dir).engine()

    touched = {name: parts[name] for name in ("text_encoder_2", "unet")}
    wanted = answers(touched, engine._probe)

    assert largest(engine.outputs("attached"), wanted) < EXACT
    assert largest(engine.outputs("folded"), wanted) < EXACT
    assert largest(engine.outputs("base"), wanted) > 100 * EXACT


def test_a_folded_pipeline_is_read_by_the_libraries(pipeline, both, tmp_path, cache_dir):
    bench = Bench(both[1], pipeline, cache_dir)
    engine = bench.engine()

    root = fold_folder(bench.base, bench.folder, tmp_path / "out")

    read = {
        "unet": tiny_diffusers.read("UNet2DConditionModel", tmp_path / "out" / "unet"),
        "text_encoder_2": CLIPTextModel.from_pretrained(tmp_path / "out" / "text_encoder_2").eval(),
    }
    assert largest(engine.outputs("folded"), answers(read, engine._probe)) < EXACT
    for name in ("vae", "text_encoder"):
        files = [next((f / name).glob("*.safetensors")) for f in (pipeline, tmp_path / "out")]
        before, after = (load_file(file) for file in files)
        assert before.keys() == after.keys()
        assert all(torch.equal(before[n], after[n]) for n in before)
    with open_base(tmp_path / "out", Cache(tmp_path / "cache")) as base:
        assert base.identity.root == root


def test_weights_that_come_and_go_give_the_same_bits(pipeline, both, cache_dir):
    bench = Bench(both[1], pipeline, cache_dir)
    room = MemoryRoom(prepare_device("cpu", threads=1), is_streaming=True)

    for state in ("base", "attached", "folded"):
        found = bench.engine(room=room).outputs(state)
        wanted = bench.engine().outputs(state)
        assert all(np.array_equal(found[name], wanted[name]) for name in wanted)


@pytest.mark.parametrize("layout", ["kohya", "old"])
def test_older_layouts_find_their_component(layout, pipeline, tmp_path, cache_dir):
    parts, tensors = trained(unet=UNET, text_encoder=TEXT)
    starts = {"unet": "lora_unet", "text_encoder": "lora_te1"}
    alphas = {"unet": 1.0, "text_encoder": 6.0}
    found = {}
    for name, value in tensors.items():
        part, _, rest = name.partition(".")
        module, _, end = rest.rpartition(".lora_")
        side = {"A.weight": "down", "B.weight": "up"}[end]
        if layout == "kohya":
            spelled = f"{starts[part]}_{module.replace('.', '_')}"
            found[f"{spelled}.lora_{side}.weight"] = value
        else:
            spelled = f"{part}.{module}"
            found[f"{spelled}.lora_linear_layer.{side}.weight"] = value
        found[f"{spelled}.alpha"] = torch.tensor(alphas[part])
    (tmp_path / "delta").mkdir()
    save_file({n: v.contiguous() for n, v in found.items()}, tmp_path / "delta" / "l.safetensors")

    engine = Bench(tmp_path / "delta", pipeline, cache_dir).engine()

    wanted = answers({n: parts[n] for n in ("text_encoder", "unet")}, engine._probe)
    assert largest(engine.outputs("attached"), wanted) < EXACT


def test_a_file_of_kohya_for_sdxl_gives_what_the_pipeline_of_diffusers_gives(pipeline, tmp_path, cache_dir):
    parts = components()
    factors = original_files.on_modules(
        original_files.view_of(parts["unet"]), rank=2, alpha=lambda _: 1.0, ends=("to_q", "to_v")
    )
    found = {n: torch.tensor(v) for n, v in original_files.as_kohya(factors).items()}
    for number in (1, 2):
        for at, module in enumerate(("self_attn_q_proj", "self_attn_out_proj", "mlp_fc1")):
            key = f"lora_te{number}_text_model_encoder_layers_{at % 2}_{module}"
            rows, inner = (24, 16) if module == "mlp_fc1" else (16, 16)
            torch.manual_seed(10 * number + at)
            found[f"{key}.lora_down.weight"] = torch.randn(2, inner) / 4
            found[f"{key}.lora_up.weight"] = torch.randn(rows, 2) * 0.3
            found[f"{key}.alpha"] = torch.tensor(1.0)
    (tmp_path / "people").mkdir()
    save_file(found, tmp_path / "people" / "style.safetensors")

    with client_of(tmp_path) as client:
        client.folders.convert(tmp_path / "people", tmp_path / "delta", base=pipeline)

    bench = Bench(tmp_path / "delta", pipeline, cache_dir)
    engine, listed = bench.engine(), ("text_encoder", "text_encoder_2", "unet")
    library_pipeline(**{name: parts[name] for name in listed}).load_lora_weights(dict(found))
    wanted = answers({name: parts[name].eval() for name in listed}, engine._probe)
    assert largest(engine.outputs("attached"), wanted) < EXACT
    assert largest(engine.outputs("folded"), wanted) < EXACT
    assert largest(engine.outputs("base"), wanted) > 100 * EXACT
    told = {r.name: (r.verdict, r.detail) for r in examine(bench.case())}
    assert {n: r for n, r in told.items() if r[0] not in {"pass", "n/a"}} == {}


def library_pipeline(**parts):
    """Put components into a pipeline of SDXL that has nothing else."""
    import diffusers

    kind = diffusers.StableDiffusionXLPipeline
    given = dict.fromkeys(kind._get_signature_keys(kind)[0]) | parts
    return kind(**given | {"scheduler": diffusers.DDIMScheduler(**diffusion_loras.SCHEDULE)})


def test_a_name_of_another_component_is_refused(pipeline, tmp_path, cache_dir):
    _, tensors = trained(unet=UNET)
    moved = {n.replace("unet.", "text_encoder.", 1): v for n, v in tensors.items()}
    delta = write(tmp_path / "delta", moved, text_encoder=UNET)

    with open_base(pipeline, Cache(cache_dir)) as base, open_folder(delta) as folder:
        assert assess(folder.files, folder.tensors, base.view).errors


def test_a_version_that_touches_more_has_its_own_network(pipeline, both, cache_dir, tmp_path):
    _, tensors = trained(unet=UNET)
    less = Bench(write(tmp_path / "less", tensors, unet=UNET), pipeline, cache_dir)
    more = Bench(both[1], pipeline, cache_dir)

    beside = less.engine().beside(more.assessment.account.effects)
    within = more.engine().beside(less.assessment.account.effects)

    assert {n.partition(".")[0] for n in beside.outputs("attached")} == {"unet", "text_encoder_2"}
    assert {n.partition(".")[0] for n in within.outputs("attached")} == {"unet", "text_encoder_2"}
    wanted = less.engine().outputs("attached")["unet.sample"]
    assert np.array_equal(within.outputs("attached")["unet.sample"], wanted)


def test_inputs_of_ones_own_may_be_of_one_component(pipeline, both, cache_dir):
    engine = Bench(both[1], pipeline, cache_dir).engine()
    given = {n: v.numpy() for n, v in engine._probe.items() if n.startswith("unet.")}

    found = engine.outputs_for("attached", given)

    assert found.keys() == {"unet.sample"}
    assert np.array_equal(found["unet.sample"], engine.outputs("attached")["unet.sample"])
