"""A suite: which checks a verification runs, with thresholds and probe sets.

People write it as YAML. What is kept, and what the digest is taken over, is one canonical JSON
document with everything in it that may change an outcome: defaults filled in, probe sets by the
digests of their files. A verdict counts only while the suite's digest is what it was.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache, lru_cache
from importlib.resources import files
from typing import cast

from deltareg.digest import Digest, sha256_of
from deltareg.documents.yaml_document import read_yaml
from deltareg.errors import NotFound
from deltareg.identity.manifest import canonical_json
from deltareg.suites.catalogue import CATALOGUE, CheckForm
from deltareg.suites.document import Fields, normalise
from deltareg.suites.reference import BASE, PROMOTED
from deltareg.suites.threshold import Threshold, threshold_of
from deltareg.tensors.header import strict_json_object

DEFAULT_SUITE = "smoke"
FAST_SUITE = "fast"
"""What somebody looks at while training goes on; its verdicts count for no channel."""
_MOST_PARSED = 64  # a server reads the same few again and again; people may push any number


@dataclass(frozen=True, slots=True)
class LookSizes:
    """How many samples a check looks at first, and at most; zero is all that there are.

    Each look is at twice as many as the one before, until the measure is decided.
    """

    first: int
    most: int = 0


@dataclass(frozen=True, slots=True)
class CheckSpec:
    """One check of a suite.

    Attributes:
        name: What its result is called; a suite may run one check on two probe sets.
        check: Which check it is, a file in `deltareg_verify.judging.checks`.
        required: Whether a check that should have run and did not makes the verdict inconclusive.
        parameters: Counts and tolerances; numbers that are not whole are strings.
        threshold: What its measure must reach; None when it only tells.
        against: What its measure is compared with: `base`, `promoted`, a version, the best of the
            last few, or nothing.
        probes: The probe set that it runs on; empty for the seeded probe.
        reference: What the promoted version itself is held against, and this one too.
        looks: How it looks at its samples; None for all at once.
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

    @property
    def form(self) -> CheckForm | None:
        """What there is to say about the check; None for one that is not known here."""
        return CATALOGUE.get(self.check)

    @property
    def may_not_apply(self) -> bool:
        """Whether `n/a` is an answer to it; for all others, unknown ones too, it shows nothing."""
        return self.form is not None and self.form.may_not_apply

    @property
    def compares(self) -> bool:
        """Whether it must show that no more than a margin was lost."""
        return self.threshold is not None and self.threshold.needs_baseline

    def key_of(self, name: str) -> str:
        """Give the key of a version that it compares with: the best one differs by check."""
        return f"{name} by {self.name}" if name.startswith("best of ") else name

    def number(self, key: str) -> float:
        """Give a numeric parameter."""
        return float(self.parameters[key])


@dataclass(frozen=True, slots=True)
class ProbeSet:
    """Samples that checks run on.

    Attributes:
        name: As checks call it.
        file: The file's name; empty when the texts stand in the suite itself.
        digest: sha256 of the file; None without one.
        texts: The texts that stand in the suite itself.
        data: Digests of the files that a task of lm-eval names, by name.
    """

    name: str
    file: str = ""
    digest: Digest | None = None
    texts: tuple[str, ...] = ()
    data: Mapping[str, Digest] = field(default_factory=dict[str, Digest])

    @property
    def is_task(self) -> bool:
        """Whether it is a task of lm-eval, which samples cannot be read from."""
        return self.file.endswith(".yaml")

    @property
    def files(self) -> Mapping[str, Digest]:
        """All its files by name, as far as their digests are known."""
        return self.data if self.digest is None else {self.file: self.digest, **self.data}


@dataclass(frozen=True, slots=True)
class SuiteBudget:
    """What a run may take; zero leaves it to the worker.

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
        checks: In the order that they run, cheap to dear.
        seed: Seed of everything random.
        probes: How many sequences of how many tokens the seeded probe has.
        digest: sha256 over the document.
        document: The canonical JSON of all of it.
        about: What it is for.
        dtype: What the base runs in: `keep`, `f32`, `bf16` or `f16`.
        sets: Probe sets by name.
        budget: What a run may take.
        tolerance: How far apart the measures of two workers may be, as a share; None for the usual.
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

    @property
    def needs_promoted(self) -> bool:
        """Whether a check compares with the version that a channel serves."""
        return any(spec.against == PROMOTED for spec in self.checks)

    @property
    def references(self) -> Mapping[str, "tuple[CheckSpec, str]"]:
        """The versions that checks compare with beside the promoted one: check and name, by key."""
        return {
            spec.key_of(name): (spec, name)
            for spec in self.checks
            for name in (spec.against, spec.reference)
            if name not in {"", BASE, PROMOTED}
        }

    @property
    def comparisons(self) -> int:
        """How many of its checks must show that no more than a margin was lost."""
        return sum(spec.compares for spec in self.checks)


@cache
def built_in(name: str) -> Suite:
    """Give a built-in suite.

    Raises:
        NotFound: There is no suite of that name.
    """
    if name not in built_in_names():
        names = ", ".join(built_in_names())
        raise NotFound(f"there is no suite {name!r}", fix=f"suites: {names}")
    return read_suite((files("deltareg") / "suites" / f"{name}.yaml").read_bytes())


@cache
def built_in_names() -> tuple[str, ...]:
    """Names of the built-in suites, sorted."""
    folder = files("deltareg") / "suites"
    names = (item.name for item in folder.iterdir())
    return tuple(sorted(name.removesuffix(".yaml") for name in names if name.endswith(".yaml")))


def read_suite(raw: bytes) -> Suite:
    """Read a suite as people write it.

    Raises:
        InvalidInput: It is no suite; the message names the place.
    """
    return _suite(canonical_json(normalise(read_yaml(raw, what="suite"))))


@lru_cache(maxsize=_MOST_PARSED)
def parse_suite(document: bytes) -> Suite:
    """Read the document of a suite, as it is kept.

    Raises:
        InvalidInput: It is no suite.
    """
    return _suite(canonical_json(normalise(strict_json_object(document))))


def _suite(document: bytes) -> Suite:
    fields = strict_json_object(document)
    probe = cast("Mapping[str, int]", fields["probe"])
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
