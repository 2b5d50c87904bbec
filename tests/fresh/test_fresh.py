"""Fresh deltas of many architectures are right, or refused by name; none is silently wrong."""

from collections import Counter

import pytest

from tests.fresh.bases import BASES
from tests.fresh.outcomes import Outcome
from tests.fresh.plan import outcomes_on, sliced
from tests.fresh.rules import complaint

pytestmark = pytest.mark.filterwarnings("ignore")  # what the libraries say to each other
_MADE = ("right", "refused", "wrong", "told", "doubted")
_SLICE = 11


@pytest.mark.parametrize("base", sliced(_SLICE))
def test_a_fresh_delta_is_right_or_refused_by_name(tmp_path, base):
    outcome = first_made(base, tmp_path)

    assert complaint(outcome) == ""


def first_made(base, folder):
    """Give what became of the first delta that can be made on a base, or on those after it."""
    names = list(BASES)
    return next(
        outcome
        for name in names[names.index(base) :]
        for outcome in outcomes_on(name, folder / name.replace("/", "-"))
        if outcome.result in _MADE
    )


@pytest.fixture(scope="module")
def everything(tmp_path_factory):
    """Make all that is planned, one delta at a time."""
    found: list[Outcome] = []
    for base in BASES:
        found += outcomes_on(base, tmp_path_factory.mktemp("fresh") / "made")
    return found


@pytest.mark.soak
def test_no_fresh_delta_is_silently_wrong_or_refused_without_need(everything):
    assert [told for outcome in everything if (told := complaint(outcome))] == []


@pytest.mark.soak
def test_there_are_as_many_as_they_should_be(everything):
    made = [outcome for outcome in everything if outcome.result in _MADE]
    counts = Counter(outcome.result for outcome in made)

    assert len(made) >= 300
    assert len({outcome.architecture for outcome in made}) >= 45
    assert counts["right"] > len(made) // 2
    assert counts["doubted"] <= len(made) // 50
