"""A full fine-tune: every weight comes, whole, in one file or in shards."""

import json

import numpy as np
import pytest
from safetensors.numpy import save_file

from deltareg.delta.accounting import account, recognise
from deltareg.delta.fold import FoldedBase
from deltareg.errors import Refused
from deltareg.tensors.array import to_f32, view
from tests import tiny
from tests.folders import open_base, open_folder


@pytest.fixture
def base(tmp_path):
    return tiny.base(tmp_path / "base")


def opened(path, base):
    view_, weights = open_base(base.path)
    folder = open_folder(path)
    kind, match = recognise(folder.files, view_)
    assert kind.name == match.kind == "full"
    return account(kind.parse(folder.files, view_), folder.files, folder.tensors, view_), weights


def codes(path, base):
    found, _ = opened(path, base)
    return list(dict.fromkeys(p.code for p in found.problems if p.severity == "error"))


@pytest.mark.parametrize("shards", [1, 3])
def test_a_fold_is_the_tensors_bit_for_bit(tmp_path, base, shards):
    delta = tiny.full(tmp_path / "delta", base, shards=shards)

    found, weights = opened(delta.path, base)

    folding = FoldedBase(found.effects, weights)
    assert found.problems == []
    assert found.modules == len(base.weights)
    for name, value in delta.tensors.items():
        assert b"".join(folding.rows(name)) == value.tobytes()


def test_another_dtype_stays_what_it_is(tmp_path, base):
    delta = tiny.full(tmp_path / "delta", base, dtype=np.float16)

    found, weights = opened(delta.path, base)

    folding = FoldedBase(found.effects, weights)
    assert folding.dtype("lm_head.weight") == "F16"
    assert b"".join(folding.rows("lm_head.weight")) == delta.tensors["lm_head.weight"].tobytes()


def changed(path, base, change):
    delta = tiny.full(path, base)
    tensors = change(dict(delta.tensors))
    save_file(tensors, path / "model.safetensors")
    return path


@pytest.mark.parametrize(
    ("change", "code"),
    [
        (lambda t: {n: v for n, v in t.items() if "norm" not in n}, "missing_tensors"),
        (lambda t: t | {"model.evil.weight": np.ones(3, np.float32)}, "unexpected_tensors"),
        (lambda t: t | {"model.norm.weight": np.ones(9, np.float32)}, "shape"),
        (lambda t: t | {"model.norm.weight": np.ones(8, np.int32)}, "shape"),
        (lambda t: t | {"norm.weight": np.ones(8, np.float32)}, "unexpected_tensors"),
    ],
)
def test_weights_that_are_not_the_bases_are_refused(tmp_path, base, change, code):
    path = changed(tmp_path / "delta", base, change)

    assert codes(path, base) == [code]


@pytest.mark.parametrize(
    "change",
    [
        lambda t: t | {"model.layers.0.self_attn.rotary_emb.inv_freq": np.ones(4, np.float32)},
        lambda t: {n.removeprefix("model."): v for n, v in t.items()},
    ],
)
def test_a_buffer_or_a_missing_prefix_is_no_difference(tmp_path, base, change):
    path = changed(tmp_path / "delta", base, change)

    assert codes(path, base) == []


def test_another_head_takes_the_place_of_the_bases(tmp_path, base):
    path = changed(
        tmp_path / "delta",
        base,
        lambda t: {n: v for n, v in t.items() if n != "lm_head.weight"} | {"score.weight": np.ones((2, 8), np.float32)},
    )

    found, weights = opened(path, base)

    assert found.is_accepted
    assert list(FoldedBase(found.effects, weights).additions) == ["score.weight"]


def test_more_tokens_grow_the_vocabulary(tmp_path, base):
    grown = np.ones((23, 8), np.float32)
    path = changed(
        tmp_path / "delta", base, lambda t: t | {"model.embed_tokens.weight": grown, "lm_head.weight": grown}
    )

    found, weights = opened(path, base)

    folding = FoldedBase(found.effects, weights)
    assert found.is_accepted
    assert folding.shape("lm_head.weight") == (23, 8)
    assert folding.config_changes(base.config) == {"vocab_size": 23}


def test_a_name_that_the_base_stores_twice_follows_its_twin(tmp_path):
    base = tiny.base(tmp_path / "base", kind="gpt2")
    twice = {**base.weights, "lm_head.weight": base.weights["transformer.wte.weight"]}
    save_file(twice, base.path / "model.safetensors")
    delta = tiny.full(tmp_path / "delta", base)

    found, weights = opened(delta.path, base)

    folding = FoldedBase(found.effects, weights)
    raw = b"".join(folding.rows("lm_head.weight"))
    got = to_f32(view(raw, "F32", (20, 8)), "F32")
    assert found.is_accepted
    assert np.array_equal(got, delta.tensors["transformer.wte.weight"])


@pytest.mark.parametrize(
    ("break_index", "code"),
    [
        (lambda table: table.pop("lm_head.weight"), "unexpected_tensors"),
        (lambda table: table.update(extra="model-00001-of-00003.safetensors"), "missing_tensors"),
    ],
)
def test_an_index_that_lies_is_refused(tmp_path, base, break_index, code):
    delta = tiny.full(tmp_path / "delta", base, shards=3)
    index = delta.path / "model.safetensors.index.json"
    document = json.loads(index.read_text())
    break_index(document["weight_map"])
    index.write_text(json.dumps(document))

    assert codes(delta.path, base) == [code]


def test_shards_without_an_index_are_refused(tmp_path, base):
    delta = tiny.full(tmp_path / "delta", base, shards=3)
    (delta.path / "model.safetensors.index.json").unlink()

    assert codes(delta.path, base) == ["bad_config"]


def test_a_few_weights_of_the_base_are_no_full_delta(tmp_path, base):
    few = {"model.norm.weight": base.weights["model.norm.weight"]}
    delta = tiny.write(tmp_path / "delta", few, file="model.safetensors")
    view_, _ = open_base(base.path)

    kind, _ = recognise(open_folder(delta.path).files, view_)

    assert kind.name == "full_subset"


def test_differences_of_all_weights_are_no_full_delta(tmp_path, base):
    delta = tiny.write(tmp_path / "delta", base.weights, file="task_vector.safetensors")
    view_, _ = open_base(base.path)

    kind, _ = recognise(open_folder(delta.path).files, view_)

    assert kind.name == "task_vector"


def test_weights_of_nobody_are_of_no_kind(tmp_path, base):
    delta = tiny.write(tmp_path / "delta", {"a.b": np.ones(3, "f4")}, file="model.safetensors")
    view_, _ = open_base(base.path)

    with pytest.raises(Refused) as caught:
        recognise(open_folder(delta.path).files, view_)

    assert caught.value.problem_code == "unknown_kind"
