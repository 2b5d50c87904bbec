"""A published item before the gate: what push says, then every check of smoke and of its suite."""

import hashlib
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from deltareg import suites
from deltareg.client.folders.folder import open_folder
from deltareg.delta.delta_manifest import assess
from deltareg.errors import Inconclusive
from deltareg.suites.probe_set import read_samples
from deltareg.suites.suite import Suite, built_in
from deltareg.wire import CheckResult
from deltareg_verify import judging
from deltareg_verify.engine.engine import DeltaEngine
from deltareg_verify.judging.checks import all_checks
from deltareg_verify.judging.examine import examine
from tests.planted.gate import push_code
from tests.planted.more.items import Item
from tests.planted.more.shop import Shop
from tests.planted.more.suite_for import SAMPLES, code_of_suites, digest_of_suites, sources_of, suite_for
from tests.verify.bench import Bench

RECORDED = frozenset({"golden", "first_batches", "whole_training"})
"""Checks of what the process recorded that trained."""
INCONCLUSIVE = "the run"
"""The name under which stands that a run could not be brought to its end."""
SMOKE = built_in("smoke")


@dataclass(frozen=True, slots=True)
class Judged:
    """What was found out about an item.

    Attributes:
        refusal: The code with which push refuses it; empty when it takes it.
        results: What the checks gave, by name.
        seconds: Of processor time that it took.
    """

    refusal: str = ""
    results: Mapping[str, CheckResult] = field(default_factory=dict[str, CheckResult])
    seconds: float = 0.0

    @property
    def stops(self) -> frozenset[str]:
        """Name all that stops it: `push`, or checks that fail or should have run and did not."""
        if self.refusal:
            return frozenset({"push"})
        return frozenset(n for n, r in self.results.items() if r.verdict in {"fail", "skipped"})


def whole_suite(item: Item, shop: Shop, folder: Path, *, samples: int = SAMPLES) -> Suite:
    """Put smoke, with golden outputs in it, and the suite of an item's line into one.

    Of a base that no worker can run only what looks at stored values is left.

    Args:
        item: The item.
        shop: Where its base and the promoted version of its line are made.
        folder: Where the line's suite lies, or comes to lie.
        samples: How many samples the line's owner has.
    """
    subject, base = shop.subject(item.recipe.base), shop.base(item.recipe.base)
    own = suite_for(subject, base, shop.delta(item.other) / "delta", folder, samples=samples)
    checks = [spec for spec in SMOKE.checks if spec.required]
    if own is None:
        is_left = {name: check.is_static for name, check in all_checks().items()}
        checks = [s for s in checks if not subject.is_static or is_left[s.check]]
        return replace(SMOKE, checks=tuple(checks))
    sets = {**SMOKE.sets, **{f"own_{name}": one for name, one in own.sets.items()}}
    added = [replace(spec, probes=f"own_{spec.probes}") for spec in own.checks if spec.probes]
    return replace(SMOKE, checks=(*checks, *added), sets=sets)


def look_at(item: Item, shop: Shop, folder: Path, *, samples: int = SAMPLES) -> Judged:
    """Publish an item and put it through push and all checks, in this process.

    The line has promoted the healthy delta of the other half: another run of the same recipe.
    """
    started = time.process_time()
    base = shop.base(item.recipe.base)
    path = shop.publish(item, folder / item.id.replace("/", "_"))
    code = push_code(path, base, shop.kept / "cache")
    if code:
        return Judged(code, seconds=time.process_time() - started)
    line = f"{item.half}-{item.recipe.place.replace('/', '-')}-{samples}"
    files = shop.kept / "suites" / digest_of_suites() / line
    bench = Bench(path, base, shop.kept / "cache", suite=whole_suite(item, shop, files, samples=samples))
    case = bench.case(
        samples=lambda one: read_samples(one, (files / one.file).read_bytes() if one.file else b""),
        promoted=_beside(bench, shop.delta(item.other) / "delta"),
    )
    # No check stops the others here, or nobody would see what each of them catches.
    every = {name: replace(check, is_static=False) for name, check in all_checks().items()}
    results: dict[str, CheckResult] = {}
    try:
        for result in examine(case, checks=every):
            results[result.name] = result
    except Inconclusive as error:
        results[INCONCLUSIVE] = CheckResult(name=INCONCLUSIVE, verdict="skipped", detail=error.message)
    return Judged("", results, time.process_time() - started)


def code_digest() -> str:
    """Say by some letters which checks there are and what they do: smoke, and the source of what judges."""
    parts = [SMOKE.document, *(str(spec).encode() for spec in SMOKE.checks), *code_of_suites()]
    parts += [source for one in (judging, suites) for source in sources_of(one)]
    return hashlib.sha256(b"\0".join(parts)).hexdigest()[:12]


def gates(judged: Judged) -> dict[str, bool]:
    """Say at which of the four gates an item is stopped."""
    own = {spec.name for spec in SMOKE.checks} | {"push", INCONCLUSIVE}
    stops = judged.stops
    by_smoke = bool(stops & (own - RECORDED))
    by_golden, by_suite = bool(stops & RECORDED), bool(stops - own)
    return {
        "smoke": by_smoke,
        "golden": by_smoke or by_golden,
        "suite": by_smoke or by_suite,
        "all": by_smoke or by_golden or by_suite,
    }


def _beside(bench: Bench, promoted: Path) -> Callable[[DeltaEngine], DeltaEngine]:
    def engine(ours: DeltaEngine) -> DeltaEngine:
        folder = open_folder(promoted)
        return ours.beside(assess(folder.files, folder.tensors, bench.base.view).account.effects)

    return engine
