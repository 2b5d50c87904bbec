"""Sparse deltas: elements found by their places, everything else left as it is, bit for bit."""

import numpy as np
import pytest

from deltareg.delta.updates_sparse import SparseElements
from deltareg.errors import Refused
from deltareg.tensors.array import from_f32, to_f32
from tests import tiny
from tests.delta.kinds.assessing import assessed, fold_rows
from tests.delta.test_fold import Held

QUERY = "model.layers.0.self_attn.q_proj.weight"
INDICES, VALUES = f"{QUERY}.indices", f"{QUERY}.values"
PLACES = [0, 9, 10, 63]


@pytest.fixture
def base(tmp_path):
    return tiny.base(tmp_path / "base")


def flat(places, dtype=np.int32):
    return np.array(places, dtype)


def coo(places, dtype=np.int32):
    return np.stack(np.unravel_index(places, (tiny.WIDTH, tiny.WIDTH))).astype(dtype)


def sparse(indices=None, values=None):
    values = np.array([0.5, -0.25, 0.125, 1], np.float32) if values is None else values
    return {INDICES: flat(PLACES) if indices is None else indices, VALUES: values}


def written(tmp_path, tensors, *, file="delta.safetensors", convention="", metadata=None):
    tiny.write(tmp_path / "delta", tensors, file=file, metadata=metadata)
    return assessed(tmp_path / "delta", tmp_path / "base", convention=convention)


def changed(base, values, *, adds):
    want = base.weights[QUERY].reshape(-1).copy()
    want[PLACES] = values + (want[PLACES] if adds else 0)
    return want.reshape(tiny.WIDTH, tiny.WIDTH)


@pytest.mark.parametrize("convention", ["absolute", "additive"])
@pytest.mark.parametrize("places", [flat, coo])
@pytest.mark.parametrize("dtype", [np.int64, np.int32, np.uint16])
def test_elements_change_by_the_convention(tmp_path, base, convention, places, dtype):
    own = base.weights[QUERY].reshape(-1)[PLACES]
    adds = convention == "additive"
    values = np.array([0.01, -0.02, 0.03, 0.04], np.float32) + (0 if adds else own)

    found = written(tmp_path, sparse(places(PLACES, dtype), values), convention=convention)

    assert found.kind == "sparse"
    assert found.account.delta.config() == {"convention": convention}
    assert np.array_equal(found.folded()[QUERY], changed(base, values, adds=adds))


def test_whole_tensors_may_come_along(tmp_path, base):
    whole = np.zeros(tiny.WIDTH, np.float32)
    whole[3] = 0.5
    tensors = {**sparse(), "model.norm.weight": whole}

    found = written(tmp_path, tensors, metadata={"delta_kind": "sparse"})

    want = base.weights["model.norm.weight"] + whole
    assert np.array_equal(found.folded()["model.norm.weight"], want)
    assert found.account.roles["model.norm.weight"][0] == "whole"


@pytest.mark.parametrize(
    ("change", "codes"),
    [
        ({INDICES: flat([0, 9, 10, 64])}, ["indices"]),
        ({INDICES: flat([-1, 9, 10, 63])}, ["indices"]),
        ({INDICES: coo(PLACES) + np.array([[0], [8]], np.int32)}, ["indices"]),
        ({INDICES: flat([0, 9, 9, 63])}, ["indices"]),
        ({INDICES: flat([0, 10, 9, 63])}, ["indices"]),
        ({INDICES: coo([0, 10, 9, 63])}, ["indices"]),
        ({INDICES: flat([0, 9, 10])}, ["shape"]),
        ({INDICES: coo(PLACES).T.copy()}, ["shape"]),
        ({INDICES: flat(PLACES, np.float32)}, ["shape"]),
        ({VALUES: np.ones((4, 1), np.float32)}, ["shape"]),
        ({VALUES: np.ones(4, np.int32)}, ["shape"]),
        ({VALUES: np.array([1, np.nan, 2, 3], np.float32)}, ["non_finite"]),
        ({"model.norm.weight.values": np.ones(2, np.float32)}, ["missing_tensors"]),
        ({"model.norm.weight.indices": flat([1, 2])}, ["missing_tensors"]),
        ({QUERY: np.zeros((tiny.WIDTH, tiny.WIDTH), np.float32)}, ["unexpected_tensors"]),
        ({"model.norm.weight": np.zeros(3, np.float32)}, ["shape"]),
        ({"a.values": np.ones(2, np.float32), "a.indices": flat([1, 2])}, ["partial_application"]),
    ],
)
def test_elements_that_are_not_the_bases_are_refused(tmp_path, base, change, codes):
    assert written(tmp_path, sparse() | change).codes == codes


def test_a_delta_of_another_base_applies_nowhere(tmp_path, base):
    tensors = {name.replace("model.", "encoder."): value for name, value in sparse().items()}

    assert written(tmp_path, tensors).codes == ["no_tensor_applied"]


def test_values_that_contradict_the_name_ask_for_the_convention(tmp_path, base):
    places = np.arange(64)
    new = base.weights[QUERY].reshape(-1) * 1.01

    found = written(tmp_path, sparse(flat(places), new.astype(np.float32)))

    assert found.codes == ["convention_needed"]


def test_nothing_is_assumed_of_the_convention(tmp_path, base):
    with pytest.raises(Refused) as caught:
        written(tmp_path, sparse(), file="sparse.safetensors")

    assert caught.value.problem_code == "convention_needed"


@pytest.mark.parametrize("is_absolute", [True, False])
@pytest.mark.parametrize("places", [flat, coo])
@pytest.mark.parametrize("height", [1, 3, 8])
def test_runs_of_rows_add_up_to_the_whole(is_absolute, places, height):
    rng = np.random.default_rng(0)
    weight = rng.standard_normal((8, 8)).astype(np.float32)
    chosen = np.sort(rng.choice(64, 20, replace=False))
    update = SparseElements(
        Held(places(chosen, np.int64), "I64"), Held(rng.standard_normal(20).astype("f4")), is_absolute, (8, 8)
    )

    whole = fold_rows(update, weight, 0, 8)
    runs = [(start, min(start + height, 8)) for start in range(0, 8, height)]
    parts = [fold_rows(update, weight[a:b], a, b) for a, b in runs]

    assert np.array_equal(np.concatenate(parts), whole)


def test_every_other_element_keeps_its_bits():
    odd = np.array([-0.0, 0.0, np.inf, 3.0], np.float32).reshape(2, 2)
    update = SparseElements(Held(flat([3], np.int64), "I64"), Held(np.ones(1, "f4")), is_absolute=False, shape=(2, 2))

    result = fold_rows(update, odd, 0, 2)

    assert result.tobytes() == np.array([-0.0, 0.0, np.inf, 4.0], np.float32).tobytes()


def test_new_values_of_a_narrow_base_come_out_as_they_were():
    patterns = np.arange(0x3F00, 0x3F40, dtype=np.uint16)
    values = to_f32(patterns, "BF16")
    update = SparseElements(Held(flat(range(64), np.int64), "I64"), Held(values), is_absolute=True, shape=(8, 8))

    result = fold_rows(update, np.zeros((8, 8), np.float32), 0, 8)

    assert np.array_equal(from_f32(result, "BF16").reshape(-1), patterns)


def test_torch_folds_the_same(tmp_path):
    torch = pytest.importorskip("torch", reason="needs torch")
    from deltareg_verify.engine.torch_engine.ops import TorchOps

    weight = np.random.default_rng(0).standard_normal((8, 8)).astype(np.float32)
    values = Held(np.array([1, 2, 3, 4], np.float32))
    update = SparseElements(Held(coo(PLACES, np.int64), "I64"), values, is_absolute=False, shape=(8, 8))

    ours = fold_rows(update, weight, 0, 8)
    theirs = fold_rows(update, torch.from_numpy(weight), 0, 8, TorchOps(torch.device("cpu")))

    assert np.array_equal(ours, theirs.numpy())
