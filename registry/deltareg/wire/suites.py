"""Suites on the wire."""

from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

from pydantic import Field

from deltareg.wire.messages import Answer, Request

if TYPE_CHECKING:
    from deltareg.suites.suite import CheckSpec, Suite


class SuitePush(Request):
    """A new version of a suite: its document, and the files of its probe sets in base64.

    A file that the registry has already may be left out.
    """

    document: Annotated[str, Field(max_length=1 << 20)]
    files: dict[str, str] = {}


class SuiteCheck(Answer):
    """One check of a suite, in words.

    `reference` is what the promoted version is held against beside this one, `looks` how many
    samples are looked at `first` and at `most`.
    """

    name: str
    check: str
    required: bool
    parameters: dict[str, str | int]
    threshold: str = ""
    against: str = ""
    probes: str = ""
    reference: str = ""
    looks: dict[str, int] = {}


class SuiteInfo(Answer):
    """A version of a suite; `document` is the canonical JSON that the digest is taken over."""

    name: str
    version: int | None = None
    digest: str
    about: str
    is_built_in: bool
    created: bool = False
    seed: int
    dtype: str
    checks: list[SuiteCheck]
    sets: dict[str, str]
    created_at: str | None = None
    created_by: str = "registry"
    document: str = ""


def describe_parsed(suite: "Suite", *, is_built_in: bool) -> SuiteInfo:
    """Describe a parsed suite: thresholds in words, probe sets by their contents."""
    sets = {one.name: one.file or f"{len(one.texts)} texts" for one in suite.sets.values()}
    return SuiteInfo(
        name=suite.name,
        digest=str(suite.digest),
        about=suite.about,
        is_built_in=is_built_in,
        seed=suite.seed,
        dtype=suite.dtype,
        checks=[_check(spec) for spec in suite.checks],
        sets=sets,
    )


def _check(spec: "CheckSpec") -> SuiteCheck:
    return SuiteCheck(
        name=spec.name,
        check=spec.check,
        required=spec.required,
        parameters=dict(spec.parameters),
        threshold="" if spec.threshold is None else spec.threshold.describe(spec.against),
        against=spec.against,
        probes=spec.probes,
        reference=spec.reference,
        looks={} if spec.looks is None else asdict(spec.looks),
    )
