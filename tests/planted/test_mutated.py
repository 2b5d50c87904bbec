"""What changes the reading of a delta never passes; what changes its values needs a probe set."""

import pytest

from tests.planted.mutated import PLACES, READINGS, survey
from tests.planted.mutations import WAYS
from tests.planted.workshop import Workshop
from tests.small_networks import quiet

HARMLESS = {"orientation_flipped"}


def outcomes(found):
    """Give, for each way, all that became of its mutants."""
    return {way: {name for one in found if one.way == way for name in one.caught} for way in WAYS}


def assert_no_reading_passes(found):
    became = outcomes(found)
    assert all(became[way] == {"push"} for way in READINGS if became[way])
    assert all(became[way] == {"the same function"} for way in HARMLESS if became[way])
    assert not {one.way for one in found if one.caught == ("passes",)} & READINGS


@pytest.mark.soak
def test_no_mutation_of_the_reading_passes_on_any_delta(tmp_path):
    with quiet():
        found = survey(Workshop(tmp_path / "made"), tmp_path)

    assert {one.place for one in found} == set(PLACES)
    assert {one.way for one in found} == set(WAYS)
    assert_no_reading_passes(found)
