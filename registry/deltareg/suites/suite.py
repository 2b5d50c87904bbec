"""A suite: which checks a verification runs, with thresholds and probe sets.

People write it as YAML. It is stored as one canonical JSON document, over which the digest is
taken, with everything that may change an outcome: defaults filled in, probe sets by the digests of
their files. A verdict counts only as long as the suite's digest does not change.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cache, lru_cache
from importlib.resources import files
from typing import cast

from deltareg.digest import Digest, sha256_of
from deltareg.documents.yaml_document import read_yaml
from deltareg.errors import NotFound
from deltareg.identity.manifest import canonical_json
from deltareg.suites.catalogue import CATALOGUE, CheckForm
from deltareg.suites.document import UNMEASURED, Fields, normalise
from deltareg.suites.reference import BASE, BEST, PROMOTED, is_best
from deltareg.suites.threshold import Threshold, threshold_of
from deltareg.tensors.header import strict_json_object

DEFAULT_SUITE = "smoke"
FAST_SUITE = "fast"
"""What somebody looks at while training goes on; its verdicts count for no channel."""
_MOST_PARSED = 64  # a server reads the same few again and again; people may push any number


@dataclass(frozen=True, slots=True)
class LookSizes:
    """How many samples a check looks at first, and at most; zero means all.

    Each look is at twice as many as the one before, until the measure is decided.
    """

    first: int
    most: int = 0


@dataclass(frozen=True, slots=True)
class CheckSpec:
    """One check of a suite.

    Attributes:
        name: The name of its result; a suite may run one check on two probe sets.
        check: The check, a file in `deltareg_verify.judging.checks`.
        required: Whether the verdict is inconclusive if the check should have run and did not.
        parameters: Counts and tolerances; fractions are strings.
        threshold: The bound for its measure; None if it only reports.
        against: The reference of its measure: `base`, `promoted`, `best`, a version, the best of
            the last few, or none.
        probes: The probe set that it runs on; empty for the seeded probe.
        reference: A fixed reference for the promoted version and for this one.
        looks: The sizes of its looks; None for all samples at once.
        unmeasured: Why it may have no measure, or nothing to compare with; empty if it may not.
    """

    name: str
    required: bool
    parameters: Mapping[str, str | int]
    check: str
    threshold: Threshold | None = None
    against: str = ""
    probes: str = ""
    reference: str = ""
    looks: LookSizes | None = None
    unmeasured: str = ""

    @property
    def form(self) -> CheckForm | None:
        """The form of the check; None for an unknown check."""
        return CATALOGUE.get(self.check)

    @property
    def may_not_apply(self) -> bool:
        """Whether `n/a` counts as shown; for other checks, unknown ones included, it shows nothing.

        A measure that has nothing to be compared with has shown nothing, unless the suite says that
        it may be so.
        """
        if self.form is None or not self.form.may_not_apply:
            return False
        return not self.form.against or self.may_be_unmeasured

    @property
    def may_be_unmeasured(self) -> bool:
        """Whether the suite lets it be without a measure, or without anything to compare with."""
        return bool(self.unmeasured) or self.parameters.get("missing") == "n/a"

    @property
    def compares(self) -> bool:
        """Whether it must show that no more than a margin was lost."""
        return self.threshold is not None and self.threshold.needs_baseline

    @property
    def is_decisive(self) -> bool:
        """Whether it is required and a version can fail it, and not only be warned of."""
        return self.required and self.parameters.get("worse") != "warn"

    def key_of(self, name: str) -> str:
        """Return the key of a reference version; that of the best depends on the check."""
        return f"{name} by {self.name}" if is_best(name) else name

    @property
    def is_anchored(self) -> bool:
        """Whether it holds a version to the best of the line, or to one that the suite names."""
        names = {self.against, self.reference} - {"", BASE, PROMOTED}
        return any(name == BEST or not is_best(name) for name in names)

    def number(self, key: str) -> float:
        """Return a numeric parameter."""
        return float(self.parameters[key])


@dataclass(frozen=True, slots=True)
class ProbeSet:
    """Samples that checks run on.

    Attributes:
        name: The name that checks use.
        file: The file's name; empty if the texts are in the suite itself.
        digest: sha256 of the file; None without one.
        texts: The texts in the suite itself.
        data: Digests of the files that a task of lm-eval names, by name.
    """

    name: str
    file: str = ""
    digest: Digest | None = None
    texts: tuple[str, ...] = ()
    data: Mapping[str, Digest] = field(default_factory=dict[str, Digest])

    @property
    def is_task(self) -> bool:
        """Whether it is a task of lm-eval instead of samples."""
        return self.file.endswith(".yaml")

    @property
    def files(self) -> Mapping[str, Digest]:
        """All its files by name, with their digests as far as known."""
        return self.data if self.digest is None else {self.file: self.digest, **self.data}


@dataclass(frozen=True, slots=True)
class SuiteBudget:
    """The limits of a run; zero leaves them to the worker.

    Attributes:
        seconds: Wall-clock time.
        memory_bytes: Private memory on a CPU.
    """

    seconds: int = 0
    memory_bytes: int = 0


@dataclass(frozen=True, slots=True)
class Suite:
    """A named list of checks.

    Attributes:
        name: `smoke`, ….
        checks: In the order in which they run, from cheap to expensive.
        seed: Seed of everything random.
        probes: The number and length of the token sequences in the seeded probe.
        digest: sha256 over the document.
        document: The canonical JSON of the whole suite.
        about: Its purpose.
        dtype: The base's dtype: `keep`, `f32`, `bf16` or `f16`.
        sets: Probe sets by name.
        budget: The limits of a run.
        tolerance: How much the measures of two workers may differ, as a share; None for the
            default.
        probe_set: The set whose first samples stand in for the seeded probe; empty for that.
    """

    name: str
    checks: tuple[CheckSpec, ...]
    seed: int
    probes: Mapping[str, int]
    digest: Digest
    document: bytes = b""
    about: str = ""
    dtype: str = "keep"
    sets: Mapping[str, ProbeSet] = field(default_factory=dict[str, ProbeSet])
    budget: SuiteBudget = field(default_factory=SuiteBudget)
    tolerance: float | None = None
    probe_set: str = ""

    @property
    def needs_promoted(self) -> bool:
        """Whether a check compares with the version that a channel serves.

        One that asks for the best does, too: while there is none, that version stands in.
        """
        return any(spec.against == PROMOTED or is_best(spec.against) for spec in self.checks)

    @property
    def references(self) -> Mapping[str, "tuple[CheckSpec, str]"]:
        """The reference versions of checks besides the promoted one: check and name, by key."""
        return {
            spec.key_of(name): (spec, name)
            for spec in self.checks
            for name in (spec.against, spec.reference)
            if name not in {"", BASE, PROMOTED}
        }

    @property
    def held_to_best(self) -> Mapping[str, CheckSpec]:
        """The checks that compare with the best that a channel has served, by the key of that."""
        return {key: spec for key, (spec, name) in self.references.items() if name == BEST}

    @property
    def drifting(self) -> tuple[str, ...]:
        """The required checks that compare with versions, and with none that stays: losses add up."""
        return tuple(
            spec.name
            for spec in self.checks
            if spec.is_decisive and spec.compares and spec.against != BASE and not spec.is_anchored
        )


@cache
def built_in(name: str) -> Suite:
    """Return a built-in suite.

    Raises:
        NotFound: There is no suite of that name.
    """
    if name not in built_in_names():
        names = ", ".join(built_in_names())
        raise NotFound(f"there is no suite {name!r}", fix=f"suites: {names}")
    return read_suite((files("deltareg") / "suites" / f"{name}.yaml").read_bytes())


@cache
def built_in_names() -> tuple[str, ...]:
    """Return the names of the built-in suites, sorted."""
    folder = files("deltareg") / "suites"
    names = (item.name for item in folder.iterdir())
    return tuple(sorted(name.removesuffix(".yaml") for name in names if name.endswith(".yaml")))


def read_suite(raw: bytes) -> Suite:
    """Read a suite as people write it.

    Raises:
        InvalidInput: It is not a suite; the message names the place.
    """
    return _suite(canonical_json(normalise(read_yaml(raw, what="suite"))))


@lru_cache(maxsize=_MOST_PARSED)
def parse_suite(document: bytes) -> Suite:
    """Read the document of a suite, what it leaves out by default.

    Raises:
        InvalidInput: It is not a suite.
    """
    return _suite(canonical_json(normalise(strict_json_object(document))))


def read_stored_suite(document: bytes) -> Suite:
    """Read the document of a suite as a registry has it.

    A release before may have written it, whose checks had fewer parameters: these have their defaults, and the digest
    stays that of what is stored.

    Raises:
        InvalidInput: It is not a suite.
    """
    return replace(parse_suite(document), digest=sha256_of(document), document=document)


def _suite(document: bytes) -> Suite:
    fields = strict_json_object(document)
    probe = cast("dict[str, int]", fields["probe"])
    in_place = str(probe.pop("set", ""))
    budget = cast("Mapping[str, int]", fields["budget"])
    sets = cast("Mapping[str, Fields]", fields["sets"])
    checks = cast("list[Fields]", fields["checks"])
    return Suite(
        name=str(fields["name"]),
        checks=tuple(_spec(item) for item in checks),
        seed=cast(int, fields["seed"]),
        probes=probe,
        digest=sha256_of(document),
        document=document,
        about=str(fields["about"]),
        dtype=str(fields["dtype"]),
        sets={name: _set(name, item) for name, item in sets.items()},
        budget=SuiteBudget(**budget),
        tolerance=float(cast("str | int", fields["tolerance"])) if "tolerance" in fields else None,
        probe_set=in_place,
    )


def _spec(item: Fields) -> CheckSpec:
    threshold = cast("Mapping[str, str | int | bool] | None", item.get("threshold"))
    looks = cast("Mapping[str, int] | None", item.get("looks"))
    return CheckSpec(
        name=str(item["name"]),
        check=str(item["check"]),
        required=bool(item["required"]),
        parameters=cast("Mapping[str, str | int]", item["parameters"]),
        threshold=None if threshold is None else threshold_of(threshold),
        against=str(item.get("against", "")),
        probes=str(item.get("probes", "")),
        reference=str(item.get("reference", "")),
        looks=None if looks is None else LookSizes(**looks),
        unmeasured=str(item.get(UNMEASURED, "")),
    )


def _set(name: str, item: Fields) -> ProbeSet:
    if "text" in item:
        return ProbeSet(name, texts=tuple(cast("list[str]", item["text"])))
    digest = item.get("digest")
    data = cast("Mapping[str, str]", item.get("data", {}))
    return ProbeSet(
        name,
        str(item["file"]),
        None if digest is None else Digest.parse(str(digest)),
        data={name: Digest.parse(text) for name, text in data.items()},
    )
