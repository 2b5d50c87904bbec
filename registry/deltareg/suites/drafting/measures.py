"""What a task is measured by, and on what scale losses of that measure are thought of.

Shares are thought of in points, and 5 of them are 0.05. Perplexity is thought of in percent of
what it was, and compared by its logarithm, so a rise by a tenth is log(1.1) wherever it begins.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field

from deltareg.suites.drafting.rows import Task

LITTLE = 0.5
"""Which share of what is usual counts as little: versions that agree more than that by chance."""


@dataclass(frozen=True, slots=True)
class DraftMeasure:
    """A check that compares, as far as a margin for it has to be known.

    Attributes:
        check: Its name.
        told: What it measures, in words.
        is_relative: Whether losses are a share of what was there, as of perplexity.
        greater_is_better: Whether more is better.
        spread: How far the differences of single samples usually are apart, on its scale.
        margin: What may usually be lost, as people write it.
        whole: The best that there is, of which a point is a hundredth.
        parameters: What the check is told beside its defaults.
        form: In what form samples come: `texts`, `labelled`, `targets`, `ranked`, `pairs`.
        most: How many samples a suite takes at most, for the time that each takes.
    """

    check: str
    told: str
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
        """The term of a threshold in which a margin is written."""
        return "min_relative_change" if self.is_relative else "min_absolute_change"

    def to_scale(self, loss: float) -> float:
        """Give a loss, as people write it, on the scale of comparisons."""
        return math.log1p(loss) if self.is_relative else loss

    def from_scale(self, loss: float) -> float:
        """Give a loss on the scale of comparisons as people write it."""
        return math.expm1(loss) if self.is_relative else loss

    def say(self, loss: float) -> str:
        """Say a loss: `4 points`, `12 %`; both are hundredths."""
        hundredths = 100 * loss / self.whole
        number = f"{hundredths:.0f}" if abs(hundredths) >= 10 else f"{hundredths:.2g}"
        return f"{number} %" if self.is_relative else f"{number} point{'' if number == '1' else 's'}"


PERPLEXITY = DraftMeasure("perplexity", "perplexity", is_relative=True, greater_is_better=False, spread=0.3)
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
    """Give all measures by the name of their check."""
    return {one.check: one for task_measures in _BY_TASK.values() for one in task_measures if one is not None}


def measures_of(task: Task) -> tuple[DraftMeasure, DraftMeasure | None]:
    """Give what a task is measured by, and what shows smaller losses on the same samples.

    The first says in the words of people how good a version is. What is written changes late and
    by leaps; how likely the right text is tells before that what a version has lost.
    """
    return _BY_TASK[task]
