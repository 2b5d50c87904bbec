"""The gate over a planted delta: what push says, then what the worker's checks say."""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import cache
from pathlib import Path

from deltareg.client.cache.cache import Cache
from deltareg.client.folders.base_folder import open_base
from deltareg.client.folders.folder import open_folder
from deltareg.client.resources.suites import read_suite_file
from deltareg.delta.delta_manifest import assess
from deltareg.delta.examine import examine as examine_numbers
from deltareg.errors import Refused
from deltareg.suites.probe_set import read_samples
from deltareg.suites.suite import Suite
from deltareg.wire import CheckResult
from deltareg_verify.engine.case import Case
from deltareg_verify.engine.engine import DeltaEngine
from deltareg_verify.judging.checks import all_checks
from deltareg_verify.judging.examine import examine
from tests.planted.deltas import Planted, incumbent, publish
from tests.planted.suites import SENTENCES, write_suite
from tests.planted.workshop import Workshop
from tests.verify.bench import Bench


@dataclass(frozen=True, slots=True)
class Seen:
    """What was found out about a planted delta.

    Attributes:
        planted: Which one.
        refusal: The code with which push refuses it; empty when it takes it.
        results: What the checks gave, by name.
    """

    planted: Planted
    refusal: str = ""
    results: dict[str, CheckResult] = field(default_factory=dict)


@cache
def planted_suite(base: str, folder: Path, *, sentences: int = SENTENCES) -> Suite:
    """Write the suite of a base with its probe files into a folder, and read it as a push does."""
    return read_suite_file(write_suite(base, folder, sentences=sentences))[0]


def open_bench(path: Path, base: str, workshop: Workshop) -> Bench:
    """Put a published delta before the checks of its base's suite."""
    suite = planted_suite(base, workshop.folder / "suites", sentences=workshop.sentences)
    return Bench(path, workshop.base(base), workshop.folder / "cache", suite=suite)


def open_case(bench: Bench, workshop: Workshop, *, promoted: Path | None = None) -> Case:
    """Make the case of a bench, with the probe files of its suite.

    Args:
        bench: The delta beside its base.
        workshop: Where the files are.
        promoted: The folder of the version that is promoted; nothing is when not given.
    """
    files = workshop.folder / "suites"
    return bench.case(
        samples=lambda one: read_samples(one, (files / one.file).read_bytes()),
        promoted=None if promoted is None else _beside(bench, promoted),
    )


def _beside(bench: Bench, promoted: Path) -> Callable[[DeltaEngine], DeltaEngine]:
    def engine(ours: DeltaEngine) -> DeltaEngine:
        folder = open_folder(promoted)
        return ours.beside(assess(folder.files, folder.tensors, bench.base.view).account.effects)

    return engine


def look_at(planted: Planted, workshop: Workshop, folder: Path, *, is_first: bool = False) -> Seen:
    """Publish a delta and put it through push and the worker's checks, in this process.

    Args:
        planted: Which one.
        workshop: Where what it needs is made.
        folder: Where it is published.
        is_first: Whether nothing is promoted yet in its line, so that there is nothing to compare
            it with; otherwise that is a healthy version of the same recipe.
    """
    path = publish(planted, workshop, folder / planted.id.replace("/", "_"))
    base = workshop.base(planted.order.recipe.base)
    code = push_code(path, base, workshop.folder / "cache")
    if code:
        return Seen(planted, code)
    promoted = None if is_first else workshop.delta(incumbent(planted)) / "delta"
    bench = open_bench(path, planted.order.recipe.base, workshop)
    case = open_case(bench, workshop, promoted=promoted)
    # No check stops the others here, or nobody would see what each of them catches.
    every = {name: replace(check, is_static=False) for name, check in all_checks().items()}
    return Seen(planted, "", {result.name: result for result in examine(case, checks=every)})


def push_code(path: Path, base: Path, cache: Path) -> str:
    """Give the code with which push would refuse a folder before it sends a byte."""
    known = open_base(base, Cache(cache))
    try:
        with open_folder(path) as folder:
            found = assess(folder.files, folder.tensors, known.view)
            problems = found.errors or examine_numbers(found.account, folder.tensors, known.tensors, folder.files)
    except Refused as refused:
        problems = list(refused.problems)
    errors = [problem.code for problem in problems if problem.severity == "error"]
    return errors[0] if errors else ""


def caught_by(seen: Seen) -> list[str]:
    """Name all that stops a delta: `push`, or the checks that fail or could not run."""
    if seen.refusal:
        return ["push"]
    return [name for name, result in seen.results.items() if result.verdict in {"fail", "skipped"}]
