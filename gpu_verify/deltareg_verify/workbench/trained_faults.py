"""Faults of training in a backtest: each is trained, judged on rows that it has not seen, and told of."""

import time
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path

import numpy as np

from deltareg.errors import DeltaregError, Inconclusive, InvalidInput, NotFound
from deltareg.suites.probe_set import Samples, read_samples
from deltareg.suites.suite import ProbeSet
from deltareg_verify.engine.engine import DeltaEngine
from deltareg_verify.workbench.faults.training import TrainingFault
from deltareg_verify.workbench.short_training import LEAST_ROWS, ShortTrainings, SplitRows, general_texts, split_rows
from deltareg_verify.workbench.subject import Subject
from deltareg_verify.workbench.trials import TrialOutcome, Trials, caught_by

Row = dict[str, object]


class TrainedFaults:
    """Trains the version that faults are put into, wrongly, and has the suite judge what comes of it."""

    def __init__(self, trials: Trials, subject: Subject, scratch: Path, *, training: Samples | None, seed: int) -> None:
        """Prepare; nothing is trained yet.

        Args:
            trials: The base with the suite.
            subject: The version.
            scratch: Where broken versions are written.
            training: The user's rows to train on; None takes some of the suite's.
            seed: Of all that is drawn.
        """
        self._trials, self._subject, self._scratch = trials, subject, scratch
        self._training, self._seed = training, seed
        self._trainings: ShortTrainings | None = None
        self._unsure: frozenset[str] | None = None

    def row_of(self, fault: TrainingFault, *, seconds: float) -> Row:
        """Train and judge one fault.

        Args:
            fault: The fault.
            seconds: The most that the training may take.
        """
        row: Row = {"name": fault.name, "is_fault": True, "about": fault.about}
        started = time.perf_counter()
        random = np.random.default_rng([self._seed, *fault.name.encode()])
        try:
            trainings = self._prepare(seconds)
            spoilt = trainings.train(fault, random)
        except Inconclusive:
            raise
        except DeltaregError as error:
            return {**row, **row_without(error.message)}
        except (IndexError, RuntimeError, TypeError, ValueError) as error:
            return {**row, **row_without(f"it cannot be trained here: {str(error)[:120]}")}
        outcome, stage = self._judge(fault, spoilt.stages, trainings.rows)
        judged = build_row(outcome)
        sure = [name for name in caught_by(outcome) if name not in self._not_sure(trainings.rows)]
        verdict = judged["verdict"] if sure else "pass"
        told = {"caught_by": sure, "verdict": verdict, "harm": asdict(spoilt.harm), "stage": stage}
        return {**row, **judged, **told, "seconds": round(time.perf_counter() - started, 2)}

    def _prepare(self, seconds: float) -> ShortTrainings:
        if self._trainings is None:
            suite, base = self._trials.suite, self._trials.base
            rows = split_rows(suite, self._read, training=self._training, seed=self._seed)
            if rows is None:
                raise InvalidInput(f"the suite has no {LEAST_ROWS} rows to learn from: --training")
            general = general_texts(suite, self._read, rows.name, str(base.identity.root), base.view.config)
            self._trainings = self._subject.trainings(rows, general, seconds=seconds)
        return self._trainings

    def _judge(
        self, fault: TrainingFault, stages: list[Mapping[str, np.ndarray]], rows: SplitRows
    ) -> tuple[TrialOutcome, int]:
        """Judge each version that the training left beside the one before; returns the first that is stopped."""
        before: DeltaEngine = self._subject.incumbent
        outcome, number = TrialOutcome("pass"), 0
        for number, values in enumerate(stages, 1):
            out = self._scratch / f"{fault.name}-{number}"
            engine = self._subject.write(values, out)
            outcome = self._judge_on(rows, out, before)
            if set(caught_by(outcome)) - self._not_sure(rows):
                break
            before = engine
        return outcome, number

    def _not_sure(self, rows: SplitRows) -> frozenset[str]:
        """Return the checks that stop the healthy version itself on so few rows: they say nothing."""
        if self._unsure is None:
            whole = self._judge_on(rows, self._subject.path, self._subject.incumbent)
            self._unsure = frozenset(caught_by(whole))
        return self._unsure

    def _judge_on(self, rows: SplitRows, path: Path, incumbent: DeltaEngine) -> TrialOutcome:
        def take_samples(one: ProbeSet) -> Samples:
            return rows.held if one.name == rows.name else self._trials.samples(one)

        subject = self._subject
        return self._trials.judge(
            path, convention=subject.convention, incumbent=incumbent, samples=take_samples, best=subject.incumbent
        )

    def _read(self, name: str) -> Samples:
        return self._trials.samples(self._trials.suite.sets[name])


def build_row(outcome: TrialOutcome) -> Row:
    """Return what an outcome tells."""
    return {
        "verdict": outcome.verdict,
        "caught_by": list(caught_by(outcome)),
        "code": outcome.code,
        "seconds": round(outcome.seconds, 2),
        "checks": [one.model_dump() for one in outcome.checks],
    }


def row_without(why: str) -> Row:
    """Return what is told of a fault that does not apply."""
    return {"verdict": "n/a", "caught_by": [], "checks": [], "seconds": 0.0, "why": why}


def read_training(path: Path) -> Samples:
    """Read rows to train on.

    Raises:
        NotFound: There is no such file.
        InvalidInput: It is not in the form of a probe set.
    """
    if not path.is_file():
        raise NotFound(f"there is no file {path}", fix="name the rows: --training FILE")
    return read_samples(ProbeSet("training", path.name), path.read_bytes())
