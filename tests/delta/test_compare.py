"""Comparing deltas: from factors exactly, from rows by streaming, from manifests by digest."""

import tracemalloc

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from deltareg.delta.compare import (
    FieldChange,
    FileChange,
    changed_weights,
    differences,
    effective_rank,
    field_changes,
    file_changes,
    tensor_changes,
    weight_differences,
)
from deltareg.delta.kind import WeightUpdate
from deltareg.delta.maths.product_measures import BOUND, StoredFactors, measure_products, numeric_rank
from deltareg.delta.maths.updates import Factor, LowRank, Replacement, RowExtension
from deltareg.digest import sha256_of, tensor_digest
from deltareg.identity.manifest import Manifest, ManifestFile, ManifestTensor, Piece
from tests import corpus
from tests.delta.test_fold import Held, normal


def only(a, b, base):
    """Compare two deltas that change one weight."""
    [found] = weight_differences(a, b, base)
    return found


def low_rank(left, right, scale=1.0):
    return LowRank(Factor(Held(left)), Factor(Held(right)), scale)


def on(target, update, **more):
    return WeightUpdate(target, update, {}, **more)


def dense(left, right, scale=1.0):
    return scale * (left.astype(np.float64) @ right.astype(np.float64))


def expected(one, two):
    """Give relative norm, cosine and norms of two dense changes."""
    norms = np.linalg.norm(one), np.linalg.norm(two)
    return np.linalg.norm(two - one) / norms[0], np.sum(one * two) / (norms[0] * norms[1]), *norms


@given(st.integers(1, 12), st.integers(1, 12), st.integers(1, 5), st.integers(1, 5), st.integers(0, 99))
def test_factors_say_what_the_dense_changes_say(n, m, r1, r2, seed):
    a = normal(n, r1, seed=seed), normal(r1, m, seed=seed + 1)
    b = normal(n, r2, seed=seed + 2), normal(r2, m, seed=seed + 3)

    found = only([on("w", low_rank(*a, 0.5))], [on("w", low_rank(*b, 2.0))], None)

    got = (found.relative_norm, found.cosine, found.norm_a, found.norm_b)
    assert np.allclose(got, expected(dense(*a, 0.5), dense(*b, 2.0)), rtol=1e-9, atol=1e-9)
    assert (found.rank_a, found.rank_b) == (r1, r2)


def test_overlap_is_that_of_the_column_spaces():
    left = normal(10, 4)
    a = low_rank(left[:, :2], normal(2, 6))
    b = low_rank(left[:, 1:], normal(3, 6, seed=9))

    found = only([on("w", a)], [on("w", b)], None)

    u1 = np.linalg.qr(left[:, :2].astype(np.float64)).Q
    u2 = np.linalg.qr(left[:, 1:].astype(np.float64)).Q
    assert found.overlap == pytest.approx(np.sum((u1.T @ u2) ** 2) / 2)


def test_a_delta_is_no_different_from_itself():
    effects = [on("w", low_rank(normal(9, 2), normal(2, 5)))]

    found = only(effects, effects, None)

    assert found.relative_norm == pytest.approx(0, abs=1e-12)
    assert found.cosine == pytest.approx(1)
    assert found.overlap == pytest.approx(1)


def test_a_nearly_equal_delta_is_told_apart_without_cancellation():
    left, right = normal(50, 2), normal(2, 40)

    found = only([on("w", low_rank(left, right))], [on("w", low_rank(left, right, 1 + 1e-9))], None)

    assert found.relative_norm == pytest.approx(1e-9, rel=1e-3)


def leaning(n, rank, condition, *, seed):
    """Make columns whose singular values fall from 1 to 1 / condition."""
    random = np.random.default_rng(seed)
    frame, turn = (np.linalg.qr(random.normal(size=(size, rank))).Q for size in (n, rank))
    return (frame * np.geomspace(1, 1 / condition, rank)) @ turn


@pytest.mark.parametrize("condition", [1, 1e2, 3e3, 1e5, 1e9])
@pytest.mark.parametrize("step", [0, 1e-7, 1e-3, 1, "another rank"])
def test_measures_hold_their_bound_however_near_columns_and_versions_are(condition, step):
    left, right = leaning(90, 6, condition, seed=1), leaning(70, 6, min(condition, 50), seed=2)
    other = (leaning(90, 5, condition, seed=3), leaning(70, 5, 2, seed=4))
    if step != "another rank":
        other = (left + step * leaning(90, 6, condition, seed=3), right + step * leaning(70, 6, 2, seed=4))
    a = StoredFactors(left.astype(np.float32), right.T.astype(np.float32), 0.3)
    b = StoredFactors(other[0].astype(np.float32), other[1].T.astype(np.float32), 0.3)

    found = measure_products(a, b)

    one, two = dense(a.left, a.right, a.scale), dense(b.left, b.right, b.scale)
    norms = float(np.linalg.norm(one)), float(np.linalg.norm(two))
    assert found.norms == pytest.approx(norms, rel=BOUND)
    assert found.apart == pytest.approx(np.linalg.norm(two - one), rel=BOUND, abs=1e-14 * norms[0])
    assert found.inner == pytest.approx(np.sum(one * two), abs=BOUND * norms[0] * norms[1])
    svds = [np.linalg.svd(change) for change in (one, two)]
    for sizes, svd, rank in zip(found.sizes, svds, (a.rank, b.rank), strict=True):
        assert np.allclose(sizes[:rank], svd.S[:rank], rtol=0, atol=BOUND * svd.S[0])
    spaces = [svd.U[:, : numeric_rank(svd.S)] for svd in svds]
    overlap = np.sum(np.square(spaces[0].T @ spaces[1])) / min(space.shape[1] for space in spaces)
    assert found.overlap == pytest.approx(overlap, abs=BOUND)


def test_every_weight_is_counted_as_it_is_compared():
    a = [on(name, low_rank(normal(9, 2), normal(2, 5))) for name in "wv"]
    b = [on(name, low_rank(normal(9, 2, seed=3), normal(2, 5))) for name in "uw"]
    counted: list[int] = []

    found = differences(a, b, ({}, {}), None, count=counted.append)

    assert changed_weights(a, b) == sorted(one.module for one in found) == ["u", "v", "w"]
    assert counted == [1, 1, 1]


def test_the_decomposition_gives_what_the_inner_products_do():
    a, b = (StoredFactors(normal(40, 3, seed=s), normal(3, 30, seed=s + 1), 0.5) for s in (1, 5))
    same = StoredFactors(np.repeat(a.left, 2, 1), np.repeat(a.right, 2, 0), 0.25)  # its columns depend on each other

    found, decomposed = measure_products(a, b), measure_products(same, b)

    assert decomposed.norms == pytest.approx(found.norms, rel=BOUND)
    assert decomposed.apart == pytest.approx(found.apart, rel=BOUND)
    assert decomposed.sizes[0][:3] == pytest.approx(found.sizes[0], rel=BOUND)
    assert decomposed.overlap == pytest.approx(found.overlap, rel=BOUND)


def test_a_dead_factor_has_no_effective_rank():
    dead = low_rank(np.zeros((9, 2), np.float32), normal(2, 5))
    alive = low_rank(normal(9, 2), normal(2, 5))

    found = only([on("w", dead)], [on("w", alive)], None)

    assert (found.rank_a, found.effective_rank_a) == (2, 0)
    assert (found.norm_a, found.cosine, found.overlap) == (0, 0, 0)
    assert found.relative_norm == 1


def test_effective_rank_counts_equal_directions():
    assert effective_rank(np.array([2.0, 2.0, 2.0])) == pytest.approx(3)
    assert effective_rank(np.array([5.0, 0.0])) == pytest.approx(1)
    assert effective_rank(np.zeros(3)) == 0


def test_a_weight_that_only_one_changes_differs_wholly():
    effects = [on("w", low_rank(normal(9, 2), normal(2, 5)))]

    gone = only(effects, [], None)
    new = only([], effects, None)

    assert (gone.relative_norm, gone.rank_a, gone.rank_b) == (1, 2, 0)
    assert (new.relative_norm, new.rank_a, new.rank_b) == (1, 0, 2)


def test_replaced_weights_are_compared_against_the_base():
    weight, one, two = normal(1500, 3), normal(1500, 3, seed=1), normal(1500, 3, seed=2)

    found = only([on("w", Replacement(Held(one)))], [on("w", Replacement(Held(two)))], {"w": Held(weight)})

    wide = [values.astype(np.float64) for values in (one, two, weight)]
    got = (found.relative_norm, found.cosine, found.norm_a, found.norm_b)
    assert np.allclose(got, expected(wide[0] - wide[2], wide[1] - wide[2]))
    assert found.rank_a is None


def test_a_low_rank_and_a_replaced_weight_are_compared_by_rows():
    weight, left, right = normal(7, 5), normal(7, 2), normal(2, 5)
    same = (weight + dense(left, right)).astype(np.float32)

    found = only([on("w", low_rank(left, right))], [on("w", Replacement(Held(same)))], {"w": Held(weight)})

    assert found.relative_norm < 1e-6
    assert (found.rank_a, found.rank_b) == (2, None)


def test_without_the_base_a_replaced_weight_is_only_listed():
    effects = [on("w", Replacement(Held(normal(3, 3))))]

    found = only(effects, effects, None)

    assert found.module == "w"
    assert found.relative_norm is None


def test_rows_that_only_one_has_count_as_a_change():
    weight, stored = normal(4, 2), normal(6, 2)
    grown = on("w", RowExtension(Held(stored), 4), shape=(6, 2))
    plain = on("w", Replacement(Held(weight)))

    found = only([grown], [plain], {"w": Held(weight)})

    assert found.norm_a == pytest.approx(np.linalg.norm(stored[4:]))
    assert found.norm_b == 0


def test_heads_of_two_widths_can_be_compared():
    one = on("w", Replacement(Held(normal(3, 2))), shape=(3, 2))
    two = on("w", Replacement(Held(normal(5, 4))), shape=(5, 4))

    found = only([one], [two], {"w": Held(normal(3, 2))})

    assert found.relative_norm > 0


def test_large_factors_are_compared_in_little_memory():
    width, rank = 16384, 16
    sides = [[on("w", low_rank(normal(width, rank, seed=s), normal(rank, width, seed=s + 1)))] for s in (1, 5)]

    tracemalloc.start()
    found = only(sides[0], sides[1], None)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()

    assert peak < 100 << 20
    assert abs(found.cosine) < 0.1


@pytest.mark.skipif(not corpus.has_corpus(), reason=corpus.MISSING)
def test_two_real_versions_differ_as_their_dense_changes_do():
    from deltareg.delta.kinds import all_kinds
    from tests.folders import open_folder

    view, weights = corpus.base("tinyllama")
    sides = []
    for name in ("lora", "lora_v2"):
        folder = open_folder(corpus.CORPUS / "deltas" / "tinyllama" / name)
        kind = all_kinds()["peft LORA"].parse(folder.files, view)
        sides.append(kind.effects(folder.tensors, view))

    found = by_module(sides[0], sides[1], weights)

    dense_found = by_module(opaque(sides[0]), opaque(sides[1]), weights)
    assert len(found) == 14
    for name, difference in found.items():
        other = dense_found[name]
        assert difference.relative_norm == pytest.approx(other.relative_norm, rel=1e-5)
        assert difference.cosine == pytest.approx(other.cosine, rel=1e-4)
        assert (difference.rank_a, difference.rank_b) == (4, 8)
        assert 0.1 < difference.overlap < 0.6


def by_module(a, b, base):
    return {difference.module: difference for difference in weight_differences(a, b, base)}


def opaque(effects):
    return [on(effect.target, Opaque(effect.update)) for effect in effects]


class Opaque:
    """An update that hides its factors."""

    needs_whole = replaces = False

    def __init__(self, update):
        self._update = update

    def fold(self, weight, start, stop, ops):
        return self._update.fold(weight, start, stop, ops)


def manifest(*, config, tensors, files, kind="lora"):
    """Build a manifest of tensors by name and value, and files by path and text."""
    piece = Piece(tensor_digest("U8", [1], [b"x"]), "U8", (1,), 1)
    listed = tuple(
        ManifestTensor("a.safetensors", name, "", "", "U8", (1,), tensor_digest("U8", [1], [value]))
        for name, value in sorted(tensors.items())
    )
    texts = tuple(
        ManifestFile(path, 1, sha256_of(text), piece, is_tensors=False) for path, text in sorted(files.items())
    )
    return Manifest(kind, "", True, None, config, listed, texts)


ONE = manifest(
    config={"r": 4, "same": 1, "gone": True},
    tensors={"a": b"1", "b": b"2", "c": b"3"},
    files={"x.json": b"1", "y.md": b"2"},
)
TWO = manifest(
    config={"r": 8, "same": 1},
    tensors={"a": b"1", "b": b"9", "d": b"4"},
    files={"x.json": b"3", "z.md": b"2"},
    kind="full",
)


def test_tensors_are_compared_by_digest():
    found = tensor_changes(ONE, TWO)

    assert (found.added, found.removed, found.changed) == (("d",), ("c",), ("b",))
    assert found.identical == 1


def test_settings_are_compared_field_by_field():
    assert field_changes(ONE, TWO) == [
        FieldChange("config.gone", True, None),
        FieldChange("config.r", 4, 8),
        FieldChange("kind", "lora", "full"),
    ]


def test_files_are_compared_by_digest():
    assert file_changes(ONE, TWO) == [
        FileChange("x.json", "changed"),
        FileChange("y.md", "removed"),
        FileChange("z.md", "added"),
    ]
