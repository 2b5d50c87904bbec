"""The measures of each task, and the scale on which people think of losses in them.

People state losses of shares in points: 5 points are 0.05. They state losses of perplexity in
percent of its former value; it is compared by its logarithm, so a rise by a tenth is log(1.1)
wherever it begins.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field

from deltareg.suites.drafting.rows import Task

LITTLE = 0.5
"""Which share of what is usual counts as little: versions that agree more than that by chance."""


@dataclass(frozen=True, slots=True)
class DraftMeasure:
    """The facts about a comparing check that a margin depends on.

    Attributes:
        check: Its name.
        told: Its measure, in words.
        is_relative: Whether losses are relative to the former value, as for perplexity.
        greater_is_better: Whether more is better.
        spread: The usual standard deviation of the differences of single samples, on its scale.
        margin: The usual margin, as people write it.
        whole: The best value; a point is a hundredth of it.
        parameters: Parameters of the check that differ from its defaults.
        form: The form of samples: `texts`, `labelled`, `targets`, `ranked`, `pairs`.
        most: The most samples that a suite takes, given the time of each.
    """

    check: str
    description: str
    is_relative: bool = False
    greater_is_better: bool = True
    spread: float = 0.4
    margin: float = 0.05
    whole: float = 1.0
    parameters: Mapping[str, str | int] = field(default_factory=dict[str, "str | int"])
    form: str = "texts"
    most: int = 2_000

    @property
    def term(self) -> str:
        """The term of a threshold that a margin is written in."""
        return "min_relative_change" if self.is_relative else "min_absolute_change"

    def to_scale(self, loss: float) -> float:
        """Convert a loss from people's unit to the scale of comparisons."""
        return math.log1p(loss) if self.is_relative else loss

    def from_scale(self, loss: float) -> float:
        """Convert a loss from the scale of comparisons to people's unit."""
        return math.expm1(loss) if self.is_relative else loss

    def say(self, loss: float) -> str:
        """Format a loss: `4 points`, `12 %`; both are hundredths."""
        hundredths = 100 * loss / self.whole
        number = f"{hundredths:.0f}" if abs(hundredths) >= 10 else f"{hundredths:.2g}"
        return f"{number} %" if self.is_relative else f"{number} point{'' if number == '1' else 's'}"


PERPLEXITY = DraftMeasure("perplexity", "perplexity", is_relative=True, greater_is_better=False, spread=0.3)
FORGETTING = DraftMeasure("forgetting", "general perplexity", is_relative=True, greater_is_better=False, spread=0.3)
_OF_ANSWERS = DraftMeasure(
    "target_perplexity", "perplexity of answers", is_relative=True, greater_is_better=False, spread=0.4, form="targets"
)
_CHRF = DraftMeasure(
    "written_text",
    "chrF",
    spread=15.0,
    margin=3.0,
    whole=100.0,
    form="targets",
    parameters={"measure": "chrf"},
    most=500,
)
_FOUND = DraftMeasure("text_retrieval", "reciprocal rank", spread=0.3, form="ranked", parameters={"measure": "mrr"})
_BY_TASK: dict[Task, tuple[DraftMeasure, DraftMeasure | None]] = {
    "lm": (PERPLEXITY, None),
    "chat": (_OF_ANSWERS, None),
    "classify": (DraftMeasure("accuracy", "accuracy", form="labelled"), None),
    "retrieve": (_FOUND, None),
    "translate": (_CHRF, _OF_ANSWERS),
    "caption": (DraftMeasure("retrieval", "recall at 1", form="pairs", most=500), None),
}


def measures() -> dict[str, DraftMeasure]:
    """Return all measures by the name of their check."""
    return {one.check: one for task_measures in _BY_TASK.values() for one in task_measures if one is not None}


def measures_of(task: Task) -> tuple[DraftMeasure, DraftMeasure | None]:
    """Return the measure of a task, and one that shows smaller losses on the same samples.

    The first one is the quality of a version as people see it. Generated text changes late and in
    leaps; the likelihood of the right text shows earlier what a version has lost.
    """
    return _BY_TASK[task]
