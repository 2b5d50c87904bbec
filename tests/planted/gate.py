"""The gate over a planted delta: what push says, then what the worker's checks say."""

from dataclasses import dataclass, field, replace
from pathlib import Path

from deltareg.client.base_folder import open_base
from deltareg.client.cache import Cache
from deltareg.client.folder import open_folder
from deltareg.delta_manifest import assess
from deltareg.errors import Refused
from deltareg.examine import examine as examine_numbers
from deltareg.suite import Suite
from deltareg.wire import CheckResult
from deltareg_verify.checks import all_checks
from deltareg_verify.examine import examine
from tests.planted import measures
from tests.planted.deltas import Planted, publish
from tests.planted.rules import rules_of
from tests.planted.workshop import Workshop
from tests.verify.bench import SMOKE, Bench

# What these small networks and their high learning rates ask for; smoke allows more.
OWN: dict[str, dict[str, str | int]] = {"norm_ratio": {"fail_above": 8}}


@dataclass(frozen=True, slots=True)
class Seen:
    """What was found out about a planted delta.

    Attributes:
        planted: Which one.
        refusal: The code with which push refuses it; empty when it takes it.
        results: What the checks gave, by name.
        measured: What was measured beside them.
    """

    planted: Planted
    refusal: str = ""
    results: dict[str, CheckResult] = field(default_factory=dict)
    measured: dict[str, float] = field(default_factory=dict)


def planted_suite() -> Suite:
    """Give the suite: all of smoke, with thresholds from the tuning half where it has others."""
    checks = [
        replace(spec, parameters={**spec.parameters, **OWN.get(spec.name, {})})
        for spec in SMOKE.checks
    ]
    return replace(SMOKE, name="planted", checks=tuple(checks))


def look_at(planted: Planted, workshop: Workshop, folder: Path) -> Seen:
    """Publish a delta and put it through push and the worker's checks, in this process."""
    path = publish(planted, workshop, folder / planted.id.replace("/", "_"))
    base = workshop.base(planted.order.recipe.base)
    code = push_code(path, base, workshop.folder / "cache")
    if code:
        return Seen(planted, code)
    bench = Bench(path, base, workshop.folder / "cache", suite=planted_suite())
    case = bench.case()
    # No check stops the others here, or nobody would see what each of them catches.
    every = {name: replace(check, is_static=False) for name, check in all_checks().items()}
    results = {result.name: result for result in examine(case, checks=every)}
    return Seen(planted, "", results, measures.measure(case, planted.order.recipe.base))


def push_code(path: Path, base: Path, cache: Path) -> str:
    """Give the code with which push would refuse a folder before it sends a byte."""
    known = open_base(base, Cache(cache))
    try:
        with open_folder(path) as folder:
            found = assess(folder.files, folder.tensors, known.view)
            problems = found.errors or examine_numbers(
                found.account, folder.tensors, known.tensors, folder.files
            )
    except Refused as refused:
        problems = list(refused.problems)
    errors = [problem.code for problem in problems if problem.severity == "error"]
    return errors[0] if errors else ""


def caught_by(seen: Seen) -> list[str]:
    """Name all that stops a delta: `push`, checks that fail, rules on samples that it misses."""
    if seen.refusal:
        return ["push"]
    failed = [name for name, result in seen.results.items() if result.verdict == "fail"]
    rules = rules_of(is_language=seen.planted.order.recipe.subject.is_language)
    return failed + [rule.name for rule in rules if rule.fails(seen.measured)]
