"""Convert: pickles, image trainers' LoRA, fine-tunes as differences; proved, or nothing written."""

import json
import os
import subprocess
import sys

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from deltareg import Client
from deltareg.client.config import ClientConfig
from deltareg.errors import Conflict, DeltaregError, InvalidInput, Refused
from tests import corpus, tiny
from tests.client.torch_archive import pickles
from tests.delta.kinds.assessing import assessed

QUERY = "model.layers.0.self_attn.q_proj"
TINY_BIN = pickles.state(pickles.tensor(), name=f"{tiny.PREFIX}x.lora_A.weight")


@pytest.fixture
def client(tmp_path):
    with Client(ClientConfig(cache_dir=tmp_path / "cache")) as client:
        yield client


@pytest.fixture
def base(tmp_path):
    return tiny.base(tmp_path / "base")


def files(path):
    return sorted(file.relative_to(path).as_posix() for file in path.rglob("*") if file.is_file())


def save_bin(path, tensors):
    torch = pytest.importorskip("torch", reason="needs torch")
    path.parent.mkdir(parents=True, exist_ok=True)
    torch.save({name: torch.tensor(value) for name, value in tensors.items()}, path)


# Pickles


def test_a_pickle_of_peft_becomes_what_peft_would_have_saved(client, tmp_path, base):
    delta = tiny.lora(tmp_path / "safe", base)
    save_bin(tmp_path / "bin" / "adapter_model.bin", delta.tensors)
    (tmp_path / "bin" / "adapter_config.json").write_text(json.dumps(delta.config))
    (tmp_path / "bin" / "README.md").write_text("# mine\n")

    report = client.folders.convert(tmp_path / "bin", tmp_path / "out")

    written = load_file(tmp_path / "out" / "adapter_model.safetensors")
    assert (report.source, report.result, report.tensors) == ("pickle", "safetensors", len(written))
    assert files(tmp_path / "out") == ["README.md", "adapter_config.json", "adapter_model.safetensors"]
    assert all(np.array_equal(written[name], value) for name, value in delta.tensors.items())
    assert client.lint(tmp_path / "out", base=str(base.path)).is_accepted


def test_the_adapters_librarys_files_get_the_names_that_it_gives_them(client, tmp_path):
    for name in ("pytorch_adapter.bin", "pytorch_model_head.bin"):
        (tmp_path / "in").mkdir(exist_ok=True)
        pickles.in_zip(tmp_path / "in" / name, pickles.state(pickles.tensor(), name=name[:12]))

    client.folders.convert(tmp_path / "in", tmp_path / "out")

    assert files(tmp_path / "out") == ["adapter.safetensors", "model_head.safetensors"]


def test_shards_keep_their_list(client, tmp_path, base):
    delta = tiny.full(tmp_path / "safe", base, shards=2)
    old = json.loads((delta.path / "model.safetensors.index.json").read_text())
    table = {
        tensor: file.replace("model-", "pytorch_model-").replace(".safetensors", ".bin")
        for tensor, file in old["weight_map"].items()
    }
    for file in set(table.values()):
        part = {name: delta.tensors[name] for name, held in table.items() if held == file}
        save_bin(tmp_path / "bin" / file, part)
    (tmp_path / "bin" / "config.json").write_text(json.dumps(base.config))
    index = {**old, "weight_map": table}
    (tmp_path / "bin" / "pytorch_model.bin.index.json").write_text(json.dumps(index))

    client.folders.convert(tmp_path / "bin", tmp_path / "out")

    found = client.lint(tmp_path / "out", base=str(base.path))
    assert (found.kind, list(found.problems)) == ("full", [])
    new = json.loads((tmp_path / "out" / "model.safetensors.index.json").read_text())
    assert new["weight_map"] == old["weight_map"]


def test_the_same_pickle_always_makes_the_same_bytes(client, tmp_path):
    (tmp_path / "in").mkdir()
    pickles.in_zip(tmp_path / "in" / "x.bin", TINY_BIN)

    for name in ("a", "b"):
        client.folders.convert(tmp_path / "in", tmp_path / name)

    one, other = ((tmp_path / name / "x.safetensors").read_bytes() for name in ("a", "b"))
    assert one == other


def test_names_lose_the_wrappers_of_a_training_process(client, tmp_path, base):
    plain = tiny.lora(tmp_path / "plain", base)
    wrapped = {f"module.{n.replace('.0.', '.0._fsdp_wrapped_module.')}": t for n, t in plain.tensors.items()}
    tiny.write(tmp_path / "wrapped", wrapped, adapter_config=plain.config)

    report = client.folders.convert(tmp_path / "wrapped", tmp_path / "plain-again")

    assert (report.source, report.result) == ("names with wrappers", "names without")
    made = load_file(tmp_path / "plain-again" / "adapter_model.safetensors")
    assert made.keys() == plain.tensors.keys()
    assert all(np.array_equal(made[name], plain.tensors[name]) for name in made)
    assert client.folders.lint(tmp_path / "plain-again", base=base.path).is_accepted


def test_two_names_that_become_one_are_refused(client, tmp_path, base):
    plain = tiny.lora(tmp_path / "plain", base)
    both = plain.tensors | {f"module.{name}": t for name, t in plain.tensors.items()}
    tiny.write(tmp_path / "both", both, adapter_config=plain.config)

    with pytest.raises(Refused, match="with a wrapper in its name and without"):
        client.folders.convert(tmp_path / "both", tmp_path / "out")

    assert not (tmp_path / "out").exists()


def test_one_file_alone_may_be_named(client, tmp_path):
    file = pickles.in_zip(tmp_path / "x.bin", TINY_BIN)

    client.folders.convert(file, tmp_path / "out")

    assert files(tmp_path / "out") == ["x.safetensors"]


@pytest.mark.parametrize(
    ("pickle", "code"),
    [
        (pickles.state(pickles.called("os", "system", pickles.text("touch canary"))), "pickle"),
        (pickles.state(pickles.tensor(), name="a/b"), "header"),
        (pickles.state(pickles.tensor(), name="x" * 300), "header"),
        (pickles.state(pickles.tensor(shape=(1 << 20, 1 << 20), strides=(0, 0))), "limits"),
    ],
)
def test_what_is_refused_leaves_nothing_behind(client, tmp_path, pickle, code):
    (tmp_path / "in").mkdir()
    pickles.in_zip(tmp_path / "in" / "adapter_model.bin", pickle)

    with pytest.raises(Refused) as caught:
        client.folders.convert(tmp_path / "in", tmp_path / "out")

    assert caught.value.problem_code == code
    assert not (tmp_path / "out").exists()
    assert [path.name for path in tmp_path.iterdir()] == ["in"]


def test_many_copies_of_one_storage_are_no_network(client, tmp_path):
    (tmp_path / "in").mkdir()
    shared = b"q\x00"
    items = pickles.text("t0") + pickles.tensor(pickles.storage(4096)) + shared
    more = b"".join(pickles.text(f"t{n}") + b"h\x00" for n in range(1, 4000))
    pickle = pickles.HEAD + b"}(" + items + more + b"u."
    shape = pickles.number(4)
    pickle = pickle.replace(pickles.tuple_of(shape), pickles.tuple_of(pickles.number(4096)))
    pickles.in_zip(tmp_path / "in" / "x.bin", pickle, b"\0" * 16384)

    with pytest.raises(Refused) as caught:
        client.folders.convert(tmp_path / "in", tmp_path / "out")

    assert caught.value.problem_code == "limits"


def test_a_pickle_beside_its_safetensors_is_ambiguous(client, tmp_path, base):
    tiny.lora(tmp_path / "in", base)
    pickles.in_zip(tmp_path / "in" / "adapter_model.bin", TINY_BIN)

    with pytest.raises(Refused) as caught:
        client.folders.convert(tmp_path / "in", tmp_path / "out")

    assert caught.value.problem_code == "ambiguous"


def test_a_pickle_under_another_name_is_refused(client, tmp_path):
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "adapter_model.safetensors").write_bytes(TINY_BIN)

    with pytest.raises(Refused) as caught:
        client.folders.convert(tmp_path / "in", tmp_path / "out")

    assert caught.value.problem_code == "pickle"


def test_a_full_target_is_left_alone(client, tmp_path):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "mine").write_text("mine")

    with pytest.raises(Conflict):
        client.folders.convert(pickles.in_zip(tmp_path / "x.bin", TINY_BIN), tmp_path / "out")


def bins():
    entries = corpus.manifest()["deltas"]
    return [e for e in entries if any(n.endswith(".bin") for n in e.get("files", ()))]


@pytest.mark.parametrize("delta", bins(), ids=lambda delta: delta["id"])
def test_the_corpus_holds_the_tensors_that_torch_reads(client, tmp_path, delta):
    torch = pytest.importorskip("torch", reason="needs torch")
    source = corpus.CORPUS / delta["path"]

    client.folders.convert(source, tmp_path / "out")

    renamed = {"pytorch_adapter.bin": "adapter.safetensors", "pytorch_model_head.bin": "model_head.safetensors"}
    for old, new in renamed.items():
        want = torch.load(source / old, weights_only=True)
        got = load_file(tmp_path / "out" / new)
        assert got.keys() == want.keys()
        assert all(np.array_equal(got[name], want[name].numpy()) for name in want)
    kept = {path.name for path in source.iterdir()} - renamed.keys()
    assert set(files(tmp_path / "out")) == kept | set(renamed.values())


# LoRA of image trainers


def kohya(base, *, ranks=(2, 2), alphas=(3.0, 3.0), prefix="lora_te_"):
    tensors = {}
    modules = base.modules("q_proj", "v_proj")
    for number, module in enumerate(modules):
        rng = np.random.default_rng(number)
        key, rank = prefix + module.replace(".", "_"), ranks[number % len(ranks)]
        tensors[f"{key}.lora_down.weight"] = tiny.normal(rng, rank, tiny.WIDTH)
        tensors[f"{key}.lora_up.weight"] = tiny.normal(rng, tiny.WIDTH, rank)
        alpha = alphas[number % len(alphas)]
        if alpha is not None:
            tensors[f"{key}.alpha"] = np.array(alpha, np.float32)
    return tensors


@pytest.mark.parametrize(
    ("ranks", "alphas"), [((2,), (3.0,)), ((2, 3), (4.0, 1.5)), ((2, 3), (None,)), ((3,), (0.7, 2))]
)
def test_a_kohya_lora_becomes_one_of_peft_that_folds_the_same(client, tmp_path, base, ranks, alphas):
    tensors = kohya(base, ranks=ranks, alphas=alphas)
    tiny.write(tmp_path / "in", tensors, file="lora.safetensors", metadata={"ss_steps": "7"})

    report = client.folders.convert(tmp_path / "in", tmp_path / "out", base=str(base.path))

    before = assessed(tmp_path / "in", base.path).folded()
    after = assessed(tmp_path / "out", base.path)
    assert (report.source, report.result) == ("kohya", "lora")
    assert after.account.delta.source.library == "peft"
    assert before.keys() == after.folded().keys()
    assert all(np.array_equal(after.folded()[name], value) for name, value in before.items())


@pytest.mark.filterwarnings("ignore")
def test_what_was_converted_is_what_peft_merges(client, tmp_path):
    torch = pytest.importorskip("torch", reason="needs torch")
    peft = pytest.importorskip("peft", reason="needs peft")
    transformers = pytest.importorskip("transformers", reason="needs transformers")
    torch.manual_seed(0)
    config = transformers.LlamaConfig(
        hidden_size=tiny.WIDTH,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=12,
        vocab_size=32,
        tie_word_embeddings=False,
    )
    network = transformers.LlamaForCausalLM(config)
    network.save_pretrained(tmp_path / "base")
    weights = load_file(tmp_path / "base" / "model.safetensors")
    tensors = kohya(tiny.Base(tmp_path / "base", {}, weights), ranks=(2, 3), alphas=(4.0, 1.5))
    tiny.write(tmp_path / "in", tensors, file="lora.safetensors")

    client.folders.convert(tmp_path / "in", tmp_path / "out", base=str(tmp_path / "base"))

    folded = assessed(tmp_path / "in", tmp_path / "base").folded()
    merged = peft.PeftModel.from_pretrained(network, tmp_path / "out").merge_and_unload()
    for name, value in folded.items():
        assert np.allclose(merged.state_dict()[name].numpy(), value, atol=1e-6)


def test_old_diffusers_names_become_those_of_peft(client, tmp_path, base):
    tensors: dict[str, np.ndarray] = {}
    for module in base.modules("q_proj"):
        rng = np.random.default_rng(len(tensors))
        tensors[f"{module}.lora_linear_layer.down.weight"] = tiny.normal(rng, 2, tiny.WIDTH)
        tensors[f"{module}.lora_linear_layer.up.weight"] = tiny.normal(rng, tiny.WIDTH, 2)
    tiny.write(tmp_path / "in", tensors, file="pytorch_lora_weights.safetensors")

    report = client.folders.convert(tmp_path / "in", tmp_path / "out", base=str(base.path))

    config = json.loads((tmp_path / "out" / "adapter_config.json").read_text())
    assert report.source == "diffusers"
    assert (config["r"], config["lora_alpha"]) == (2, 2)
    assert config["target_modules"] == sorted(base.modules("q_proj"))


def test_a_core_has_no_place_in_peft(client, tmp_path):
    (tmp_path / "base").mkdir()
    (tmp_path / "base" / "config.json").write_text("{}")
    save_file({"conv.weight": np.ones((4, 3, 3, 3), "f4")}, tmp_path / "base" / "model.safetensors")
    tensors = {
        "lora_unet_conv.lora_up.weight": np.ones((4, 2, 1, 1), "f4"),
        "lora_unet_conv.lora_mid.weight": np.ones((2, 2, 3, 3), "f4"),
        "lora_unet_conv.lora_down.weight": np.ones((2, 3, 1, 1), "f4"),
    }
    tiny.write(tmp_path / "in", tensors, file="lora.safetensors")

    with pytest.raises(InvalidInput, match="between two factors"):
        client.folders.convert(tmp_path / "in", tmp_path / "out", base=str(tmp_path / "base"))


def test_an_alpha_that_can_be_read_in_two_ways_is_refused(client, tmp_path, base):
    tiny.write(tmp_path / "in", kohya(base, alphas=(0.0,)), file="lora.safetensors")

    with pytest.raises(Refused) as caught:
        client.folders.convert(tmp_path / "in", tmp_path / "out", base=str(base.path))

    assert caught.value.problem_code == "bad_config"


# Fine-tunes as differences


def tuned(base, *names, count=3, dtype=np.float32):
    """Change a few elements of some weights."""
    weights = {name: value.astype(dtype) for name, value in base.weights.items()}
    for name in names:
        flat = weights[name].reshape(-1)
        flat[:: max(1, flat.size // count)] += 0.5
    return weights


def written_full(path, base, weights):
    tiny.write(path, weights, file="model.safetensors")
    (path / "config.json").write_text(json.dumps(base.config))
    return path


@pytest.mark.parametrize("dtype", [np.float32, np.float16])
def test_few_changed_elements_become_a_sparse_delta(client, tmp_path, dtype):
    base = tiny.base(tmp_path / "base", dtype=dtype)
    weights = tuned(base, f"{QUERY}.weight", "lm_head.weight", dtype=dtype)
    weights["model.norm.weight"] = weights["model.norm.weight"] * 2
    source = written_full(tmp_path / "full", base, weights)

    report = client.folders.convert(source, tmp_path / "out", base=str(base.path))

    found = assessed(tmp_path / "out", base.path)
    assert (report.result, found.kind) == ("sparse", "sparse")
    assert report.size_bytes < report.source_bytes / 4
    assert set(found.folded()) == {f"{QUERY}.weight", "lm_head.weight", "model.norm.weight"}
    for name, value in found.folded().items():
        assert np.array_equal(value, weights[name].astype(np.float32))
    assert files(tmp_path / "out") == ["config.json", "sparse.safetensors"]


def test_changed_biases_become_a_bitfit_delta(client, tmp_path):
    base = tiny.base(tmp_path / "base", kind="gpt2")
    name = "transformer.h.0.ln_1.bias"
    source = written_full(tmp_path / "full", base, tuned(base, name))

    report = client.folders.convert(source, tmp_path / "out", base=str(base.path))

    found = assessed(tmp_path / "out", base.path)
    assert (report.result, found.kind) == ("bitfit", "bitfit")
    assert found.account.delta.config() == {"convention": "absolute"}
    assert list(found.folded()) == [name]


def test_a_tied_head_that_is_stored_again_stays_tied(client, tmp_path):
    base = tiny.base(tmp_path / "base", kind="gpt2")
    weights = tuned(base, "transformer.wte.weight")
    weights["lm_head.weight"] = weights["transformer.wte.weight"].copy()
    source = written_full(tmp_path / "full", base, weights)

    report = client.folders.convert(source, tmp_path / "out", base=str(base.path))

    assert list(assessed(tmp_path / "out", base.path).folded()) == ["transformer.wte.weight"]
    assert report.left_out == ["lm_head.weight (it shares transformer.wte.weight)"]


def test_a_fine_tune_comes_back_bit_for_bit_from_what_was_converted(registry_server, tmp_path, base):
    source = written_full(tmp_path / "full", base, tuned(base, f"{QUERY}.weight"))
    maker = registry_server.client()
    maker.bases.push(base.path, "tiny")
    maker.folders.convert(source, tmp_path / "delta", base="tiny")

    pushed = maker.push(tmp_path / "delta", "team/tuned", base="tiny")
    made = maker.materialize(pushed.version.ref, tmp_path / "made")

    assert pushed.version.kind == "sparse"
    assert made.root == str(maker.bases.fingerprint(source).root)


@pytest.mark.parametrize(
    ("change", "word"),
    [
        (lambda w: w, "equals the base"),
        (lambda w: {n: v + 1 for n, v in w.items()}, "nothing is gained"),
        (lambda w: w | {"lm_head.weight": w["lm_head.weight"].astype("f2")}, "another form"),
        (
            lambda w: w | {n: np.ones((22, 8), "f4") for n in ("lm_head.weight", "model.embed_tokens.weight")},
            "another form",
        ),
        (
            lambda w: {n: v for n, v in w.items() if n != "lm_head.weight"} | {"score.weight": np.ones((3, 8), "f4")},
            "not in the base",
        ),
    ],
)
def test_what_is_not_exact_or_not_smaller_is_refused(client, tmp_path, base, change, word):
    source = written_full(tmp_path / "full", base, change(dict(base.weights)))

    with pytest.raises(InvalidInput, match=word):
        client.folders.convert(source, tmp_path / "out", base=str(base.path))

    assert not (tmp_path / "out").exists()


def test_a_delta_that_push_takes_is_left_as_it_is(client, tmp_path, base):
    tiny.lora(tmp_path / "in", base)

    with pytest.raises(InvalidInput, match="of kind lora already"):
        client.folders.convert(tmp_path / "in", tmp_path / "out", base=str(base.path))


def test_without_a_pickle_the_base_is_needed(client, tmp_path, base):
    tiny.write(tmp_path / "in", kohya(base), file="lora.safetensors")

    with pytest.raises(InvalidInput) as caught:
        client.folders.convert(tmp_path / "in", tmp_path / "out")

    assert "--base" in caught.value.fix


# Nothing is carried out

WATCHED = """
import json, sys
from pathlib import Path
from deltareg import Client
from deltareg.client.config import ClientConfig
from deltareg.errors import Refused

events, watching = [], False
sys.addaudithook(lambda name, args: events.append(name) if watching else None)
with Client(ClientConfig(cache_dir=Path("cache"))) as client:
    client.folders.convert(Path("good"), Path("out"))
    watching = True
    try:
        client.folders.convert(Path("bad"), Path("other"))
    except Refused as error:
        refused = error.problem_code
    watching = False
print(json.dumps({"refused": refused, "events": sorted(set(events))}))
"""
HARMLESS = {
    "marshal.loads",
    "object.__getattr__",
    "open",
    "os.listdir",
    "os.mkdir",
    "os.rename",
    "os.rmdir",
    "os.scandir",
    "os.unlink",
    "mmap.__new__",
    "shutil.rmtree",
    "glob.glob",
    "pathlib.Path.glob",
    "pathlib.Path.rglob",
}


def test_a_hostile_folder_makes_the_interpreter_report_nothing(tmp_path):
    evil = pickles.called("os", "system", pickles.text("touch canary"))
    for name, value in (("good", pickles.tensor()), ("bad", evil)):
        (tmp_path / name).mkdir()
        pickles.in_zip(tmp_path / name / "adapter_model.bin", pickles.state(value))

    ended = subprocess.run(
        [sys.executable, "-c", WATCHED],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        capture_output=True,
        text=True,
        check=True,
    )

    told = json.loads(ended.stdout)
    assert told["refused"] == "pickle"
    assert set(told["events"]) <= HARMLESS
    assert not (tmp_path / "canary").exists()


@pytest.mark.parametrize("place", ["in/out", "in"])
def test_a_folder_within_what_is_converted_is_refused(client, tmp_path, base, place):
    tiny.lora(tmp_path / "in", base)
    before = files(tmp_path / "in")

    with pytest.raises(DeltaregError):
        client.folders.convert(tmp_path / "in", tmp_path / place, base=base.path, layout="mlx")

    assert files(tmp_path / "in") == before
    assert sorted(entry.name for entry in (tmp_path / "in").iterdir()) == before
