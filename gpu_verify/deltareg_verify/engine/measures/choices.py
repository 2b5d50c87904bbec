"""How probable the right answer of a sample is among the answers that other samples have.

Likelihoods are sums over the tokens of an answer, so that an answer counts as often as a network
that samples would give it: divided by its length, a long answer with a sure ending would win. An
answer that only begins another one has the likelihood of both; ends of turns in the targets, which
chat templates write, tell the two apart.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from deltareg.statistics.intervals import Interval, mean_interval
from deltareg.statistics.quantiles import TAIL
from deltareg.suites.estimate import of_ratio, within
from deltareg.suites.probe_set import Samples
from deltareg_verify.engine.changes import EngineSide, MeasureChange, RowMeasure, of_shares
from deltareg_verify.engine.engine import F64
from deltareg_verify.engine.measures.normal_forms import normalise_answer
from deltareg_verify.engine.measures.ranking import recall
from deltareg_verify.engine.measures.targets import target_likelihoods

ALONE = "alone"
"""The measure that needs no other answers: among all texts, which is what a network samples from."""
_DRAWN_FROM = 4  # times as many answers of about the same length


@dataclass(frozen=True, slots=True)
class AnswerOptions:
    """The answers that one sample chooses from.

    Attributes:
        texts: The right one first.
    """

    texts: tuple[str, ...]


def options_of(targets: Sequence[str], *, others: int, seed: int) -> list[AnswerOptions]:
    """Return for each target what it is held beside: all different answers, or some of about its length.

    Answers that differ in case, marks or articles alone are one.

    Args:
        targets: (n,): The right answer of each sample.
        others: How many others a sample chooses from, at most.
        seed: Of the draw.
    """
    forms = [normalise_answer(one) or one for one in targets]
    by_form = dict(zip(reversed(forms), reversed(targets), strict=True))  # the first spelling stands for all
    known = sorted(by_form)
    random = np.random.default_rng(seed)
    found: list[AnswerOptions] = []
    for form, target in zip(forms, targets, strict=True):
        rest: list[str] = [by_form[one] for one in known if one != form]
        if len(rest) > others > 0:
            alike = sorted(rest, key=lambda one: abs(len(one) - len(target)))[: _DRAWN_FROM * others]
            rest = [alike[at] for at in random.choice(len(alike), others, replace=False)]
        found.append(AnswerOptions((target, *rest) if others else (target,)))
    return found


def choice_scores(side: EngineSide, samples: Samples, options: Sequence[AnswerOptions]) -> list[F64] | None:
    """Return the log-likelihood of each sample's options in nats, the right one first.

    None for a network that neither goes on with text nor writes after reading.
    """
    counts = [len(one.texts) for one in options]
    rows = np.repeat(np.arange(len(options)), counts)
    asked = replace(samples.select_rows(rows), targets=tuple(text for one in options for text in one.texts))
    likelihoods = target_likelihoods(side, asked)
    if likelihoods is None:
        return None
    logs = np.array(likelihoods, np.float64)[:, 0]
    return np.split(logs, np.cumsum(counts)[:-1])


def probability(logs: F64) -> float:
    """Return the probability of the first of several options; 0 where its likelihood is no number.

    Args:
        logs: (n,): The log-likelihood of each, in nats.
    """
    sane = np.where(np.isnan(logs), -np.inf, logs)
    if not np.isfinite(sane[0]):
        return 0.0
    return float(1 / np.exp(sane - sane[0]).sum())


def probability_alone(logs: F64) -> float:
    """Return the probability of the first of several options among all texts; 0 where it is no number."""
    return float(np.exp(logs[0])) if np.isfinite(logs[0]) else 0.0


def is_first(logs: F64) -> float:
    """Return whether the first of several options is likelier than all others; equal ones are not."""
    return recall(logs, np.arange(len(logs)) == 0, within=1)


MEASURES: Mapping[str, tuple[str, Callable[[F64], float]]] = {
    "probability": ("probability of the right answer among others", probability),
    ALONE: ("probability of the right answer", probability_alone),
    "first": ("right answers that are likelier than others", is_first),
}
"""Name -> what it is in words, and its value for the likelihoods of one sample's options."""


def choice_measure(which: str, *, others: int, seed: int) -> RowMeasure:
    """Return a measure by the likelihoods of options.

    Args:
        which: One of `MEASURES`.
        others: How many others a sample chooses from, at most.
        seed: Of the draw of these.
    """
    _, value = MEASURES[which]
    count = 0 if which == ALONE else others

    def rows(side: EngineSide, samples: Samples) -> F64 | None:
        scores = choice_scores(side, samples, options_of(samples.targets, others=count, seed=seed))
        return None if scores is None else np.array([value(one) for one in scores], np.float64)

    return RowMeasure(rows, of_shares if which == "first" else _of_means)


def _of_means(before: F64, after: F64) -> MeasureChange:
    sizes = np.ones(len(after))
    steps = after - before

    def at(tail: float) -> Interval:
        return mean_interval(steps, sizes, tail=tail)

    change = within(float(steps.mean()), at(TAIL), len(steps))
    return MeasureChange(of_ratio(before, sizes), of_ratio(after, sizes), change, at=at)
