"""The measures of each task, and the scale on which people think of losses in them.

People state losses of shares in points: 5 points are 0.05. They state losses of perplexity in
percent of its former value; it is compared by its logarithm, so a rise by a tenth is log(1.1)
wherever it begins.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field

from deltareg.suites.drafting.answer_forms import AnswerForm
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
        name: The name of its comparison where it stands beside the measure of a task.
        is_share: Whether it is a share of samples that are right.
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
    name: str = "likely"
    is_share: bool = False

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
CHOICES = DraftMeasure(
    "choices",
    "probability of the right answer among others",
    spread=0.4,  # of versions by two seeds, 0.13 to 0.25
    form="targets",
    most=500,
    name="chosen",
)
_SURE = DraftMeasure(
    "choices",
    "probability of the right answer",
    spread=0.4,
    form="targets",
    parameters={"measure": "alone"},
    most=500,
    name="sure",
)
RIGHT = DraftMeasure(
    "answers",
    "right answers",
    form="targets",
    parameters={"match": "begins", "new_tokens": 16},
    most=500,
    name="right",
    is_share=True,
)
_FORM = DraftMeasure(
    "written_form",
    "likeness in length and repetition",
    spread=0.25,
    margin=0.1,
    form="targets",
    parameters={"new_tokens": 32, "most": 40},
    most=40,
    name="form",
)
_ACCURACY = DraftMeasure("accuracy", "accuracy", form="labelled", is_share=True)
_RECALL = DraftMeasure("retrieval", "recall at 1", form="pairs", most=500, is_share=True)
TaskMeasures = tuple[DraftMeasure, tuple[DraftMeasure, ...]]
_BY_TASK: dict[Task, TaskMeasures] = {
    "lm": (PERPLEXITY, ()),
    "chat": (_OF_ANSWERS, (_FORM,)),
    "classify": (_ACCURACY, ()),
    "retrieve": (_FOUND, ()),
    "translate": (_CHRF, (_OF_ANSWERS,)),
    "caption": (_RECALL, ()),
}
_BY_ANSWERS: dict[tuple[Task, AnswerForm], TaskMeasures] = {
    ("chat", "few"): (CHOICES, (_SURE, RIGHT)),
    ("chat", "short"): (CHOICES, (_SURE, RIGHT)),
    ("chat", "mixed"): (_OF_ANSWERS, (CHOICES, _FORM)),
    ("translate", "few"): (CHOICES, (_SURE, RIGHT)),
    ("translate", "short"): (_CHRF, (_OF_ANSWERS, CHOICES)),
}
"""Where the answers of rows call for more than their task does."""


def measures() -> dict[str, DraftMeasure]:
    """Return all measures by the name of their check."""
    chosen = [*_BY_TASK.values(), *_BY_ANSWERS.values()]
    return {one.check: one for first, others in chosen for one in (first, *others)}


def measures_of(task: Task, answers: AnswerForm | None = None) -> TaskMeasures:
    """Return the measure of a task, and others that show on the same samples what it misses.

    The first one is the quality of a version, as far as these samples can show it. Generated text
    changes late and in leaps; the likelihood of the right text shows earlier what a version has
    lost, and nothing of what it writes in its place.

    Args:
        task: The task of the rows.
        answers: The form of their answers; None for rows without any.
    """
    return _BY_ANSWERS.get((task, answers), _BY_TASK[task]) if answers is not None else _BY_TASK[task]
