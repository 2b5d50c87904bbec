"""BitFit: biases alone, new or as differences, by the convention that names and numbers say."""

import numpy as np
import pytest

from deltareg.delta.accounting import account, recognise
from deltareg.delta.examine import examine
from deltareg.delta.fold import FoldedBase
from deltareg.errors import Refused
from deltareg.tensors.array import to_f32, view
from tests import tiny
from tests.folders import open_base, open_folder

BIAS = "transformer.h.0.attn.c_attn.bias"


@pytest.fixture
def base(tmp_path):
    return tiny.base(tmp_path / "base", kind="gpt2")


def assessed(delta, base, *, convention=""):
    view_, weights = open_base(base.path)
    folder = open_folder(delta.path, convention=convention)
    kind, match = recognise(folder.files, view_)
    assert kind.name == match.kind == "bitfit"
    found = account(kind.parse(folder.files, view_), folder.files, folder.tensors, view_)
    more = examine(found, folder.tensors, weights, folder.files) if found.is_accepted else []
    return found, [*found.problems, *more], FoldedBase(found.effects, weights)


@pytest.mark.parametrize("convention", ["absolute", "additive"])
def test_biases_fold_by_their_convention(tmp_path, base, convention):
    delta = tiny.bitfit(tmp_path / "delta", base, convention=convention)

    found, problems, folding = assessed(delta, base)

    told = delta.tensors[BIAS]
    want = told if convention == "absolute" else base.weights[BIAS] + told
    got = to_f32(view(b"".join(folding.rows(BIAS)), "F32", want.shape), "F32")
    assert problems == []
    assert found.delta.config() == {"convention": convention}
    assert np.array_equal(got, want)
    assert set(folding.changed) == set(delta.tensors)


def rewritten(delta, tmp_path, file, metadata=None):
    return tiny.write(tmp_path / "again", delta.tensors, file=file, metadata=metadata)


def test_metadata_says_more_than_a_file_name(tmp_path, base):
    delta = tiny.bitfit(tmp_path / "delta", base, convention="additive")
    told = rewritten(delta, tmp_path, "model.safetensors", {"convention": "additive"})

    found, problems, _ = assessed(told, base)

    assert problems == []
    assert found.delta.config() == {"convention": "additive"}


def test_a_name_that_says_nothing_asks_for_the_convention(tmp_path, base):
    delta = rewritten(tiny.bitfit(tmp_path / "delta", base), tmp_path, "biases.safetensors")

    with pytest.raises(Refused) as caught:
        assessed(delta, base)

    assert caught.value.problem_code == "convention_needed"
    assert "--convention" in caught.value.fix


def test_the_user_may_say_the_convention(tmp_path, base):
    delta = rewritten(tiny.bitfit(tmp_path / "delta", base), tmp_path, "biases.safetensors")

    found, problems, _ = assessed(delta, base, convention="absolute")

    assert problems == []
    assert found.delta.config() == {"convention": "absolute"}


def test_metadata_and_the_user_must_agree(tmp_path, base):
    delta = tiny.bitfit(tmp_path / "delta", base, metadata={"convention": "absolute"})

    with pytest.raises(Refused) as caught:
        assessed(delta, base, convention="additive")

    assert caught.value.problem_code == "convention_needed"


@pytest.mark.parametrize(("written", "file"), [("additive", "model.safetensors"), ("absolute", "delta.safetensors")])
def test_numbers_that_contradict_the_name_ask_for_the_convention(tmp_path, base, written, file):
    delta = tiny.bitfit(tmp_path / "delta", base, convention=written)

    _, problems, _ = assessed(rewritten(delta, tmp_path, file), base)

    assert [p.code for p in problems] == ["convention_needed"]


@pytest.mark.parametrize(
    ("change", "code"),
    [
        (lambda t: t | {BIAS: np.ones(5, np.float32)}, "shape"),
        (lambda t: t | {"transformer.h.9.ln_1.bias": np.ones(8, "f4")}, "partial_application"),
        (lambda t: {n.replace(".h.", ".x."): v for n, v in t.items() if ".h." in n}, "no_tensor_applied"),
        (lambda t: t | {"transformer.h.0.attn.bias": np.ones((1, 1, 4, 4), np.float32)}, "unexpected_tensors"),
        (lambda t: t | {"h.0.ln_1.bias": np.ones(8, np.float32)}, "unexpected_tensors"),
    ],
)
def test_biases_that_are_not_the_bases_are_refused(tmp_path, base, change, code):
    tensors = change(dict(tiny.bitfit(tmp_path / "plain", base).tensors))
    delta = tiny.write(tmp_path / "delta", tensors, file="model.safetensors")

    found, _, _ = assessed(delta, base)

    assert [p.code for p in found.problems] == [code]


def test_the_bias_of_a_new_head_is_an_addition(tmp_path, base):
    tensors = {**tiny.bitfit(tmp_path / "plain", base).tensors, "score.bias": np.ones(3, "f4")}
    delta = tiny.write(tmp_path / "delta", tensors, file="model.safetensors")

    found, _, folding = assessed(delta, base)

    assert found.is_accepted
    assert list(folding.additions) == ["score.bias"]
