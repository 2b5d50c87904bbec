"""The second planted set: which healthy deltas there are, and which are broken how.

Everything comes twice, with other seeds, rates and lengths: once in the half that thresholds may be
set on, once in the half that is told of.
"""

from collections.abc import Iterator
from dataclasses import dataclass

from tests.planted.more.broken_files import EDITED
from tests.planted.more.broken_training import TRAINED
from tests.planted.more.orders import HALVES, RECIPES, SEEDS, Half, Order, Recipe, recipe

PLACES: dict[str, list[str]] = {
    "minus_one": ["llama/ia3", "topics/ia3"],
    "layers_exchanged": ["llama/lora-all", "minilm/lora-qv", "shapes/lora-all"],
    "shard_twice": ["code/lora-all", "speech/lora-all"],
    "type_unmoved": ["llama/lora-all", "digits/lora-mlp", "numbers/lora-all"],
    "runs_mixed": ["llama/lora-qv", "topics/lora-all", "llama/vera"],
    "rank_cut": ["code/lora-attn", "minilm/lora-all"],
    "alpha_doubled": ["llama/rslora", "digits/lora-qv"],
    "alpha_halved": ["code/lora-all", "shapes/lora-qv"],
    "root_of_rank": ["llama/rslora", "numbers/lora-all"],
    "sign_of_one_layer": ["llama/lora-all", "digits/lokr", "speech/lora-attn"],
    "negated": ["code/bitfit", "minilm/lora-qv"],
    "merged_twice": ["llama/full", "digits/full"],
    "head_of_another_run": ["topics/lora-qv"],
    "classes_reordered": ["topics/lora-all", "digits/full"],
    "drifted": ["minilm/bitfit"],
    "quantised_badly": ["llama/full", "numbers/full", "minilm/lora-all", "crepe/full"],
    "rows_exploded": ["llama/lora-qv", "shapes/full", "crepe/lora-conv"],
    "rows_outlying": ["code/lora-attn", "minilm/lora-qv", "topics/lora-qv"],
    "noise_5": ["llama/lora-all", "digits/full"],
    "noise_20": ["code/full", "shapes/full", "speech/lora-all"],
    "optimiser_saved": ["llama/full", "digits/lora-qv", "crepe/full"],
    "average_unstarted": ["code/lora-all", "shapes/lora-qv"],
    "rope_layout": ["llama/lora-qv", "llama/full"],
    "heads_reordered": ["code/prefix"],
    "keys_exchanged": ["llama/full", "digits/lora-qv", "numbers/lora-qv"],
    "rows_rolled": ["llama/lora-all", "speech/lora-attn"],
    "bits_misread": ["minilm/lora-all", "code/lora-attn"],
    "clipped": ["llama/rslora", "crepe/full"],
    "pruned": ["digits/lora-mlp", "code/full"],
    "words_shifted": ["llama/full", "numbers/full"],
    "norms_of_another_run": ["crepe/full"],
    "labels_shifted": ["llama/lora-all", "numbers/lora-all"],
    "wrong_template": ["llama/lora-all"],
    "tokenizer_offset": ["code/lora-all", "topics/lora-qv"],
    "end_masked": ["llama/lora-qv", "numbers/lora-qv"],
    "padding_learnt": ["llama/lora-qv"],
    "repeated": ["code/lora-attn"],
    "one_class": ["digits/lora-qv", "topics/lora-all"],
    "misaligned": ["minilm/lora-qv", "digits/lora-mlp", "speech/lora-all", "shapes/lora-all"],
    "unnormalised": ["digits/full"],
    "half_rate": ["speech/lora-attn"],
    "copied_source": ["numbers/lora-all"],
    "only_attracted": ["minilm/lora-all", "shapes/lora-qv"],
    "octave_wrong": ["crepe/lora-conv"],
    "half_trained": ["llama/lora-qv", "numbers/lora-qv"],
    "memorised": ["code/full", "topics/lora-qv"],
    "forgetful": ["llama/full", "digits/full"],
    "low_precision": ["code/full", "shapes/full"],
    "earlier_base": ["llama/lora-all", "code/lora-all", "topics/lora-all"],
}
FAULTS = (*EDITED, *TRAINED)


@dataclass(frozen=True, slots=True)
class Item:
    """A delta of the set.

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
        return Order.of(self.recipe, SEEDS[self.half])

    @property
    def order(self) -> Order:
        """Order what is trained for it, before anything is done to its files."""
        change = TRAINED.get(self.fault)
        return change(self.healthy) if change else self.healthy

    @property
    def other(self) -> Order:
        """Order the healthy delta of the other half: the line's promoted version, another run."""
        (half,) = (half for half in HALVES if half != self.half)
        return Order.of(self.recipe, SEEDS[half])


def second_set() -> list[Item]:
    """Give the whole set, healthy ones first."""
    return [*_healthy(), *_broken()]


def _healthy() -> Iterator[Item]:
    for half in HALVES:
        yield from (Item(one, "", half) for one in RECIPES)


def _broken() -> Iterator[Item]:
    for half in HALVES:
        for fault, places in PLACES.items():
            yield from (Item(recipe(place), fault, half) for place in places)
