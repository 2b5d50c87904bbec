"""The third planted set: which healthy deltas there are, and which are broken how.

Everything comes twice, with other seeds, ranks, rates and lengths: once in the half that thresholds
may be set by, once in the half that is only told of.
"""

from collections.abc import Iterator
from dataclasses import dataclass

from tests.planted.third.broken import EDITED
from tests.planted.third.recipes import HALVES, RECIPES, Half, Order, Recipe, recipe
from tests.planted.third.spoilt import RUNS, TRAINED

DRIFT = "drift"
DRIFTS = 5
"""How many versions drift, each 2.8 % worse than the one before it."""
PLACES: dict[str, list[str]] = {
    "noise_25": ["route/lora-all", "route/full", "months/lora-all", "reports/lora-qv"],
    "shuffled_labels": ["route/lora-qv", "months/lora-all"],
    "half_trained": ["route/lora-all", "months/lora-qv", "reports/lora-all"],
    "forgetting": ["route/full", "months/full", "reports/full"],
    "wrong_template": ["route/lora-all", "months/lora-all"],
    "repetition": ["reports/lora-all"],
    "lowercased": ["route/lora-qv", "reports/lora-all"],
    "other_base": ["route/lora-all", "reports/lora-all"],
    "truncated": ["months/lora-all", "reports/lora-qv"],
    "end_leaked": ["reports/lora-all"],
    "end_unlearnt": ["route/lora-all", "months/lora-all"],
    "prompts_learnt": ["months/rslora"],
    "answers_asked": ["route/rslora"],
    "one_class": ["route/lora-qv"],
    "memorised": ["route/full", "reports/full"],
    "one_language": ["route/lora-all", "reports/full"],
    "classes_rotated": ["route/lora-all"],
    "months_from_zero": ["months/lora-all"],
    "spaces_lost": ["reports/lora-qv"],
    "ids_offset": ["reports/lora-all"],
    "labels_shifted": ["months/lora-qv"],
    "spiked": ["route/lora-all", "reports/full"],
    "low_precision": ["reports/full"],
    "stale_alpha": ["route/lora-all", "reports/rslora"],
    "sign_turned": ["route/lora-all", "reports/full"],
    "layers_exchanged": ["months/lora-all", "reports/lora-all"],
    "half_zero": ["route/dora", "reports/lora-all"],
    "noise_added": ["months/full", "reports/lora-qv"],
    "eight_bits": ["route/full", "months/lora-all"],
    "overflowed": ["reports/lora-f16"],
    "modules_exchanged": ["route/lora-all", "reports/full"],
    "runs_mixed": ["months/lora-all"],
    "soup": ["months/rslora"],
    "wrong_file": ["route/lora-all"],
    "rows_rolled": ["reports/bitfit", "route/full"],
    "applied_twice": ["route/full", "reports/full"],
    "two_bits": ["route/lora-all"],
    "transposed": ["reports/full"],
    "negated": ["reports/oft"],
    DRIFT: ["reports/lora-all", "reports/full", "route/lora-all"],
}
FAULTS = (*TRAINED, *EDITED, DRIFT)


@dataclass(frozen=True, slots=True)
class Item:
    """A delta of the set, or five of a line that drifts.

    Attributes:
        recipe: How its base was tuned.
        fault: What is wrong with it; empty when it is healthy.
        half: Which half of the set it is in.
    """

    recipe: Recipe
    fault: str
    half: Half

    @property
    def id(self) -> str:
        """Its name in tables and folders."""
        return f"{self.half}/{self.recipe.place}/{self.fault or 'healthy'}"

    @property
    def healthy(self) -> Order:
        """Order what it would be with nothing wrong."""
        return Order.of(self.recipe, self.half)

    @property
    def order(self) -> Order:
        """Order what is trained for it, before anything is done to its files."""
        if self.fault not in TRAINED:
            return self.healthy
        change = RUNS.get(self.fault)
        changed = change(self.healthy) if change else self.healthy
        return changed.with_(fault=self.fault)

    @property
    def other(self) -> Order:
        """Order the healthy delta of the other half: the line's promoted version, another run."""
        (half,) = (half for half in HALVES if half != self.half)
        return Order.of(self.recipe, half)


def third_set(half: Half | None = None) -> list[Item]:
    """Give the whole set or one half of it, healthy ones first."""
    return [*_healthy(half), *_broken(half)]


def _healthy(only: Half | None) -> Iterator[Item]:
    for half in HALVES if only is None else (only,):
        yield from (Item(one, "", half) for one in RECIPES)


def _broken(only: Half | None) -> Iterator[Item]:
    for half in HALVES if only is None else (only,):
        for fault, places in PLACES.items():
            yield from (Item(recipe(place), fault, half) for place in places)
