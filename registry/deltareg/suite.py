"""A suite: which checks a verification runs, with thresholds; its digest binds the verdicts.

Built-in suites are JSON files in `deltareg/suites`; the server and the worker read the same ones,
and a verdict counts only while the suite's digest is what it was.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib.resources import files

from deltareg.digest import Digest, sha256_of
from deltareg.errors import NotFound
from deltareg.json_values import is_count, is_list, is_object
from deltareg.manifest import canonical_json
from deltareg.tensors import strict_json_object

DEFAULT_SUITE = "smoke"


@dataclass(frozen=True, slots=True)
class CheckSpec:
    """One check of a suite.

    Attributes:
        name: The check's name, a file in `deltareg_verify.checks`.
        required: Whether a check that should have run and did not makes the verdict inconclusive.
        parameters: Thresholds and counts; numbers that are not whole are strings.
    """

    name: str
    required: bool
    parameters: Mapping[str, str | int]

    def number(self, key: str) -> float:
        """Give a numeric parameter."""
        return float(self.parameters[key])


@dataclass(frozen=True, slots=True)
class Suite:
    """A named list of checks.

    Attributes:
        name: `smoke`, ….
        checks: In the order that they run, cheap to dear.
        seed: Seed of everything random.
        probes: Text and token counts of the probe inputs.
        digest: sha256 over the canonical JSON of all of it.
    """

    name: str
    checks: tuple[CheckSpec, ...]
    seed: int
    probes: Mapping[str, object]
    digest: Digest


@cache
def built_in(name: str) -> Suite:
    """Give a built-in suite.

    Raises:
        NotFound: There is no suite of that name.
    """
    if name not in built_in_names():
        known = ", ".join(built_in_names())
        raise NotFound(f"there is no suite {name!r}", fix=f"suites: {known}")
    raw = (files("deltareg") / "suites" / f"{name}.json").read_bytes()
    return parse_suite(raw)


@cache
def built_in_names() -> tuple[str, ...]:
    """Names of the built-in suites, sorted."""
    folder = files("deltareg") / "suites"
    found = (item.name for item in folder.iterdir())
    return tuple(sorted(name.removesuffix(".json") for name in found if name.endswith(".json")))


def parse_suite(raw: bytes) -> Suite:
    """Read a suite from JSON and take its digest over the canonical form."""
    fields = strict_json_object(raw)
    checks = fields["checks"]
    seed, probes = fields["seed"], fields["probes"]
    if not is_list(checks) or not is_count(seed) or not is_object(probes):
        raise TypeError("a suite has checks, seed and probes")  # a mistake in our own data file
    specs = tuple(_spec(item) for item in checks if is_object(item))
    return Suite(str(fields["name"]), specs, seed, probes, sha256_of(canonical_json(fields)))


def _spec(item: Mapping[str, object]) -> CheckSpec:
    parameters = item.get("parameters", {})
    if not is_object(parameters):
        raise TypeError("a check's parameters are an object")  # a mistake in our own data file
    plain = {k: v for k, v in parameters.items() if isinstance(v, (str, int))}
    return CheckSpec(str(item["name"]), bool(item.get("required", True)), plain)
