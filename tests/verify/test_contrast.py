"""How far two outputs are apart: distributions, classes, states, and what cannot be compared."""

import numpy as np
import pytest

from deltareg_verify.engine.contrast import contrast, of_scores, of_states

RANDOM = np.random.default_rng(7)
A, B = (RANDOM.normal(size=(100, 17)).astype(np.float32) for _ in range(2))


def softmax(x):
    e = np.exp(x.astype(np.float64))
    return e / e.sum(-1, keepdims=True)


def cosine(x):
    found = of_states(A, x)
    assert found is not None
    return found.cosine


def test_divergence_is_summed_over_tokens():
    found = of_scores(A, B)

    p, q = softmax(A), softmax(B)
    assert found.kl == pytest.approx((p * np.log(p / q)).sum())
    assert found.agreed == (A.argmax(1) == B.argmax(1)).sum()
    assert found.mean_abs == pytest.approx(np.abs(A - B).mean())
    assert not found.is_alike


def test_virtual_tokens_before_the_others_are_left_out():
    found = of_scores(np.vstack([B[:5], A]), A)

    assert (found.places, found.kl, found.is_alike) == (100, 0, True)


def test_a_grown_vocabulary_is_compared_where_both_have_it():
    found = of_scores(np.hstack([A, A[:, :2] - 9]), A)

    assert found.kl == 0
    assert found.narrower == 2
    assert not found.is_alike


def test_values_that_are_not_finite_agree_with_nothing():
    sick = A.copy()
    sick[3, 2] = np.nan

    found = of_scores(A, sick)

    assert (found.kl, found.agreed) == (None, 99)


def test_states_are_compared_by_direction():
    assert [cosine(2 * A), cosine(-A), cosine(0 * A)] == pytest.approx([1, -1, 0])
    assert cosine(A) == 1


def test_outputs_with_nothing_in_common_cannot_be_compared():
    assert contrast({"logits": A}, {"last_hidden_state": A}) is None
    assert of_states(A, A[:, :3]) is None


def test_one_score_alone_is_a_state_and_no_distribution():
    found = contrast({"logits": A[:1, 0]}, {"logits": B[:1, 0]})

    assert found is not None
    assert found.kl is None
