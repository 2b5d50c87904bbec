"""The whole of a base: what counts, what does not, and what two configs have to differ in."""

import json

import pytest

from deltareg.digest import Digest, sha256_of, tensor_digest
from deltareg.identity.config_form import INERT, config_changes, config_form, form_digest
from deltareg.identity.manifest import BASE_KIND, COMPONENTS, Manifest, ManifestFile, ManifestTensor, Piece
from deltareg.identity.whole_base import PARTS, inert_differences, part_differences, tell_differences, whole_base

LLAMA = {
    "architectures": ["LlamaForCausalLM"],
    "model_type": "llama",
    "rms_norm_eps": 1e-5,
    "rope_theta": 10000.0,
    "rope_scaling": None,
    "tie_word_embeddings": False,
    "eos_token_id": 2,
    "sliding_window": None,
    "num_attention_heads": 4,
    "hidden_act": "silu",
}
ONE = Digest("blake3", "1" * 64)


def manifest(config=LLAMA, files=(), components=None, digest=ONE):
    """Make the manifest of a base with one tensor, some config and some files by their content."""
    listed = [
        ManifestFile(path, len(data), sha256_of(data), piece(data), is_tensors=False)
        for path, data in dict(files).items()
    ]
    head = piece(b"{header}")
    listed.append(ManifestFile("m.safetensors", 12, sha256_of(b""), head, is_tensors=True))
    text = config if isinstance(config, str) else json.dumps(config)
    inner = {COMPONENTS: {n: json.dumps(c) for n, c in components.items()}} if components else {}
    return Manifest(
        kind=BASE_KIND,
        variant="",
        foldable=False,
        base=None,
        config={"config_json": text, "model_type": "llama", **inner},
        tensors=(ManifestTensor("m.safetensors", "w", "weight", "", "F32", (1,), digest),),
        files=tuple(sorted(listed, key=lambda file: file.path)),
    )


def piece(data):
    return Piece(tensor_digest("U8", (len(data),), [data]), "U8", (len(data),), len(data))


def identity(**wanted):
    return whole_base(manifest(**wanted)).identity


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("rms_norm_eps", 1e-6),
        ("rope_theta", 500000),
        ("rope_scaling", {"rope_type": "linear"}),
        ("hidden_act", "gelu"),
        ("tie_word_embeddings", True),
        ("eos_token_id", [2, 3]),
        ("num_attention_heads", 8),
        ("sliding_window", 4096),
        ("bos_token_id", 1),
        ("architectures", ["LlamaModel"]),
        ("anything_new", 0),
        ("tie_word_embeddings", 0),
        ("eos_token_id", "2"),
        ("quantization_config", {"dtype": "int8"}),
    ],
)
def test_whatever_is_not_known_to_be_inert_makes_another_base(key, value):
    assert identity(config={**LLAMA, key: value}) != identity()


@pytest.mark.parametrize("key", sorted(LLAMA))
def test_a_key_that_is_left_out_is_not_taken_for_a_default(key):
    without = {name: value for name, value in LLAMA.items() if name != key}

    assert identity(config=without) != identity()


@pytest.mark.parametrize("key", sorted(INERT))
@pytest.mark.parametrize("value", [None, "x", True, {"a": [1]}])
def test_an_inert_key_makes_no_other_base(key, value):
    inside = {**LLAMA, "text_config": {"hidden_size": 8}}

    assert identity(config={**LLAMA, key: value}) == identity()
    assert identity(config={**inside, "text_config": {"hidden_size": 8, key: value}}) == identity(config=inside)


@pytest.mark.parametrize(
    "text",
    [
        json.dumps(LLAMA, sort_keys=True, indent=4),
        json.dumps(LLAMA).replace("1e-05", "0.00001"),
        json.dumps(LLAMA).replace("10000.0", "10000"),
    ],
)
def test_the_same_config_in_another_spelling_is_the_same_base(text):
    assert identity(config=text) == identity()


def test_rotary_positions_are_the_same_where_either_release_wrote_them():
    rest = {k: v for k, v in LLAMA.items() if not k.startswith("rope")}
    scaled = {"factor": 8.0, "rope_type": "llama3"}
    old, new = (
        {**rest, "rope_theta": 5e5, "rope_scaling": scaled},
        {**rest, "rope_parameters": {**scaled, "rope_theta": 500000}},
    )
    plain = {**rest, "rope_parameters": {"rope_theta": 10000.0, "rope_type": "default"}}
    two_words = {**new, "rope_theta": 1e4}
    aliased = {**old, "rope_scaling": {"factor": 8.0, "type": "llama3"}}

    assert form_digest(config_form(old)) == form_digest(config_form(new))
    assert form_digest(config_form(old)) == form_digest(config_form(aliased))
    assert identity(config=plain) == identity()
    assert identity(config=two_words) != identity(config=old)


def test_a_number_is_not_taken_for_the_text_that_spells_it():
    form = form_digest({"a": 0.5})

    assert form not in {form_digest({"a": "0.5"}), form_digest({"a": {"float": "0.5"}})}


@pytest.mark.parametrize(
    ("path", "part"),
    [
        ("tokenizer.json", "tokenizer"),
        ("tokenizer_config.json", "tokenizer"),
        ("spiece.model", "tokenizer"),
        ("qwen.tiktoken", "tokenizer"),
        ("vocab.json", "tokenizer"),
        ("tokenizer_2/merges.txt", "tokenizer"),
        ("added_tokens.json", "tokenizer"),
        ("special_tokens_map.json", "tokenizer"),
        ("chat_template.jinja", "chat_template"),
        ("chat_templates/tools.jinja", "chat_template"),
        ("chat_template.json", "chat_template"),
        ("preprocessor_config.json", "processor"),
        ("processor_config.json", "processor"),
        ("generation_config.json", "generation"),
        ("modules.json", "modules"),
        ("1_Pooling/config.json", "modules"),
        ("scheduler/scheduler_config.json", "modules"),
    ],
)
def test_each_file_that_decides_something_is_of_a_part(path, part):
    one, two = manifest(files={path: b"a"}), manifest(files={path: b"b"})

    found = part_differences(one, two)

    assert [(d.part, d.details) for d in found] == [(part, (path,))]
    assert whole_base(manifest()).differing(whole_base(one)) == [part]


@pytest.mark.parametrize("path", ["README.md", "LICENSE", "model.safetensors.index.json"])
def test_a_file_that_decides_nothing_makes_no_other_base(path):
    assert identity(files={path: b"a"}) == identity()
    assert inert_differences(manifest(files={path: b"a"}), manifest()) == [f"{path} only in the first"]


def test_the_config_of_a_component_counts_by_what_it_says():
    unet = {"in_channels": 4, "_diffusers_version": "0.40"}
    base = manifest(components={"unet": unet}, files={"unet/config.json": b"{}"})
    resaved = manifest(components={"unet": {**unet, "_diffusers_version": "0.42"}})
    other = manifest(components={"unet": {**unet, "in_channels": 8}})

    assert whole_base(base) == whole_base(resaved)
    assert [d.part for d in part_differences(base, other)] == ["config"]


def test_a_difference_is_told_by_name():
    one = manifest(files={"chat_template.jinja": b"a", "generation_config.json": b"g"})
    two = manifest(
        config={**LLAMA, "rms_norm_eps": 1e-6, "auto_map": {"AutoModel": "x--y.Z"}}, files={"chat_template.jinja": b"b"}
    )

    assert tell_differences(part_differences(one, two)) == (
        "the same tensors; config differs: rms_norm_eps 1e-05 → 1e-06; chat template differs:"
        " chat_template.jinja; generation differs: generation_config.json only in the first"
    )
    assert inert_differences(one, two) == ["config key auto_map"]
    assert tell_differences(part_differences(one, one)) == "the same in every part"


def test_other_tensors_are_told_first():
    found = part_differences(manifest(), manifest(config={}, digest=Digest("blake3", "2" * 64)))

    assert tell_differences(found).startswith("tensors differ; config differs: architectures")
    assert [d.part for d in found] == [part for part in PARTS if part in {"tensors", "config"}]


def test_what_is_nested_is_told_by_its_path():
    changes = config_changes({"a": {"b": 1, "c": [1]}}, {"a": {"b": True, "c": [1]}, "d": None})

    assert changes == ["a.b 1 → true", "d left out → null"]
