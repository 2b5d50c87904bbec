"""Parts of a fine-tune and task vectors: tensors under the base's names, by their convention."""

import numpy as np
import pytest

from deltareg.errors import Refused
from tests import tiny
from tests.delta.kinds.assessing import assessed

NORM, HEAD = "model.norm.weight", "lm_head.weight"
QUERY = "model.layers.0.self_attn.q_proj.weight"


@pytest.fixture
def base(tmp_path):
    return tiny.base(tmp_path / "base")


def moved(base, *names, seed=5):
    rng = np.random.default_rng(seed)
    return {name: 0.1 * tiny.normal(rng, *base.weights[name].shape) for name in names}


def written(tmp_path, tensors, file, *, convention="", metadata=None):
    tiny.write(tmp_path / "delta", tensors, file=file, metadata=metadata)
    return assessed(tmp_path / "delta", tmp_path / "base", convention=convention)


def test_new_values_replace_what_they_name(tmp_path, base):
    new = {name: base.weights[name] + change for name, change in moved(base, NORM, QUERY).items()}

    found = written(tmp_path, new, "model.safetensors")

    assert found.kind == "full_subset"
    assert found.account.delta.config() == {"convention": "absolute"}
    assert all(np.array_equal(found.folded()[name], value) for name, value in new.items())
    assert set(found.folded()) == set(new)


def test_differences_are_added(tmp_path, base):
    changes = moved(base, NORM, QUERY)

    found = written(tmp_path, changes, "task_vector.safetensors")

    assert found.kind == "task_vector"
    assert found.account.delta.config() == {"convention": "additive"}
    for name, value in found.folded().items():
        assert np.array_equal(value, base.weights[name] + changes[name])
    assert set(found.folded()) == set(changes)


@pytest.mark.parametrize(
    ("file", "convention", "metadata", "kind"),
    [
        ("weights.safetensors", "absolute", {}, "full_subset"),
        ("weights.safetensors", "additive", {}, "task_vector"),
        ("weights.safetensors", "", {"convention": "absolute"}, "full_subset"),
        ("weights.safetensors", "", {"convention": "additive"}, "task_vector"),
        ("model.safetensors", "", {"delta_kind": "full_subset"}, "full_subset"),
        ("delta.safetensors", "", {"delta_kind": "task_vector"}, "task_vector"),
        ("diff.safetensors", "", {}, "task_vector"),
    ],
)
def test_the_convention_decides_the_kind(tmp_path, base, file, convention, metadata, kind):
    tensors = moved(base, NORM, QUERY)
    if kind == "full_subset":
        tensors = {name: base.weights[name] + change for name, change in tensors.items()}

    found = written(tmp_path, tensors, file, convention=convention, metadata=metadata)

    assert (found.kind, found.problems) == (kind, [])


@pytest.mark.parametrize(
    ("file", "metadata"),
    [
        ("weights.safetensors", {}),
        ("weights.safetensors", {"delta_kind": "task_vector"}),
        ("weights.safetensors", {"delta_kind": "full_subset"}),
        ("model.safetensors", {"delta_kind": "task_vector"}),
        ("delta.safetensors", {"delta_kind": "full_subset"}),
        ("weights.safetensors", {"delta_kind": "sparse", "convention": "both"}),
    ],
)
def test_what_nothing_decides_is_asked_for(tmp_path, base, file, metadata):
    with pytest.raises(Refused) as caught:
        written(tmp_path, moved(base, NORM), file, metadata=metadata)

    assert caught.value.problem_code == "convention_needed"


@pytest.mark.parametrize("file", ["model.safetensors", "delta.safetensors"])
def test_numbers_that_contradict_the_name_ask_for_the_convention(tmp_path, base, file):
    tensors = moved(base, NORM, QUERY)
    if file == "delta.safetensors":
        tensors = {name: base.weights[name] + change for name, change in tensors.items()}

    found = written(tmp_path, tensors, file)

    assert found.codes == ["convention_needed"]


@pytest.mark.parametrize("file", ["model.safetensors", "delta.safetensors"])
@pytest.mark.parametrize(
    ("change", "codes"),
    [
        (lambda t: t | {NORM: np.ones(5, np.float32)}, ["shape"]),
        (lambda t: t | {NORM: np.ones(tiny.WIDTH, np.int32)}, ["shape"]),
        (lambda t: t | {"model.layers.7.norm.weight": np.ones(8, "f4")}, ["partial_application"]),
        (lambda t: t | {"norm.weight": t[NORM]}, ["unexpected_tensors"]),
        (lambda t: t | {NORM: np.full(tiny.WIDTH, np.nan, np.float32)}, ["non_finite"]),
    ],
)
def test_tensors_that_are_not_the_bases_are_refused(tmp_path, base, file, change, codes):
    tensors = {name: base.weights[name] for name in (NORM, QUERY)}
    if file == "delta.safetensors":
        tensors = moved(base, NORM, QUERY)

    assert written(tmp_path, change(tensors), file).codes == codes


def test_a_new_head_comes_with_values_and_never_as_a_difference(tmp_path, base):
    tensors = {NORM: base.weights[NORM], "score.weight": np.ones((3, tiny.WIDTH), np.float32)}

    found = written(tmp_path, tensors, "model.safetensors")
    (tmp_path / "delta" / "model.safetensors").unlink()
    vector = written(tmp_path, tensors, "delta.safetensors", convention="additive")

    assert list(found.folding().additions) == ["score.weight"]
    assert vector.codes == ["partial_application"]


def test_more_tokens_are_new_values_only(tmp_path, base):
    more = np.ones((tiny.VOCABULARY + 2, tiny.WIDTH), np.float32)
    tensors = {"model.embed_tokens.weight": more, HEAD: more}

    found = written(tmp_path, tensors, "model.safetensors", convention="absolute")

    assert found.folding().config_changes(found.base.config) == {"vocab_size": tiny.VOCABULARY + 2}


@pytest.mark.parametrize("file", ["model.safetensors", "delta.safetensors"])
def test_a_format_of_tomorrow_is_refused(tmp_path, base, file):
    with pytest.raises(Refused) as caught:
        written(tmp_path, moved(base, NORM), file, metadata={"delta_format": "2"})

    assert caught.value.problem_code == "bad_config"
    assert "delta_format" in caught.value.message


def test_a_weight_of_a_narrow_base_is_rounded_once(tmp_path):
    base = tiny.base(tmp_path / "base", dtype=np.float16)
    changes = moved(base, QUERY)

    found = written(tmp_path, changes, "task_vector.safetensors")

    want = (base.weights[QUERY].astype("f4") + changes[QUERY]).astype(np.float16)
    assert found.folding().dtype(QUERY) == "F16"
    assert np.array_equal(found.folded()[QUERY], want.astype(np.float32))


@pytest.mark.parametrize("tied", ["transformer.wte.weight", "lm_head.weight"])
def test_a_tied_weight_changes_under_the_name_that_came(tmp_path, tied):
    base = tiny.base(tmp_path / "base", kind="gpt2")
    change = moved(base, "transformer.wte.weight")["transformer.wte.weight"]

    found = written(tmp_path, {tied: change}, "task_vector.safetensors")

    assert list(found.folded()) == [tied]
    assert np.array_equal(found.folded()[tied], base.weights["transformer.wte.weight"] + change)
