"""GGUF: what is written for llama.cpp is what its own reader sees, and it comes back unchanged."""

import json
import os
import shutil
import struct
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.numpy import save_file

from deltareg.errors import DiskFull, InvalidInput, Misconfigured, Refused
from tests import tiny
from tests.client.convert import moe
from tests.client.convert.converting import assert_same_factors, assert_same_fold, client_of, config, folded, tensors

gguf = pytest.importorskip("gguf", reason="needs gguf: pip install 'deltareg[gguf]'")

FILE = "adapter.gguf"
QUERY = "model.layers.0.self_attn.q_proj"
NAMES = {
    "q_proj": "blk.0.attn_q",
    "k_proj": "blk.0.attn_k",
    "v_proj": "blk.0.attn_v",
    "o_proj": "blk.0.attn_output",
    "gate_proj": "blk.0.ffn_gate",
    "up_proj": "blk.0.ffn_up",
    "down_proj": "blk.0.ffn_down",
}


@pytest.fixture
def client(tmp_path):
    with client_of(tmp_path) as client:
        yield client


@pytest.fixture
def base(tmp_path):
    return tiny.base(tmp_path / "base")


def written(client, tmp_path, base, **options):
    tiny.lora(tmp_path / "in", base, **options)
    client.folders.convert(tmp_path / "in", tmp_path / "gguf", base=base.path, layout="gguf")
    return gguf.GGUFReader(tmp_path / "gguf" / FILE)


def read(reader):
    return {tensor.name: np.array(tensor.data) for tensor in reader.tensors}


def permuted(rows, heads):
    """Put the rows as llama.cpp keeps them: a head's two halves, row by row in turn."""
    turned = np.empty_like(rows)
    size = len(rows) // heads
    for head in range(heads):
        for place in range(size // 2):
            turned[head * size + 2 * place] = rows[head * size + place]
            turned[head * size + 2 * place + 1] = rows[head * size + size // 2 + place]
    return turned


def test_its_own_reader_finds_names_factors_and_alpha(client, tmp_path, base):
    reader = written(client, tmp_path, base, targets=tuple(NAMES), lora_alpha=3)

    fields = {name: field.contents() for name, field in reader.fields.items()}
    found, delta = read(reader), tensors(tmp_path / "in")
    assert fields["general.type"] == "adapter"
    assert fields["adapter.type"] == "lora"
    assert fields["general.architecture"] == "llama"
    assert fields["adapter.lora.alpha"] == 3.0
    assert len(found) == len(delta) == 28
    for module, name in NAMES.items():
        end = next(
            key
            for key in delta
            if f"0.{'mlp' if 'ffn' in name else 'self_attn'}" in key and key.endswith(f"{module}.lora_A.weight")
        )
        a, b = delta[end], delta[end.replace("lora_A", "lora_B")]
        wanted = permuted(b, 2) if module in {"q_proj", "k_proj"} else b
        assert np.array_equal(found[f"{name}.weight.lora_a"], a)
        assert np.array_equal(found[f"{name}.weight.lora_b"], wanted)


def instructions(modelfile):
    """Read a Modelfile by its documented grammar: a comment, or an instruction and its arguments to the line's end."""
    found = []
    for line in modelfile.read_text().splitlines():
        if line.strip() and not line.lstrip().startswith("#"):
            instruction, _, arguments = line.strip().partition(" ")
            assert instruction.lower() in {"from", "parameter", "template", "system", "adapter", "license", "message"}
            assert not arguments.startswith('"')  # which would have to be closed
            found.append((instruction.lower(), arguments.strip()))
    return dict(found)


@pytest.mark.parametrize("name", ["base", "a base's folder, v2 #1"])
def test_ollama_finds_base_and_adapter_by_the_modelfile_beside_it(client, tmp_path, name):
    base = tiny.base(tmp_path / name)
    written(client, tmp_path, base)

    found = instructions(tmp_path / "gguf" / "Modelfile")

    assert found.keys() == {"from", "adapter"}
    assert Path(found["from"]).is_absolute()
    assert list(Path(found["from"]).glob("model*.safetensors"))  # what Ollama looks for in a folder
    assert (tmp_path / "gguf" / found["adapter"]).read_bytes()[:4] == b"GGUF"


def test_a_base_whose_path_no_modelfile_can_say_goes_without_one(client, tmp_path):
    base = tiny.base(tmp_path / "two\nlines")

    written(client, tmp_path, base)

    assert [path.name for path in (tmp_path / "gguf").iterdir()] == [FILE]


def test_networks_whose_rows_stay_keep_them(client, tmp_path, base):
    told = {**base.config, "architectures": ["Qwen2ForCausalLM"], "model_type": "qwen2"}
    (base.path / "config.json").write_text(json.dumps(told))

    found = read(written(client, tmp_path, base, targets=("q_proj",)))

    b = tensors(tmp_path / "in")[f"{tiny.PREFIX}{QUERY}.lora_B.weight"]
    assert np.array_equal(found["blk.0.attn_q.weight.lora_b"], b)


def test_an_embedding_lies_as_llama_cpp_looks_it_up(client, tmp_path, base):
    rng = np.random.default_rng(0)
    key = f"{tiny.PREFIX}model.embed_tokens.lora_embedding_"
    found = {f"{key}A": tiny.normal(rng, 2, tiny.VOCABULARY), f"{key}B": tiny.normal(rng, 8, 2)}
    told = {**tiny.LORA_CONFIG, "target_modules": ["embed_tokens"]}
    tiny.write(tmp_path / "in", found, adapter_config=told)

    client.folders.convert(tmp_path / "in", tmp_path / "gguf", base=base.path, layout="gguf")
    client.folders.convert(tmp_path / "gguf" / FILE, tmp_path / "out", base=base.path)

    stored = read(gguf.GGUFReader(tmp_path / "gguf" / FILE))
    assert stored["token_embd.weight.lora_a"].shape == (tiny.VOCABULARY, 2)
    assert stored["token_embd.weight.lora_b"].shape == (tiny.WIDTH, 2)
    assert_same_factors(tmp_path / "in", tmp_path / "out")
    assert_same_fold(tmp_path / "in", tmp_path / "out", base.path)


@settings(max_examples=25, deadline=None)
@given(
    r=st.integers(1, 5),
    lora_alpha=st.sampled_from([1, 2, 8, 0.1, 0.7, 16.5, 1e-3]),
    use_rslora=st.booleans(),
    heads=st.sampled_from([1, 2, 4]),
    targets=st.lists(
        st.sampled_from(["q_proj", "k_proj", "o_proj", "up_proj", "down_proj", "lm_head"]), min_size=1, unique=True
    ),
)
def test_there_and_back_again_is_the_same(tmp_path_factory, targets, heads, **options):
    tmp_path = tmp_path_factory.mktemp("gguf")
    base = tiny.base(tmp_path / "base")
    told = {**base.config, "num_attention_heads": heads, "num_key_value_heads": min(heads, 2)}
    (base.path / "config.json").write_text(json.dumps(told))
    tiny.lora(tmp_path / "in", base, targets=tuple(targets), **options)

    with client_of(tmp_path) as client:
        client.folders.convert(tmp_path / "in", tmp_path / "gguf", base=base.path, layout="gguf")
        client.folders.convert(tmp_path / "gguf", tmp_path / "out", base=base.path)

    assert_same_factors(tmp_path / "in", tmp_path / "out")
    before, after = (folded(tmp_path / name, base.path) for name in ("in", "out"))
    assert before.keys() == after.keys()
    assert all(np.allclose(before[name], after[name], rtol=0, atol=1e-6) for name in before)


def test_experts_lie_in_stacks_and_come_apart_again(client, tmp_path):
    base = moe.base(tmp_path / "base")
    tiny.lora(tmp_path / "in", base, targets=("gate_proj", "down_proj", "q_proj"))

    client.folders.convert(tmp_path / "in", tmp_path / "gguf", base=base.path, layout="gguf")
    client.folders.convert(tmp_path / "gguf", tmp_path / "out", base=base.path)

    found, delta = read(gguf.GGUFReader(tmp_path / "gguf" / FILE)), tensors(tmp_path / "in")
    assert found["blk.1.ffn_gate_exps.weight.lora_a"].shape == (moe.EXPERTS, 2, moe.WIDTH)
    for expert, b in enumerate(found["blk.1.ffn_down_exps.weight.lora_b"]):
        name = f"{tiny.PREFIX}{moe.MLP.format(1)}.{expert}.down_proj.lora_B.weight"
        assert np.array_equal(b, delta[name])
    assert_same_factors(tmp_path / "in", tmp_path / "out")


def test_experts_of_several_ranks_are_filled_up(client, tmp_path):
    base = moe.base(tmp_path / "base")
    tiny.lora(tmp_path / "in", base, r=4, lora_alpha=4, targets=("up_proj",))
    delta, first = tensors(tmp_path / "in"), f"{moe.MLP.format(0)}.0.up_proj"
    for name in [name for name in delta if first in name]:
        delta[name] = delta[name][:2] if "lora_A" in name else delta[name][:, :2]
    told = {"rank_pattern": {first: 2}, "alpha_pattern": {first: 4}}
    tiny.write(tmp_path / "in", delta, adapter_config={**config(tmp_path / "in"), **told})

    client.folders.convert(tmp_path / "in", tmp_path / "gguf", base=base.path, layout="gguf")
    client.folders.convert(tmp_path / "gguf", tmp_path / "out", base=base.path)

    before, after = (folded(tmp_path / name, base.path) for name in ("in", "out"))
    assert before.keys() == after.keys()
    assert all(np.allclose(before[name], after[name], rtol=0, atol=1e-6) for name in before)


def test_a_stack_of_too_few_experts_is_refused(client, tmp_path):
    base = moe.base(tmp_path / "base")
    shapes = {"a": (2, 2, moe.WIDTH), "b": (2, moe.HIDDEN, 2)}
    stored = {f"blk.0.ffn_up_exps.weight.lora_{end}": (np.ones(shape, "f4"), None) for end, shape in shapes.items()}
    adapter(tmp_path / "x.gguf", stored, arch="olmoe")

    with pytest.raises(Refused, match="are not of 3 experts") as caught:
        client.folders.convert(tmp_path / "x.gguf", tmp_path / "out", base=base.path)

    assert caught.value.problem_code == "shape"


@pytest.mark.parametrize("dtype", ["F16", "Q8_0"])
def test_smaller_types_are_read_as_the_numbers_that_they_stand_for(client, tmp_path, dtype):
    base = tiny.base(tmp_path / "base")
    kind = gguf.GGMLQuantizationType[dtype]
    a = np.random.default_rng(0).standard_normal((32, tiny.WIDTH)).astype(np.float32)
    b = np.random.default_rng(1).standard_normal((tiny.WIDTH, 32)).astype(np.float32)
    stored = {"a": (a.astype(np.float16), None), "b": (b.astype(np.float16), None)}
    if dtype == "Q8_0":
        stored["b"] = (gguf.quants.quantize(b, kind), kind)
    adapter(tmp_path / "x.gguf", {f"blk.0.attn_v.weight.lora_{end}": t for end, t in stored.items()})

    client.folders.convert(tmp_path / "x.gguf", tmp_path / "out", base=base.path)

    found = tensors(tmp_path / "out")
    want = b.astype(np.float16) if dtype == "F16" else gguf.quants.dequantize(stored["b"][0], kind)
    name = f"{tiny.PREFIX}model.layers.0.self_attn.v_proj.lora_"
    assert np.array_equal(found[f"{name}A.weight"], a.astype(np.float16).astype(np.float32))
    assert np.array_equal(found[f"{name}B.weight"], want.astype(np.float32))


def adapter(path, stored, *, arch="llama", sort="adapter", kind="lora", alpha=2.0, tokens=()):
    """Write a file as llama.cpp's own converter does."""
    writer = gguf.GGUFWriter(path, arch)
    writer.add_type(sort)
    writer.add_string("adapter.type", kind)
    if isinstance(alpha, str):
        writer.add_string("adapter.lora.alpha", alpha)
    elif alpha is not None:
        writer.add_float32("adapter.lora.alpha", alpha)
    if tokens:
        writer.add_array("adapter.alora.invocation_tokens", list(tokens))
    for name, (values, raw) in stored.items():
        writer.add_tensor(name, values, raw_dtype=raw)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def pair(name="blk.0.attn_v.weight", rank=2):
    rng = np.random.default_rng(0)
    return {
        f"{name}.lora_a": (tiny.normal(rng, rank, tiny.WIDTH), None),
        f"{name}.lora_b": (tiny.normal(rng, tiny.WIDTH, rank), None),
    }


@pytest.mark.parametrize("alpha", [None, 0.0])
def test_no_alpha_is_a_scale_of_one_as_llama_cpp_has_it(client, tmp_path, base, alpha):
    adapter(tmp_path / "x.gguf", pair(), alpha=alpha)

    client.folders.convert(tmp_path / "x.gguf", tmp_path / "out", base=base.path)

    assert (config(tmp_path / "out")["r"], config(tmp_path / "out")["lora_alpha"]) == (2, 2)


@pytest.mark.parametrize(
    ("changes", "stored", "code"),
    [
        ({"sort": "model"}, pair(), "unknown_kind"),
        ({"kind": "control"}, pair(), "unknown_kind"),
        ({"arch": "qwen2"}, pair(), "base_mismatch"),
        ({"tokens": (1, 2)}, pair(), "unknown_kind"),
        ({}, pair("blk.7.attn_v.weight"), "no_tensor_applied"),
        ({}, pair("blk.0.ffn_up.weight"), "shape"),
        ({}, dict(list(pair().items())[:1]), "missing_tensors"),
        ({}, {"blk.0.attn_norm.weight": (np.ones(8, "f4"), None)}, "unexpected_tensors"),
        ({}, {}, "empty"),
        ({}, {n: (np.zeros_like(v, "i4"), None) for n, (v, _) in pair().items()}, "header"),
        ({}, {n: (v * np.float32("nan"), None) for n, (v, _) in pair().items()}, "non_finite"),
        ({"alpha": "2"}, pair(), "bad_config"),
        ({"alpha": float("nan")}, pair(), "bad_config"),
        ({"alpha": float("inf")}, pair(), "bad_config"),
    ],
)
def test_what_is_no_lora_of_this_base_is_refused(client, tmp_path, base, changes, stored, code):
    adapter(tmp_path / "x.gguf", stored, **changes)

    with pytest.raises(Refused) as caught:
        client.folders.convert(tmp_path / "x.gguf", tmp_path / "out", base=base.path)

    assert caught.value.problem_code == code
    assert not (tmp_path / "out").exists()


def test_a_type_that_stands_for_no_factor_is_told_of_by_name(client, tmp_path, base):
    whole = {n: (np.zeros_like(v, "i4"), None) for n, (v, _) in pair().items()}
    adapter(tmp_path / "x.gguf", whole)

    with pytest.raises(Refused, match="stored as I32") as caught:
        client.folders.convert(tmp_path / "x.gguf", tmp_path / "out", base=base.path)

    assert caught.value.problems[0].tensor == "blk.0.attn_v.weight.lora_a"


def endless_list():
    """Make a file of a hundred bytes whose one value is a list of 2⁶⁰ numbers."""
    key = b"a.b"
    value = struct.pack("<Q", len(key)) + key + struct.pack("<IIQ", 9, 4, 1 << 60)
    return b"GGUF" + struct.pack("<IQQ", 3, 0, 1) + value + b"\0" * 64


@pytest.mark.parametrize(
    "damaged",
    [
        b"",
        b"GGUF",
        b"PK\x03\x04" + b"\0" * 64,
        b"GGUF" + struct.pack("<IQQ", 9, 0, 0),
        b"GGUF" + struct.pack("<IQQ", 3, 1 << 62, 0),
        b"GGUF" + struct.pack("<IQQ", 3, 0, 1 << 62),
        b"GGUF" + struct.pack("<IQQQ", 3, 0, 1, 1 << 62),
        endless_list(),
    ],
)
def test_a_damaged_head_is_refused_at_once(client, tmp_path, base, damaged):
    (tmp_path / "x.gguf").write_bytes(damaged)

    with pytest.raises(Refused) as caught:
        client.folders.convert(tmp_path / "x.gguf", tmp_path / "out", base=base.path)

    assert caught.value.problem_code == "header"


@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_a_file_with_bytes_changed_is_read_or_refused_and_nothing_else(tmp_path_factory, data):
    tmp_path = tmp_path_factory.mktemp("damaged")
    base = tiny.base(tmp_path / "base")
    adapter(tmp_path / "x.gguf", pair())
    raw = bytearray((tmp_path / "x.gguf").read_bytes())
    for _ in range(data.draw(st.integers(1, 3))):
        raw[data.draw(st.integers(0, len(raw) - 1))] = data.draw(st.integers(0, 255))
    cut = data.draw(st.integers(0, 3)) == 0
    (tmp_path / "x.gguf").write_bytes(raw[: data.draw(st.integers(0, len(raw)))] if cut else raw)

    with client_of(tmp_path) as client:
        try:
            client.folders.convert(tmp_path / "x.gguf", tmp_path / "out", base=base.path)
        except InvalidInput:
            assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"use_dora": True}, "it is DoRA"),
        ({"lora_alpha": 0}, "alpha is zero"),
        ({"alpha_pattern": {"v_proj": 5}}, "one scale for all modules"),
    ],
)
def test_what_has_no_exact_form_there_is_refused(client, tmp_path, base, options, told):
    tiny.lora(tmp_path / "in", base, **options)

    with pytest.raises(InvalidInput, match=told):
        client.folders.convert(tmp_path / "in", tmp_path / "out", base=base.path, layout="gguf")


def test_a_network_whose_storage_is_not_known_is_refused(client, tmp_path):
    base = tiny.base(tmp_path / "base", kind="gpt2")
    tiny.lora(tmp_path / "in", base, targets=("c_attn",), fan_in_fan_out=True)

    with pytest.raises(InvalidInput, match=r"how llama.cpp stores the weights of GPT2LMHeadModel"):
        client.folders.convert(tmp_path / "in", tmp_path / "out", base=base.path, layout="gguf")


def test_a_tied_head_is_refused(client, tmp_path, base):
    weights = {k: v for k, v in base.weights.items() if k != "lm_head.weight"}
    save_file(weights, base.path / "model.safetensors")
    (base.path / "config.json").write_text(json.dumps({**base.config, "tie_word_embeddings": True}))
    rng = np.random.default_rng(0)
    stored = {
        "token_embd.weight.lora_a": (tiny.normal(rng, tiny.VOCABULARY, 2), None),
        "token_embd.weight.lora_b": (tiny.normal(rng, tiny.WIDTH, 2), None),
    }
    adapter(tmp_path / "x.gguf", stored)

    with pytest.raises(Refused, match=r"shares its weight with another module: llama.cpp"):
        client.folders.convert(tmp_path / "x.gguf", tmp_path / "out", base=base.path)


def test_two_files_in_a_folder_are_named(client, tmp_path, base):
    for name in ("a.gguf", "b.gguf"):
        (tmp_path / "in").mkdir(exist_ok=True)
        adapter(tmp_path / "in" / name, pair())

    with pytest.raises(Refused, match=r"holds 2 GGUF files: a.gguf, b.gguf"):
        client.folders.convert(tmp_path / "in", tmp_path / "out", base=base.path)


def test_a_name_of_a_file_is_no_folder(client, tmp_path, base):
    tiny.lora(tmp_path / "in", base)

    with pytest.raises(InvalidInput, match="the name of a file"):
        client.folders.convert(tmp_path / "in", tmp_path / "x.gguf", base=base.path, layout="gguf")


def test_the_same_lora_always_makes_the_same_bytes(client, tmp_path, base):
    tiny.lora(tmp_path / "in", base)

    for name in ("a", "b"):
        client.folders.convert(tmp_path / "in", tmp_path / name, base=base.path, layout="gguf")

    one, other = ((tmp_path / name / FILE).read_bytes() for name in ("a", "b"))
    assert one == other


def test_without_the_package_it_is_said_how_to_get_it(client, tmp_path, base, monkeypatch):
    tiny.lora(tmp_path / "in", base)
    monkeypatch.setitem(__import__("sys").modules, "gguf", None)

    with pytest.raises(Misconfigured, match="not installed") as caught:
        client.folders.convert(tmp_path / "in", tmp_path / "out", base=base.path, layout="gguf")

    assert "pip install 'deltareg[gguf]'" in caught.value.fix


@pytest.mark.parametrize("make", [os.mkfifo, Path.mkdir])
def test_what_is_no_file_is_not_waited_for(client, tmp_path, base, make):
    (tmp_path / "in").mkdir()
    make(tmp_path / "in" / FILE)

    with pytest.raises(Refused, match=r"is not a regular file") as caught:
        client.folders.convert(tmp_path / "in", tmp_path / "out", base=base.path)

    assert caught.value.problem_code == "link"


def test_a_full_disk_is_told_as_one(client, tmp_path, base, monkeypatch):
    tiny.lora(tmp_path / "in", base)
    nearly_full = shutil.disk_usage(tmp_path)._replace(free=100)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: nearly_full)

    with pytest.raises(DiskFull):
        client.folders.convert(tmp_path / "in", tmp_path / "out", base=base.path, layout="gguf")

    assert sorted(place.name for place in tmp_path.iterdir()) == ["base", "cache", "in"]
