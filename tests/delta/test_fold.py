"""Folding: formulas on NumPy, block by block, in float32 with one rounding."""

import tracemalloc

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from deltareg.delta.fold import BLOCK_ROWS, RECIPE, FoldedBase
from deltareg.delta.kind import Addition, BaseCopy, PrefixInsert, WeightUpdate
from deltareg.delta.maths.updates import (
    Factor,
    IdentityUpdate,
    LowRank,
    OrthonormalRemoval,
    PrincipalRemoval,
    Replacement,
    RowExtension,
    RowReplacement,
    ScaledAddition,
    WeightDecomposed,
)
from deltareg.errors import InvalidInput
from deltareg.tensors.array import from_f32, to_f32, view


class Held:
    """A tensor in memory."""

    def __init__(self, values, dtype="F32", name="t"):
        raw = from_f32(np.asarray(values, np.float32), dtype) if dtype != "I64" else values
        self.name, self.dtype, self.shape = name, dtype, raw.shape
        self._raw = np.ascontiguousarray(raw)
        self.most_rows = 0

    def read(self, start=0, stop=None):
        rows = self._raw[start:stop] if self.shape else self._raw
        self.most_rows = max(self.most_rows, len(rows) if self.shape else 1)
        return memoryview(rows.tobytes())


def normal(*shape, seed=0):
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


def fold(update, weight, *more, shape=None, dtype="F32", out=""):
    effects = [WeightUpdate("w", u, {}, shape=shape, dtype=out) for u in (update, *more)]
    folding = FoldedBase(effects, {"w": Held(weight, dtype)})
    told = folding.dtype("w")
    raw = b"".join(folding.rows("w"))
    return to_f32(view(raw, told, folding.shape("w")), told)


def low_rank(n, m, r=2, seed=1, scale=0.5):
    left, right = normal(n, r, seed=seed), normal(r, m, seed=seed + 1)
    return LowRank(Factor(Held(left)), Factor(Held(right)), scale), scale * (left @ right)


@pytest.mark.parametrize("rows", [1, BLOCK_ROWS - 1, BLOCK_ROWS, 2 * BLOCK_ROWS + 3])
def test_blocks_make_the_whole(rows):
    weight, (update, change) = normal(rows, 5), low_rank(rows, 5)

    assert np.allclose(fold(update, weight), weight + change, atol=1e-6)


def test_a_flipped_pair_is_the_transpose():
    weight, a, b = normal(6, 4), normal(2, 6), normal(4, 2)
    update = LowRank(Factor(Held(a), flipped=True), Factor(Held(b), flipped=True), 3.0)

    assert np.allclose(fold(update, weight), weight + 3 * (b @ a).T, atol=1e-5)


def test_a_convolution_is_a_matrix_over_its_kernel():
    weight, a, b = normal(6, 3, 2, 2), normal(2, 3, 2, 2), normal(6, 2, 1, 1)
    update = LowRank(Factor(Held(b)), Factor(Held(a)), 1.0)

    want = weight + np.einsum("or,rchw->ochw", b[:, :, 0, 0], a)
    assert np.allclose(fold(update, weight), want, atol=1e-5)


@pytest.mark.parametrize("outputs", ["rows", "columns"])
def test_magnitudes_are_the_norms_of_the_result(outputs):
    update, _ = low_rank(1500, 4)
    axis = 1 if outputs == "rows" else 0
    magnitude = np.abs(normal(1500 if outputs == "rows" else 4)) + 0.1

    got = fold(WeightDecomposed(update, Held(magnitude), outputs), normal(1500, 4))

    assert np.allclose(np.linalg.norm(got, axis=axis), magnitude, rtol=1e-5)


def test_a_row_of_zeros_has_no_direction_and_gives_nan():
    update = LowRank(Factor(Held(np.zeros((2, 1)))), Factor(Held(np.zeros((1, 3)))), 1.0)
    weight = np.array([[0, 0, 0], [1, 0, 0]], np.float32)

    got = fold(WeightDecomposed(update, Held(np.ones(2)), "rows"), weight)

    assert np.isnan(got[0]).all()
    assert np.array_equal(got[1], [1, 0, 0])


def test_pissa_leaves_what_the_largest_components_do_not_make_up():
    weight, (update, change) = normal(1500, 6), low_rank(1500, 6)
    u, s, v = np.linalg.svd(weight.astype(np.float64), full_matrices=False)
    rest = (u[:, 2:] * s[2:]) @ v[2:]

    got = fold(PrincipalRemoval(2), weight, update)

    assert np.allclose(got, rest + change, atol=1e-4)


def test_olora_leaves_what_the_first_directions_do_not_make_up():
    weight = normal(7, 5)
    q, r = np.linalg.qr(weight)

    got = fold(OrthonormalRemoval(2, 0.5), weight)

    assert np.allclose(got, weight - 0.5 * q[:, :2] @ r[:2], atol=1e-5)


def test_rows_of_tokens_are_replaced_across_blocks():
    weight, rows = normal(BLOCK_ROWS + 10, 3), [BLOCK_ROWS + 1, 0, BLOCK_ROWS - 1]
    values = normal(3, 3, seed=5)

    got = fold(RowReplacement(rows, Held(values)), weight)

    want = weight.copy()
    want[rows] = values
    assert np.array_equal(got, want)


@pytest.mark.parametrize("kept", [3, BLOCK_ROWS - 1, BLOCK_ROWS, BLOCK_ROWS + 1])
def test_new_rows_follow_the_bases_own(kept):
    weight, stored = normal(kept, 2), normal(kept + BLOCK_ROWS, 2, seed=1)

    got = fold(RowExtension(Held(stored), kept), weight, shape=stored.shape)

    assert np.array_equal(got, np.concatenate([weight, stored[kept:]]))


def test_updates_of_one_weight_apply_in_order():
    got = fold(Replacement(Held(np.full((2, 2), 3))), np.ones((2, 2)), ScaledAddition(Held(np.ones((2, 2))), 2.0))

    assert np.array_equal(got, np.full((2, 2), 5))


def test_a_replaced_tensor_comes_out_bit_for_bit():
    nan = np.array([[np.nan, -0.0]], np.float32)
    counts = Held(np.array([1 << 60], np.int64), "I64")
    effects = [WeightUpdate("w", Replacement(Held(nan)), {}), WeightUpdate("n", Replacement(counts), {})]
    base = {"w": Held(np.ones((1, 2))), "n": Held(np.array([1], np.int64), "I64")}

    folding = FoldedBase(effects, base)

    assert b"".join(folding.rows("w")) == nan.tobytes()
    assert b"".join(folding.rows("n")) == np.array([1 << 60], np.int64).tobytes()
    assert base["w"].most_rows == 0


def test_a_scalar_folds():
    got = fold(ScaledAddition(Held(np.float32(2.0))), np.float32(1.0))

    assert got.shape == ()
    assert got == 3


@given(st.floats(-4, 4, width=32), st.floats(-4, 4, width=32))
def test_a_sum_is_rounded_once(weight, change):
    held = Held(np.array([[weight]]), "BF16")
    before = to_f32(view(held.read(), "BF16", (1, 1)), "BF16")

    got = fold(ScaledAddition(Held(np.array([[change]]))), before, dtype="BF16")

    exact = np.asarray(before + np.float32(change))
    assert np.array_equal(got, to_f32(from_f32(exact, "BF16"), "BF16"))


def test_an_effect_may_say_another_dtype():
    assert np.array_equal(fold(Replacement(Held([[0.1]], "F16")), [[1]], out="F16"), np.array([[0.1]], np.float16))


def test_a_twin_reads_the_weight_that_it_shared():
    effects = [
        WeightUpdate("wte", ScaledAddition(Held(np.ones((2, 2)))), {}),
        WeightUpdate("head", IdentityUpdate(), {}, reads="wte"),
    ]

    folding = FoldedBase(effects, {"wte": Held(np.zeros((2, 2)))})

    assert folding.changed == ("head", "wte")
    assert b"".join(folding.rows("head")) == np.zeros((2, 2), np.float32).tobytes()
    assert folding.config_changes({"vocab_size": 2}) == {"tie_word_embeddings": False}


@pytest.mark.parametrize(
    ("config", "want"),
    [
        ({"vocab_size": 2}, {"vocab_size": 3}),
        ({"vocab_size": 9}, {}),
        ({"text_config": {"vocab_size": 2, "x": 1}}, {"text_config": {"vocab_size": 3, "x": 1}}),
        ({}, {}),
    ],
)
def test_a_config_follows_a_grown_vocabulary(config, want):
    effect = WeightUpdate("w", RowExtension(Held(np.ones((3, 2))), 2), {}, shape=(3, 2))

    folding = FoldedBase([effect], {"w": Held(np.zeros((2, 2)))})

    assert folding.config_changes(config) == want


def test_additions_and_copies_change_no_weight():
    head = Held(np.ones((2, 2)))

    folding = FoldedBase([Addition("score", head, {}), BaseCopy("w", head, {})], {})

    assert folding.changed == ()
    assert folding.additions == {"score": head}


def test_what_acts_on_activations_cannot_be_folded():
    class Vectors:
        def make(self, ops):
            return (ops.zeros(1, 2),)

    with pytest.raises(InvalidInput, match="activations"):
        FoldedBase([PrefixInsert("tokens", "m", 1, vectors=Vectors(), consumes={})], {})


def test_memory_is_a_few_blocks_whatever_the_height():
    class Endless:
        name, dtype, shape = "w", "F32", (64 * BLOCK_ROWS, 128)

        def read(self, start=0, stop=None):
            return memoryview(bytes(4 * 128 * (stop - start)))

    update = LowRank(Factor(Endless()), Factor(Held(normal(128, 128))), 1.0)
    folding = FoldedBase([WeightUpdate("w", update, {})], {"w": Endless()})
    block = 4 * 128 * BLOCK_ROWS

    tracemalloc.start()
    size = sum(len(rows) for rows in folding.rows("w"))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()

    assert size == 64 * block
    assert peak < 5 * block


def test_the_recipe_says_what_a_folded_digest_depends_on():
    assert (RECIPE.library, RECIPE.block_rows, RECIPE.dtype) == ("numpy", 1024, "F32")


def test_rows_that_are_not_there_are_left_out():
    got = fold(RowReplacement([7, 1], Held([[1.0], [2.0]])), np.zeros((2, 1)))

    assert np.array_equal(got, [[0.0], [2.0]])
