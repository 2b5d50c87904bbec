"""Short trainings that go wrong: a healthy version, trained on from where it is, on spoilt rows.

Of a user's rows a part is learnt from and the rest is held back, to be judged and to measure the harm
on. Each training goes on until the harm is as large as is asked for, or its steps or time are over.
What did no harm worth the name is told as that, and is no fault that a suite could miss.
"""

import math
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from deltareg.errors import InvalidInput
from deltareg.suites.base_probes import draw
from deltareg.suites.samples import Samples
from deltareg.suites.suite import Suite
from deltareg.tensors.array import F32
from deltareg_verify.engine.engine import DeltaEngine
from deltareg_verify.engine.measures.word_order import find_understood
from deltareg_verify.engine.training_rows import TrainingRows, training_rows
from deltareg_verify.workbench.faults.training import TrainingFault

if TYPE_CHECKING:
    from deltareg_verify.engine.torch_engine import DeltaTrainer

Values = Mapping[str, F32]
LEAST_ROWS = 12
_SHARE, _LEAST, _MOST = 1 / 3, 8, 64  # of rows, how many are learnt from
_MOST_MEASURED, _MOST_GENERAL = 64, 24
_BATCH, _STEPS, _EVERY, _RATE = 8, 60, 4, 0.06
_HALVINGS, _SLACK, _HURRY = 4, 0.25, 1.15
_GENERAL_CHECKS = frozenset({"forgetting", "perplexity"})
MATERIAL = 0.05
"""Perplexity on held rows that is so much worse is harm, as a share; of right answers two points are."""
MATERIAL_RIGHT, MATERIAL_GENERAL = 0.02, 0.33
_GOAL, _GOAL_RIGHT, _GOAL_GENERAL, _STAGE, _STAGE_RIGHT = 0.10, 0.05, 0.5, 0.025, 0.01


@dataclass(frozen=True, slots=True)
class Harm:
    """What a training cost, on rows that nothing has learnt from.

    Attributes:
        on: The set of the rows, or `general`.
        value: By how much worse they are, as a share of perplexity, or of right answers in points.
        is_share: Whether it is a share.
        is_material: Whether it is worth the name.
        steps: How many steps the training took.
    """

    on: str
    value: float
    is_share: bool
    is_material: bool
    steps: int


@dataclass(frozen=True, slots=True)
class SplitRows:
    """Rows to learn from, and rows held back.

    Attributes:
        name: The probe set that they are of.
        learnt: The rows to learn from.
        held: The rows that nobody learns from.
    """

    name: str
    learnt: Samples
    held: Samples


@dataclass(slots=True)
class SpoiltVersion:
    """What came of a training.

    Attributes:
        stages: The values of each version that it left, in order.
        harm: What the last one costs.
    """

    stages: list[Values]
    harm: Harm


def split_rows(
    suite: Suite, read: Callable[[str], Samples], *, training: Samples | None, seed: int
) -> SplitRows | None:
    """Choose the rows of a suite to learn from.

    Args:
        suite: The suite.
        read: Reads a probe set by name.
        training: The user's own rows to train on; None splits those of the suite.
        seed: Of the choice.
    """
    names = dict.fromkeys(one.probes for one in suite.checks if one.probes and one.threshold)
    sets = {name: read(name) for name in names if name in suite.sets}
    fits = [name for name, one in sets.items() if one.targets or one.labels is not None]
    name = next(iter([*fits, *sets]), None)
    if name is None:
        return None
    samples = sets[name]
    if training is not None:
        return SplitRows(name, training, samples)
    if len(samples) < LEAST_ROWS:
        return None
    count = min(_MOST, max(_LEAST if len(samples) >= 2 * _LEAST else len(samples) // 3, round(_SHARE * len(samples))))
    order = np.random.default_rng([seed, len(samples)]).permutation(len(samples))
    return SplitRows(name, samples.select_rows(np.sort(order[:count])), samples.select_rows(np.sort(order[count:])))


@dataclass(slots=True)
class ShortTrainings:
    """Trains one healthy version on spoilt rows, from its own values on.

    Attributes:
        trainer: The trainer of its tensors.
        engine: The version on its base.
        rows: The user's rows.
        general: General texts, which a version must not forget; empty for none.
        whole: The values of the healthy version.
        neutral: Those that change nothing, as far as they are known.
        seconds: The most that one training may take.
    """

    trainer: "DeltaTrainer"
    engine: DeltaEngine
    rows: SplitRows
    general: Samples
    whole: Values
    neutral: Values
    seconds: float = 30.0
    _held: TrainingRows | None = None
    _texts: TrainingRows | None = None
    _before: dict[str, tuple[float, float]] = field(default_factory=dict[str, tuple[float, float]])

    def train(self, fault: TrainingFault, random: np.random.Generator) -> SpoiltVersion:
        """Train until the fault has done its harm, or steps or time are over.

        Raises:
            InvalidInput: There is nothing to train, or to spoil.
        """
        spoilt = fault.spoil(self.rows.learnt, random)
        if spoilt is None:
            raise InvalidInput("there is nothing of the kind in the rows")
        rows = training_rows(self.engine, spoilt)
        if rows is None:
            raise InvalidInput("the network has no loss on rows of this kind")
        self._measure_whole()
        if fault.ends == "forgotten" and self._texts is None and rows.form == "causal":
            raise InvalidInput("there is no general text that the base understands")
        return self._descend(fault, rows, random)

    def _descend(self, fault: TrainingFault, rows: TrainingRows, random: np.random.Generator) -> SpoiltVersion:
        trainer, until = self.trainer, time.monotonic() + self.seconds
        if fault.ends == "half" and all(np.array_equal(v, self.whole[n]) for n, v in self.neutral.items()):
            raise InvalidInput("nobody knows as what such a delta begins")
        values: Values = self.neutral if fault.ends == "half" else self.whole
        trainer.begin(values, rate=_RATE)
        progress = _Progress(self._goals(fault), values, self._measure_reach(fault) if fault.ends == "half" else 0.0)
        step = 0
        while step < _STEPS and not progress.is_over and time.monotonic() < until:
            step += 1
            batch = rows.select(random.choice(len(rows), min(_BATCH, len(rows)), replace=False))
            if not trainer.step(batch):
                raise InvalidInput("no loss of the network depends on the delta's tensors")
            if step % _EVERY == 0:
                now = trainer.values()
                progress.note(self._measure_reach(fault), now, partial(self._reached_with, fault))
                trainer.put(now)
                trainer.hurry(_HURRY)  # what does no harm at this rate does at another
        stages = progress.stages or [trainer.values()]
        trainer.put(stages[-1])
        return SpoiltVersion(stages, self._harm(fault, step))

    def _goals(self, fault: TrainingFault) -> list[float]:
        if fault.ends == "half":
            return [0.5]
        if self._is_general(fault):
            return [_GOAL_GENERAL]
        if self._has_classes:
            return [_STAGE_RIGHT * n for n in range(1, fault.stages + 1)] if fault.stages > 1 else [_GOAL_RIGHT]
        if fault.stages > 1:
            return [(1 + _STAGE) ** n - 1 for n in range(1, fault.stages + 1)]
        return [_GOAL]

    def _measure_reach(self, fault: TrainingFault) -> float:
        """Return how far a training has come, on the scale of its goals."""
        if fault.ends != "half":
            return self._worse(general=self._is_general(fault))
        assert self._held is not None, "measured"
        (begun, _), (whole, _) = self._before["neutral"], self._before["held"]
        return (begun - self.trainer.measure(self._held).loss) / max(begun - whole, 1e-9)

    def _reached_with(self, fault: TrainingFault, values: Values) -> float:
        self.trainer.put(values)
        return self._measure_reach(fault)

    def _harm(self, fault: TrainingFault, steps: int) -> Harm:
        own, is_share = self._worse(general=False), not self._has_classes
        least = MATERIAL if is_share else MATERIAL_RIGHT
        if self._is_general(fault):
            general = self._worse(general=True)
            if general >= MATERIAL_GENERAL or own < least:
                return Harm("general", general, is_share=True, is_material=general >= MATERIAL_GENERAL, steps=steps)
        return Harm(self.rows.name, own, is_share, own >= least, steps)

    def _worse(self, *, general: bool) -> float:
        """Return by how much the rows are worse than with the whole version."""
        rows = self._texts if general else self._held
        assert rows is not None, "measured"
        now, (loss, right) = self.trainer.measure(rows), self._before["general" if general else "held"]
        if self._has_classes:
            return right - now.right
        return math.expm1(min(now.loss - loss, 50.0))

    def _is_general(self, fault: TrainingFault) -> bool:
        return fault.ends == "forgotten" and self._texts is not None

    @property
    def _has_classes(self) -> bool:
        return self._held is not None and self._held.form == "classes"

    def _measure_whole(self) -> None:
        """Measure the whole version, once, and what is left of it where nothing was trained."""
        if self._before:
            return
        self._held = training_rows(self.engine, _some(self.rows.held, _MOST_MEASURED))
        if self._held is None:
            raise InvalidInput("the network has no loss on rows of this kind")
        if self._held.form == "causal" and self.general.texts:
            self._texts = self._find_known()
        for name, values, rows in (
            ("held", self.whole, self._held),
            ("neutral", self.neutral, self._held),
            ("general", self.whole, self._texts),
        ):
            if rows is not None:
                self.trainer.put(values)
                found = self.trainer.measure(rows)
                self._before[name] = (found.loss, found.right)

    def _find_known(self) -> TrainingRows | None:
        """Return the general texts that the base understands."""
        known = find_understood(self.engine, self.general, seed=0)
        rows = sorted(row for own in (known or {}).values() for row in own)
        return training_rows(self.engine, _some(self.general.select_rows(rows), _MOST_GENERAL)) if rows else None


@dataclass(slots=True)
class _Progress:
    """The goals of a training, and the values with which each was reached."""

    goals: list[float]
    values: Values
    reached: float
    stages: list[Values] = field(default_factory=list[Values])

    @property
    def is_over(self) -> bool:
        """Whether all goals were reached."""
        return len(self.stages) == len(self.goals)

    def note(self, reached: float, values: Values, measure: Callable[[Values], float]) -> None:
        """Note how far a training has come; where it passed a goal, the values at the goal are looked for."""
        while not self.is_over and reached >= self.goals[len(self.stages)]:
            self.stages.append(self._at(self.goals[len(self.stages)], reached, values, measure))
        self.values, self.reached = values, reached

    def _at(self, goal: float, reached: float, values: Values, measure: Callable[[Values], float]) -> Values:
        """Return values between the last ones and these that just reach a goal, by halving."""
        low, high, best = 0.0, 1.0, values
        for _ in range(_HALVINGS if reached > goal * (1 + _SLACK) else 0):
            share = (low + high) / 2
            between = {n: (self.values[n] + share * (v - self.values[n])).astype(np.float32) for n, v in values.items()}
            now = measure(between)
            if now < goal:
                low = share
                continue
            high, best = share, between
            if now <= goal * (1 + _SLACK):
                break
        return best


def general_texts(
    suite: Suite, read: Callable[[str], Samples], but: str, identity: str, config: Mapping[str, object]
) -> Samples:
    """Return general texts: those of the suite, or those that are drawn for the base.

    Args:
        suite: The suite.
        read: Reads a probe set by name.
        but: The set that holds the user's rows.
        identity: The base's root, which seeds the draw.
        config: The base's configuration.
    """
    names = (one.probes for one in suite.checks if one.check in _GENERAL_CHECKS and one.probes != but)
    own = next((samples for name in names if name in suite.sets and (samples := read(name)).texts), None)
    if own is not None:
        return own
    drawn = draw(identity, config).texts
    return Samples(tuple(one.text for one in drawn), groups=tuple(one.name for one in drawn))


def _some(samples: Samples, most: int) -> Samples:
    return samples.select_rows(np.linspace(0, len(samples) - 1, min(most, len(samples))).astype(np.int64))
