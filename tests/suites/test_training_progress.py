"""An unfinished training is told from one that ended, was stopped, or has no plan."""

import pytest
from pydantic import TypeAdapter, ValidationError

from deltareg.suites.training_progress import TrainingProgress

LIMITS = {"least_share": 0.5, "most_rate_left": 0.5}


@pytest.mark.parametrize(
    ("progress", "is_unfinished"),
    [
        (TrainingProgress(120, 360, 0.67), True),
        (TrainingProgress(3, 360, 0.3), False),  # its rate still rises; a check cannot know
        (TrainingProgress(360, 360, 0.0), False),
        (TrainingProgress(200, 360, 0.6), False),  # more than half of it
        (TrainingProgress(120, 360, 1.0), False),  # a constant rate has no end
        (TrainingProgress(120, 360, 0.67, is_chosen=True), False),
        (TrainingProgress(120, 0, 0.67), False),  # nobody knows the plan
    ],
)
def test_what_is_unfinished(progress, is_unfinished):
    assert progress.is_unfinished(**LIMITS) is is_unfinished


def test_it_is_told_in_words():
    assert TrainingProgress(1200, 3600, 2 / 3).description == "step 1,200 of 3,600, the rate at 67% of its full"
    assert TrainingProgress(7, 0).description == "step 7"
    assert TrainingProgress(7, 9, is_chosen=True).description == ("step 7 of 9, chosen by its evaluation")


@pytest.mark.parametrize(
    "wrong",
    [
        {"step": -1, "planned": 3},
        {"step": 1, "planned": -3},
        {"step": 10**400, "planned": 1},
        {"step": 1, "planned": 3, "rate_left": float("nan")},
        {"step": 1, "planned": 3, "rate_left": -1},
        {"step": "many", "planned": 3},
        {"planned": 3},
        [1, 3],
    ],
)
def test_what_is_no_progress_is_refused(wrong):
    with pytest.raises(ValidationError):
        TypeAdapter(TrainingProgress).validate_python(wrong)
