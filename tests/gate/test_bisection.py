"""Bisection: it finds the first bad version, with few judgements, whatever cannot be judged."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from deltareg.errors import Inconclusive, InvalidInput
from deltareg.gate.bisection import bisect


def judged(first_bad, *, skipped=()):
    """Make a judge that remembers what it was asked."""
    asked = []

    def judge(number):
        asked.append(number)
        if number in skipped:
            return "skip"
        return "bad" if number >= first_bad else "good"

    return judge, asked


@given(st.integers(2, 300).flatmap(lambda n: st.tuples(st.just(n), st.integers(2, n))))
def test_it_is_found_in_few_steps(line):
    length, first_bad = line
    judge, asked = judged(first_bad)

    found = bisect(range(1, length + 1), judge)

    assert (found.is_found, found.good, found.bad) == (True, first_bad - 1, first_bad)
    assert len(asked) == len(set(asked)) <= math.ceil(math.log2(length)) + 2


@given(st.integers(2, 40), st.sets(st.integers(2, 39)), st.data())
def test_the_first_bad_version_is_never_outside_of_what_is_told(length, skipped, data):
    skipped = {n for n in skipped if n < length}
    first_bad = data.draw(st.integers(2, length))
    judge, asked = judged(first_bad, skipped=skipped)

    found = bisect(range(1, length + 1), judge)

    assert found.good < first_bad <= found.bad
    assert set(found.skipped) == set(range(found.good + 1, found.bad)) <= skipped
    assert len(asked) == len(set(asked))


@pytest.mark.parametrize(
    ("numbers", "first_bad", "skipped", "error", "message"),
    [
        ([3], 3, (), InvalidInput, "the same version"),
        ([1, 2], 1, (), InvalidInput, "v1 was said to be good, and is bad"),
        ([1, 2], 3, (), InvalidInput, "v2 was said to be bad, and is good"),
        ([1, 2], 2, (2,), Inconclusive, "v2 cannot be judged"),
    ],
)
def test_wrong_ends_are_refused(numbers, first_bad, skipped, error, message):
    judge, _ = judged(first_bad, skipped=skipped)

    with pytest.raises(error, match=message):
        bisect(numbers, judge)
