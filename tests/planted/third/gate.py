"""An item before the gate: push, smoke with what the training recorded, and drafted suites.

The suites are what `deltareg suite init` drafts of 50 and of 200 rows and the line's promoted
version. Each is run by itself, as a verification is, so that none pays for the other's comparisons.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from time import process_time

from deltareg.client.folders.folder import open_folder
from deltareg.delta.delta_manifest import assess
from deltareg.errors import Inconclusive
from deltareg.suites.probe_set import Samples, read_samples
from deltareg.suites.suite import ProbeSet, Suite, built_in
from deltareg.wire import CheckResult
from deltareg_verify.engine.engine import DeltaEngine
from deltareg_verify.judging.checks import all_checks
from deltareg_verify.judging.examine import examine
from tests.planted.gate import push_code
from tests.planted.more.suite_for import digest_of_suites, suite_for
from tests.planted.third.drift import drifting
from tests.planted.third.items import DRIFT, Item
from tests.planted.third.shop import Shop
from tests.planted.third.tasks import held
from tests.verify.bench import Bench

RECORDED = frozenset({"golden", "first_batches", "whole_training"})
"""Checks of what the process recorded that trained."""
ROWS = (50, 200)
PUSH, RUN = "push", "the run"
"""Names under which stand a refusal at push, and a run that did not come to its end."""
SMOKE = "smoke"
_STOPPING = frozenset({"fail", "skipped"})


@dataclass(frozen=True, slots=True)
class Judged:
    """What the gate said of one version.

    Attributes:
        results: What the checks gave, by suite (`smoke`, `init 50`, `init 200`) and name.
        seconds: Of processor time that it took.
    """

    results: Mapping[str, Mapping[str, CheckResult]] = field(default_factory=dict[str, Mapping[str, CheckResult]])
    seconds: float = 0.0

    def stops(self, suite: str) -> frozenset[str]:
        """Name what stops it: checks that fail, or should have run and did not."""
        return frozenset(n for n, r in self.results.get(suite, {}).items() if r.verdict in _STOPPING)

    def undecided(self, suite: str) -> frozenset[str]:
        """Name comparisons that rows are too few to decide: a protected channel stays closed."""
        own = self.results.get(suite, {}).items()
        return frozenset(n for n, r in own if r.verdict not in _STOPPING and r.code == "undecided")


@dataclass(frozen=True, slots=True)
class _Line:
    """What a suite is drafted for: it is asked for these alone."""

    name: str
    held: Callable[[int, Path], Path]
    is_static: bool = False


def suite_name(rows: int) -> str:
    """Name a drafted suite in tables."""
    return f"init {rows}"


def look_at(item: Item, shop: Shop, folder: Path, *, rows: tuple[int, ...] = ROWS) -> list[Judged]:
    """Publish an item and put it through all; a line that drifts is five versions.

    The line has promoted the healthy delta of the other half: another run of the same recipe. Where
    it drifts, each version is promoted before the next one comes, and the first was a healthy one.
    """
    first = shop.delta(item.healthy if item.fault == DRIFT else item.other) / "delta"
    if item.fault != DRIFT:
        published = shop.publish(item, folder / item.id.replace("/", "_"))
        return [_judge(item, shop, published, first, first, rows)]
    versions = drifting(item, shop)
    before = [first, *versions[:-1]]
    pairs = zip(versions, before, strict=True)
    return [_judge(item, shop, version, promoted, first, rows) for version, promoted in pairs]


def _judge(item: Item, shop: Shop, path: Path, promoted: Path, best: Path, rows: tuple[int, ...]) -> Judged:
    started = process_time()
    code = push_code(path, shop.base(item.recipe.base), shop.kept / "cache")
    if code:
        refused = CheckResult(name=PUSH, verdict="fail", code=code)
        return Judged({SMOKE: {PUSH: refused}}, process_time() - started)
    results = {SMOKE: _run(_required(built_in(SMOKE)), path, promoted, best, None, item, shop)}
    for count in rows:
        suite, files = _drafted(item, shop, count)
        results[suite_name(count)] = _run(suite, path, promoted, best, files, item, shop)
    return Judged(results, process_time() - started)


def _required(suite: Suite) -> Suite:
    return replace(suite, checks=tuple(spec for spec in suite.checks if spec.required))


def _drafted(item: Item, shop: Shop, rows: int) -> tuple[Suite, Path]:
    """Draft a line's suite as `deltareg suite init` does, once; what it has of smoke is run with smoke."""
    place = f"{item.half}-{item.recipe.place.replace('/', '-')}-{rows}"
    files = shop.kept / "suites" / digest_of_suites() / place
    line = _Line(item.recipe.task, partial(held, item.recipe.task))
    promoted = shop.delta(item.other) / "delta"
    base = shop.base(item.recipe.base)
    suite = suite_for(line, base, promoted, files, samples=rows)
    assert suite is not None, "a worker runs these bases"
    return replace(suite, checks=tuple(spec for spec in suite.checks if spec.probes)), files


def _run(
    suite: Suite, path: Path, promoted: Path, best: Path, files: Path | None, item: Item, shop: Shop
) -> dict[str, CheckResult]:
    bench = Bench(path, shop.base(item.recipe.base), shop.kept / "cache", suite=suite)
    asked = {spec.key_of(name) for spec in suite.checks for name in (spec.reference,) if name}
    case = bench.case(
        samples=partial(_samples, files),
        promoted=_beside(bench, promoted),
        references={name: _beside(bench, best) for name in asked},
    )
    # No check stops the others here, or nobody would see what each of them catches.
    every = {name: replace(check, is_static=False) for name, check in all_checks().items()}
    results: dict[str, CheckResult] = {}
    try:
        for result in examine(case, checks=every):
            results[result.name] = result
    except Inconclusive as error:
        results[RUN] = CheckResult(name=RUN, verdict="skipped", detail=error.message)
    return results


def _samples(files: Path | None, wanted: ProbeSet) -> Samples:
    return read_samples(wanted, b"" if files is None or not wanted.file else (files / wanted.file).read_bytes())


def _beside(bench: Bench, other: Path) -> Callable[[DeltaEngine], DeltaEngine]:
    def engine(ours: DeltaEngine) -> DeltaEngine:
        folder = open_folder(other)
        return ours.beside(assess(folder.files, folder.tensors, bench.base.view).account.effects)

    return engine
