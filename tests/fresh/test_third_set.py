"""Deltas of families that were not taken: most are right and pass, and none is silently wrong."""

import pytest

from tests.fresh import diffused, families, kept, third_set
from tests.fresh.outcomes import run, workplace
from tests.fresh.rules import complaint

pytestmark = pytest.mark.filterwarnings("ignore")  # what the libraries say to each other
QUICK = [
    ("llava, a deeper eye", "lora on all"),
    ("qwen2_audio", "dora"),
    ("patchtst", "loha"),
    ("olmo_hybrid", "lora, norms saved"),
]
_LEAST, _PASSED = 150, 0.9


@pytest.mark.parametrize(("base", "title"), QUICK)
def test_a_delta_of_these_families_is_right_and_passes(tmp_path, base, title):
    with workplace(base, tmp_path / "made") as place:
        outcome = run(place, title, families.RECIPES[title], seed=families.SEED)

    assert (outcome.result, outcome.message) == ("right", "")


def test_a_lora_that_diffusers_writes_is_right_and_passes(tmp_path):
    case = diffused.make(tmp_path / "case", "SD3Transformer2DModel", "the pipeline's lora, patterns")

    outcome = kept.outcome_of(case, tmp_path)

    assert (outcome.result, outcome.message) == ("right", "")


@pytest.mark.soak
def test_most_of_them_pass_and_none_is_silently_wrong():
    outcomes = third_set.everything()
    shares = third_set.shares(outcomes)
    unfair = [told for o in outcomes if o.result != "doubted" and (told := complaint(o))]

    assert len(outcomes) >= _LEAST
    assert unfair == []
    assert shares["passed"] >= _PASSED
    assert all(o.code and o.message for o in outcomes if o.result == "refused")


@pytest.mark.soak
@pytest.mark.skipif(not third_set.OLDER.is_dir(), reason=third_set.NO_OLDER)
def test_those_of_earlier_releases_as_well(tmp_path):
    outcomes = [o for o in third_set.older(tmp_path) if o.result != "not made"]

    assert len(outcomes) >= 30
    assert [told for o in outcomes if o.result != "doubted" and (told := complaint(o))] == []
    assert third_set.shares(outcomes)["passed"] + third_set.shares(outcomes)["refused fairly"] >= _PASSED
