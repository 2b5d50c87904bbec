"""`python -m deltareg_verify backtest`: a suite over a line's versions, and over faults in one.

The registry's command line starts this as a process. It writes a line of JSON for every finished
delta, to show the progress, and a last one with all results; interrupted, or out of time, it writes
the results so far.
"""

import json
import math
import os
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import cast

import click
import numpy as np

from deltareg.client.cache.cache import Cache
from deltareg.client.folders.base_folder import BaseFolder, open_base
from deltareg.errors import InvalidInput, Refused
from deltareg.suites.drafting.measures import measures
from deltareg.suites.samples import Samples
from deltareg.suites.suite import CheckSpec, read_stored_suite
from deltareg_verify.engine.engine import DeltaEngine
from deltareg_verify.messages.process_answer import answer
from deltareg_verify.messages.requests import ProcessRequest
from deltareg_verify.workbench.faults import FAULTS, TRAININGS, Fault, TrainingFault
from deltareg_verify.workbench.subject import Subject
from deltareg_verify.workbench.trained_faults import TrainedFaults, build_row, read_training, row_without
from deltareg_verify.workbench.trials import Trials

Row = dict[str, object]
_SMALL = 20_000_000  # numbers in a base
_TRAININGS = 20  # how many of them the time would suffice for
AnyFault = Fault | TrainingFault
Say = Callable[[Mapping[str, object]], None]


@dataclass(frozen=True, slots=True)
class BacktestVersion:
    """A version of the line.

    Attributes:
        ref: Its reference.
        delta: Its files.
        convention: The convention of its values.
    """

    ref: str
    delta: Path
    convention: str = ""


@dataclass(frozen=True, slots=True)
class BacktestRequest(ProcessRequest):
    """What is to be tried.

    Attributes:
        base: The base's folder.
        suite: The suite's document.
        probes: The folder with the files of its probe sets.
        versions: Oldest first; faults are put into the last one.
        cache: The client's cache, which knows the base's fingerprint.
        faults: The faults to try; empty for all.
        seed: The seed of the faults.
        seconds: When to stop, whatever is left.
        device: `cpu`, `cuda:N` or `auto`.
        training: Rows to train broken versions on, in the form of a probe set; None takes a third of
            the suite's own, and judges those versions on the rest.
    """

    base: Path
    suite: Path
    probes: Path
    versions: tuple[BacktestVersion, ...]
    cache: Path
    faults: tuple[str, ...] = ()
    seed: int = 0
    seconds: float = 600.0
    device: str = "auto"
    training: Path | None = None


@click.command("backtest", hidden=True)
@click.argument("request")
def backtest(request: str) -> None:
    """Run a suite over versions and over faults in the last of them."""
    answer(lambda: run(BacktestRequest.decode(request), say=_say))


@click.command("faults", hidden=True)
def faults() -> None:
    """List the faults that can be put into a delta."""
    answer(lambda: {"items": [{"name": one.name, "about": one.about} for one in choose(())]})


def run(wanted: BacktestRequest, *, say: Say) -> Mapping[str, object]:
    """Try everything, as far as time allows, and return the document.

    Raises:
        InvalidInput: There is no such fault.
        Refused: The version that faults are put into is refused on this base.
        Inconclusive: The machine could not do it.
    """
    faults_chosen = choose(wanted.faults)
    suite = read_stored_suite(wanted.suite.read_bytes())
    os.environ["HF_HUB_OFFLINE"] = "1"  # before transformers is imported, which reads it once
    from deltareg_verify.engine.torch_engine import TorchEngine, class_with_place, environment, prepare_device, quieten

    quieten()
    with ExitStack() as stack:
        base = stack.enter_context(open_base(wanted.base, Cache(wanted.cache)))
        device = prepare_device(wanted.device, threads=_threads(base))
        make = partial(TorchEngine, suite=suite, device=device)
        trials = Trials(base, suite, wanted.probes, make, class_with_place)
        scratch = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="backtest-")))
        trial = _Backtest(trials, wanted, scratch, say, stack)
        end = trial.go(faults_chosen)
        return {
            "suite": suite.name,
            "base": wanted.base.name,
            "seed": wanted.seed,
            "ended": end,
            "subject": wanted.versions[-1].ref,
            "has_golden": trial.has_golden,
            "items": trial.rows,
            "device": environment(device)["device"],
        }


def _threads(base: BaseFolder) -> int:
    """Return how many threads to run on; 0 for all. A small network's would wait for each other most of the time."""
    size = sum(math.prod(one.shape) for one in base.view.tensors.values())
    return 1 if size < _SMALL else 0


def choose(names: Sequence[str]) -> list[AnyFault]:
    """Return the faults of these names; all of them where none is named.

    Raises:
        InvalidInput: There is no such fault.
    """
    known: dict[str, AnyFault] = {**TRAININGS, **FAULTS}
    odd = next((name for name in names if name not in known), None)
    if odd is not None:
        raise InvalidInput(f"there is no fault {odd!r}", fix=f"faults: {', '.join(known)}")
    return [known[name] for name in names] if names else list(known.values())


@dataclass(slots=True)
class _Backtest:
    """One backtest in progress."""

    trials: Trials
    wanted: BacktestRequest
    scratch: Path
    say: Say
    stack: ExitStack
    rows: list[Row]
    started: float
    training: Samples | None
    has_golden: bool

    def __init__(self, trials: Trials, wanted: BacktestRequest, scratch: Path, say: Say, stack: ExitStack) -> None:
        self.trials, self.wanted, self.scratch = trials, wanted, scratch
        self.say, self.stack = say, stack
        self.rows, self.started, self.has_golden = [], time.monotonic(), False
        self.training = None if wanted.training is None else read_training(wanted.training)

    def go(self, chosen: Sequence[AnyFault]) -> str:
        """Try everything; returns how it ended: `done`, `out of time` or `interrupted`.

        The version that faults are put into comes first, as the cost of a fault is reported
        relative to it.
        """
        total = len(self.wanted.versions) + len(chosen)
        try:
            for number, step in enumerate(self._steps(chosen)):
                if number and time.monotonic() - self.started > self.wanted.seconds:
                    return "out of time"
                row = step()
                self.rows.append({**row, "measures": self._measures(row)})
                self.say({"done": number + 1, "of": total, **row})
        except KeyboardInterrupt:
            return "interrupted"
        return "done"

    def _steps(self, chosen: Sequence[AnyFault]) -> list[Callable[[], Row]]:
        versions = self.wanted.versions
        own = [partial(self._version, at) for at in range(len(versions))]
        subject = Subject(
            self.trials, versions[-1].delta, self.stack, convention=versions[-1].convention, other=self._other()
        )
        self.has_golden = subject.has_golden
        self._bring_references()
        trained = TrainedFaults(self.trials, subject, self.scratch, training=self.training, seed=self.wanted.seed)
        broken: list[Callable[[], Row]] = [
            partial(self._fault, one, subject) if isinstance(one, Fault) else partial(self._try_trained, one, trained)
            for one in chosen
        ]
        return [own[-1], *broken, *reversed(own[:-1])]

    def _bring_references(self) -> None:
        """Bring the versions that the suite names, as far as they are available."""
        checks = self.trials.suite.checks
        names = {one.against for one in checks} | {one.reference for one in checks}
        for one in self.wanted.versions:
            engine = self._incumbent(one, self.stack) if one.ref in names else None
            if engine is not None:
                self.trials.references[one.ref] = engine

    def _version(self, at: int) -> Row:
        """Judge a version beside its predecessor, as a worker would have."""
        one = self.wanted.versions[at]
        before = self.wanted.versions[at - 1] if at else None
        with ExitStack() as stack:
            incumbent = None if before is None else self._incumbent(before, stack)
            outcome = self.trials.judge(one.delta, convention=one.convention, incumbent=incumbent)
        return {"name": one.ref, "is_fault": False, **build_row(outcome)}

    def _try_trained(self, fault: TrainingFault, trained: TrainedFaults) -> Row:
        return trained.row_of(fault, seconds=max(1.0, self.wanted.seconds / _TRAININGS))

    def _measures(self, row: Row) -> list[Row]:
        """Return a delta's measures on the samples, beside those of the unbroken one."""
        values = _values(row)
        whole = _values(self.rows[0]) if self.rows else values
        specs = {one.name: one for one in self.trials.suite.checks if one.probes and one.threshold}
        rows: list[Row] = []
        for name, spec in specs.items():
            if name in values and name in whole:
                rows.append(_loss(spec, values[name], whole[name]))
        return rows

    def _incumbent(self, version: BacktestVersion, stack: ExitStack) -> DeltaEngine | None:
        try:
            delta = stack.enter_context(self.trials.open_delta(version.delta, convention=version.convention))
        except Refused:  # it was taken once; what came after it can be judged without it
            return None
        return self.trials.engine(delta, is_fixed=True)

    def _other(self) -> Path | None:
        return self.wanted.versions[-2].delta if len(self.wanted.versions) > 1 else None

    def _fault(self, fault: Fault, subject: Subject) -> Row:
        row: Row = {"name": fault.name, "is_fault": True, "about": fault.about}
        out = self.scratch / fault.name
        random = np.random.default_rng([self.wanted.seed, *fault.name.encode()])
        if not subject.break_into(out, fault, random):
            return {**row, **row_without("there is nothing of the kind in the delta")}
        outcome = self.trials.judge(out, convention=subject.convention, incumbent=subject.incumbent)
        row |= build_row(outcome)
        if not row["caught_by"] and subject.golden is not None:
            seen = self.trials.is_seen_by_golden(out, subject.golden, convention=subject.convention)
            row["is_seen_by_golden"] = seen
        return row


def _loss(spec: CheckSpec, value: float, whole: float) -> Row:
    """Return how much worse a value is, by the direction of the check's threshold."""
    threshold = spec.threshold
    assert threshold is not None, "only what has a threshold is told of"
    worse = whole - value if threshold.greater_is_better else value - whole
    is_share = threshold.min_relative_change is not None
    measure = measures().get(spec.check)
    best = 1.0 if measure is None else measure.whole
    loses = worse / (abs(whole) or 1.0) if is_share else worse / best
    return {"check": spec.name, "value": value, "loses": float(f"{loses:.4g}"), "is_share": is_share}


def _values(row: Row) -> dict[str, float]:
    """Return the measured values, by check; an infinite perplexity is a word there and left out."""
    checks = cast("list[dict[str, object]]", row["checks"])
    return {
        str(one["name"]): float(one["value"])
        for one in checks
        if isinstance(one["value"], (int, float)) and not isinstance(one["value"], bool)
    }


def _say(document: Mapping[str, object]) -> None:
    row = {key: value for key, value in document.items() if key != "checks"}
    click.echo(json.dumps({"progress": row}))
