"""Which recipe is tried on which base: all that a seed says, always in the same order."""

import zlib
from collections.abc import Iterator
from pathlib import Path

from tests.fresh.anatomy import Anatomy
from tests.fresh.bases import BASES
from tests.fresh.edits import EDITED
from tests.fresh.lora import LORA
from tests.fresh.others import OTHERS
from tests.fresh.outcomes import Outcome, run, workplace
from tests.fresh.recipes import Recipe
from tests.fresh.whole import WHOLE

RECIPES: dict[str, Recipe] = {**LORA, **OTHERS, **WHOLE, **EDITED}
SEED = 0
_EACH = 24  # one recipe in so many is tried on a base
_EACH_OF_ENDS = 3  # and of those that touch tied weights, on a base that has some
_OF_ENDS = ("head", "embedding", "ends", "tokens", "untied")


def planned(base: str, anatomy: Anatomy, *, seed: int = SEED) -> list[str]:
    """Give the recipes for a base: a part of all, and where weights are tied more that touch them.

    Args:
        base: Its name.
        anatomy: What it has.
        seed: Another seed gives another part.
    """
    start = zlib.crc32(base.encode()) + seed
    return [
        title
        for at, title in enumerate(RECIPES)
        if (start + at) % _EACH == 0 or (anatomy.is_tied and (start + at) % _EACH_OF_ENDS == 0 and _is_of_ends(title))
    ]


def _is_of_ends(title: str) -> bool:
    return any(word in title for word in _OF_ENDS)


def outcomes_on(base: str, folder: Path, *, seed: int = SEED) -> Iterator[Outcome]:
    """Make the planned deltas of a base, one at a time, and give what becomes of each."""
    with workplace(base, folder) as place:
        for title in planned(base, place.anatomy, seed=seed):
            outcome = run(place, title, RECIPES[title], seed=seed)
            if outcome.result != "not for it":
                yield outcome


def sliced(count: int) -> list[str]:
    """Give some bases, evenly spread."""
    names = list(BASES)
    return [names[at * len(names) // count] for at in range(count)]
