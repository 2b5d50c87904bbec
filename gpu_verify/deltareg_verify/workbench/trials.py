"""Deltas on one base in this process: each is opened, checked as a push would, and judged.

A worker does the same for one version; this does it for many and without a registry, and no verdict
comes of it.
"""

import json
import time
from collections.abc import Callable, Generator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from deltareg.client.folders.base_folder import BaseFolder
from deltareg.client.folders.folder import Folder, open_folder
from deltareg.client.folders.hashing import hash_folder
from deltareg.delta.delta_manifest import Assessment, assess, build_delta_manifest
from deltareg.delta.examine import examine as examine_numbers
from deltareg.delta.kind import Account
from deltareg.errors import Refused
from deltareg.identity.manifest import Manifest
from deltareg.suites.catalogue import CATALOGUE
from deltareg.suites.golden import GoldenOutputs
from deltareg.suites.golden_file import GOLDEN_FILE, encode
from deltareg.suites.lm_task import LmTask, fill_task, read_task
from deltareg.suites.probe_set import Samples, read_samples
from deltareg.suites.reference import is_best
from deltareg.suites.suite import CheckSpec, ProbeSet, Suite
from deltareg.wire import CheckResult
from deltareg_verify.child.delta_network import FindClass, account_served, as_served
from deltareg_verify.engine.case import Case, CaseParts
from deltareg_verify.engine.engine import DeltaEngine
from deltareg_verify.judging.caching_engine import Answers, remembering
from deltareg_verify.judging.checks import all_checks
from deltareg_verify.judging.examine import examine
from deltareg_verify.judging.verdict import judge

MakeEngine = Callable[..., DeltaEngine]
_GOLDEN = "golden"


@dataclass(frozen=True, slots=True)
class TrialOutcome:
    """The result of one delta.

    Attributes:
        verdict: The suite's verdict; `refused` where push would not take the delta.
        code: The problem code with which push refuses it.
        checks: The results of the checks, in order.
        seconds: How long it took.
    """

    verdict: str
    code: str = ""
    checks: tuple[CheckResult, ...] = ()
    seconds: float = 0.0


@dataclass(slots=True)
class TrialDelta:
    """One delta, opened beside the base.

    Attributes:
        folder: Its files.
        assessment: The assessment of these files.
        account: The account by the network that it makes of the base.
        manifest: Its manifest; None until it is needed.
    """

    folder: Folder
    assessment: Assessment
    account: Account
    manifest: Manifest | None = None


@dataclass(slots=True)
class Trials:
    """A base with a suite, on which deltas are tried one after another.

    Attributes:
        base: The base.
        suite: The suite that judges them.
        probes: The folder with the files of its probe sets.
        make: Creates an engine from a base and effects.
        find_class: Finds the class of network that has a place for a new head.
        references: Other versions that the suite compares with, by the suite's name for them.
    """

    base: BaseFolder
    suite: Suite
    probes: Path
    make: MakeEngine
    find_class: FindClass
    references: dict[str, DeltaEngine] = field(default_factory=dict[str, DeltaEngine])
    _roots: dict[str, DeltaEngine] = field(default_factory=dict[str, DeltaEngine])
    _answers: dict[str, Answers] = field(default_factory=dict[str, Answers])
    _samples: dict[str, Samples] = field(default_factory=dict[str, Samples])

    @contextmanager
    def open_delta(self, path: Path, *, convention: str = "") -> Generator[TrialDelta]:
        """Open a delta.

        Raises:
            Refused: It is not a delta of this base.
        """
        with ExitStack() as stack:
            folder = stack.enter_context(open_folder(path, convention=convention))
            assessment = assess(folder.files, folder.tensors, self.base.view)
            if assessment.errors:
                raise Refused(assessment.errors)
            numbers = examine_numbers(assessment.account, folder.tensors, self.base.tensors, folder.files)
            wrong = [problem for problem in numbers if problem.severity == "error"]
            if wrong:
                raise Refused(wrong)
            account = account_served(folder.files, folder.tensors, self.base.view, find_class=self.find_class)
            yield TrialDelta(folder, assessment, account)

    def engine(self, delta: TrialDelta, *, is_fixed: bool = False) -> DeltaEngine:
        """Put a delta onto the base, which is loaded once for all deltas that see it alike."""
        base = as_served(self.base, delta.account)
        key = json.dumps(base.view.config, sort_keys=True, default=str)
        if key not in self._roots:
            self._roots[key] = self.make(base, delta.account.effects)
            self._answers[key] = {}
        engine = self._roots[key].beside(delta.account.effects)
        return remembering(engine, self._answers[key], is_fixed=is_fixed)

    def judge(
        self,
        path: Path,
        *,
        convention: str = "",
        incumbent: DeltaEngine | None = None,
        samples: Callable[[ProbeSet], Samples] | None = None,
        best: DeltaEngine | None = None,
    ) -> TrialOutcome:
        """Check a delta as a push would, and run the checks of the suite.

        Args:
            path: The delta's folder.
            convention: The convention of its values.
            incumbent: What `against: promoted` means; None where nothing is promoted.
            samples: Reads a probe set, where not all of it is to be judged on.
            best: What `best of` means; None takes the incumbent.
        """
        started = time.perf_counter()
        try:
            with self.open_delta(path, convention=convention) as delta:
                results = tuple(examine(self.case(delta, incumbent=incumbent, samples=samples, best=best)))
        except Refused as error:
            return TrialOutcome("refused", error.problem_code, (), time.perf_counter() - started)
        verdict = judge(self.suite, results)
        return TrialOutcome(verdict, "", results, time.perf_counter() - started)

    def is_seen_by_golden(self, path: Path, golden: GoldenOutputs, *, convention: str = "") -> bool:
        """Return whether golden outputs of the healthy version would stop a delta.

        Args:
            path: The delta's folder; it gets the outputs.
            golden: The outputs.
            convention: The convention of its values.
        """
        (path / GOLDEN_FILE).write_bytes(encode(golden))
        form = CATALOGUE[_GOLDEN]
        parameters = {name: value for name, value in form.parameters.items() if value is not None}
        spec = CheckSpec(_GOLDEN, required=True, parameters=parameters, check=_GOLDEN)
        try:
            with self.open_delta(path, convention=convention) as delta:
                return all_checks()[_GOLDEN].run(self.case(delta, incumbent=None), spec).verdict == "fail"
        except Refused:
            return False

    def samples(self, one: ProbeSet) -> Samples:
        """Read a probe set, once."""
        if one.name not in self._samples:
            self._samples[one.name] = read_samples(one, self._raw(one.file))
        return self._samples[one.name]

    def case(
        self,
        delta: TrialDelta,
        *,
        incumbent: DeltaEngine | None,
        engine: DeltaEngine | None = None,
        samples: Callable[[ProbeSet], Samples] | None = None,
        best: DeltaEngine | None = None,
    ) -> Case:
        """Build the case of a delta.

        Args:
            delta: The delta.
            incumbent: What `against: promoted` means; None where nothing is promoted.
            engine: The delta on the base, where it is loaded already.
            samples: Reads a probe set, where that is not one of the suite's.
            best: What `best of` means; None takes the incumbent.
        """
        parts = CaseParts(
            folder=lambda: delta.folder,
            account=lambda _: delta.account,
            engine=lambda _: self.engine(delta) if engine is None else engine,
            samples=self.samples if samples is None else samples,
            task=self._task,
            promoted=None if incumbent is None else lambda _: incumbent,
            references={name: partial(_itself, one) for name, one in self._referees(best or incumbent).items()},
        )
        return Case(self._manifest(delta), self.base, suite=self.suite, parts=parts, clock=time.perf_counter)

    def _referees(self, incumbent: DeltaEngine | None) -> dict[str, DeltaEngine]:
        """Return the versions that the suite compares with beside the promoted one.

        The one before stands for the best, as no verdict here says which that is.
        """
        chosen = (key for key, (_, name) in self.suite.references.items() if is_best(name))
        best = {} if incumbent is None else dict.fromkeys(chosen, incumbent)
        return {**best, **self.references}

    def _manifest(self, delta: TrialDelta) -> Manifest:
        if delta.manifest is None:
            hashed = hash_folder(delta.folder)
            delta.manifest = build_delta_manifest(
                delta.assessment,
                delta=delta.folder.files,
                files=hashed.files,
                digests=hashed.digests,
                base=self.base.view,
            )
        return delta.manifest

    def _task(self, one: ProbeSet) -> LmTask:
        return fill_task(read_task(self._raw(one.file), one.file), self._raw)

    def _raw(self, name: str) -> bytes:
        path = self.probes / name
        return path.read_bytes() if name and path.is_file() else b""


def caught_by(judged: TrialOutcome) -> Sequence[str]:
    """Return all that stops a delta: `push`, failed checks, required ones that showed nothing."""
    if judged.verdict == "refused":
        return ["push"]
    failed = [one.name for one in judged.checks if one.verdict == "fail"]
    if failed or judged.verdict == "pass":
        return failed
    return [one.name for one in judged.checks if one.verdict == "skipped"]


def _itself(engine: DeltaEngine, _: DeltaEngine) -> DeltaEngine:
    return engine
