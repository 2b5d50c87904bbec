"""Truncated factors beside a full decomposition in float64 by NumPy: values, optimal error, ranks."""

import numpy as np
import pytest

from deltareg.delta.extraction.truncation import RankChoice, truncate
from deltareg.errors import InvalidInput

SHAPES = [(60, 40), (40, 60), (33, 33), (200, 7), (1, 50), (50, 1)]


def change_of(shape, seed=0):
    """Make a change whose singular values fall off as those of a training do."""
    chance = np.random.default_rng(seed)
    left, _ = np.linalg.qr(chance.standard_normal((shape[0], min(shape))))
    right, _ = np.linalg.qr(chance.standard_normal((shape[1], min(shape))))
    return left * (0.02 * 0.8 ** np.arange(min(shape))) @ right.T


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("energy", [0.5, 0.9, 0.99, 0.9999])
def test_rank_values_and_error_are_those_of_the_full_decomposition(shape, energy):
    change = change_of(shape)
    exact = np.linalg.svd(change, full_matrices=False)
    held = np.cumsum(exact.S**2) / np.sum(exact.S**2)

    made = truncate(change, RankChoice(energy))

    rank = int(np.searchsorted(held, energy)) + 1
    assert made.right.shape[0] == rank
    values = np.linalg.svd(made.left @ made.right, compute_uv=False)[:rank]
    assert values == pytest.approx(exact.S[:rank], rel=1e-5)
    best = float(np.linalg.norm(exact.S[rank:]))  # Eckart and Young: no rank comes nearer
    assert made.lost == pytest.approx(best, rel=1e-6, abs=1e-7 * made.norm)
    assert made.lost == pytest.approx(np.linalg.norm(change - made.left @ made.right), rel=1e-12)
    assert made.norm == pytest.approx(np.linalg.norm(change))
    assert (made.lost / made.norm) ** 2 <= 1 - energy + 1e-9


@pytest.mark.parametrize("shape", SHAPES)
def test_a_fixed_rank_is_the_best_of_that_rank(shape):
    change = change_of(shape, seed=1)
    exact = np.linalg.svd(change, full_matrices=False)

    made = truncate(change, RankChoice(1.0, 3))

    rank = min(3, *shape)
    best = (exact.U[:, :rank] * exact.S[:rank]) @ exact.Vh[:rank]
    assert made.right.shape[0] == rank
    assert np.abs(made.left @ made.right - best).max() <= 1e-7 * exact.S[0]


@pytest.mark.parametrize("rank", [1, 4, 16])
def test_a_product_comes_back_with_its_rank(rank):
    chance = np.random.default_rng(rank)
    change = chance.standard_normal((48, rank)) @ chance.standard_normal((rank, 80)) * 0.01

    made = truncate(change, RankChoice(1.0))

    assert made.right.shape[0] == rank
    assert made.lost <= 1e-6 * made.norm


def test_both_factors_share_the_size_and_the_result_does_not_depend_on_signs():
    change = change_of((30, 20), seed=2)

    made = truncate(change, RankChoice(0.99))

    columns, rows = np.linalg.norm(made.left, axis=0), np.linalg.norm(made.right, axis=1)
    assert columns == pytest.approx(rows, rel=1e-5)
    tops = made.left[np.argmax(np.abs(made.left), axis=0), np.arange(made.left.shape[1])]
    assert np.all(tops > 0)


def test_the_largest_rank_bounds_what_the_energy_asks_for():
    change = change_of((60, 40))

    ranks = [truncate(change, choice).right.shape[0] for choice in (RankChoice(0.5, 8), RankChoice(0.9999, 8))]

    assert ranks[0] < ranks[1] == 8


@pytest.mark.parametrize("choice", [RankChoice(0.0), RankChoice(1.5), RankChoice(float("nan")), RankChoice(0.9, -1)])
def test_values_without_meaning_are_refused(choice):
    with pytest.raises(InvalidInput, match="is not"):
        choice.check()
