"""What a suite says that cannot hold together: a push is refused for it, and `suite lint` tells it.

It needs neither the samples nor a registry. What it refuses would pass every version, none, or one
of which nothing was shown.
"""

from collections.abc import Iterator
from dataclasses import dataclass

from deltareg.errors import InvalidInput
from deltareg.refs import Ref
from deltareg.suites.catalogue import judges
from deltareg.suites.document import UNMEASURED
from deltareg.suites.reference import read_reference
from deltareg.suites.suite import CheckSpec, Suite
from deltareg.suites.threshold import Threshold

# Which way a measure is better, where only one makes sense, and those that are shares.
_LESS = frozenset({"perplexity", "target_perplexity", "transcription", "image_distance"})
_SHARES = frozenset({"accuracy", "answers", "reranking", "retrieval", "text_retrieval"})


@dataclass(frozen=True, slots=True)
class SuiteFault:
    """Something that does not hold together.

    Attributes:
        where: The check; empty for the suite.
        message: What is wrong.
        fix: What to do.
    """

    where: str
    message: str
    fix: str


def contradictions(suite: Suite) -> list[SuiteFault]:
    """Return what does not hold together in a suite."""
    return [*_of_judging(suite), *_of_references(suite), *(one for spec in suite.checks for one in _of_check(spec))]


def refuse_contradictions(suite: Suite) -> None:
    """Refuse a suite that does not hold together.

    Raises:
        InvalidInput: It does not; the message names the check.
    """
    for one in contradictions(suite):
        where = f"check {one.where}" if one.where else f"suite {suite.name}"
        raise InvalidInput(f"{where}: {one.message}", fix=one.fix)


def named_references(suite: Suite) -> list[tuple[str, Ref]]:
    """Return the versions that a suite names, each with the check that is compared with it."""
    refs = ((spec.name, read_reference(name)) for spec, name in suite.references.values())
    return [(check, ref) for check, ref in refs if isinstance(ref, Ref)]


def _of_judging(suite: Suite) -> Iterator[SuiteFault]:
    judging = [one for one in suite.checks if _can_fail(one)]
    if not judging:
        yield SuiteFault(
            "",
            "no check can fail, so every version passes",
            "name checks of smoke, or give a check a threshold that does not only warn",
        )
    elif not any(one.required for one in judging):
        yield SuiteFault(
            "",
            "no check that can fail is required, so a verdict may show nothing",
            "leave out `required: false` where it matters",
        )


def _can_fail(spec: CheckSpec) -> bool:
    return judges(spec.check, has_threshold=bool(spec.threshold)) and spec.parameters.get("worse") != "warn"


def _of_references(suite: Suite) -> Iterator[SuiteFault]:
    """A version is compared with versions of its own namespace, so a suite can name only one."""
    named = named_references(suite)
    for check, ref in named[1:]:
        first = named[0][1]
        if ref.line.namespace != first.line.namespace:
            yield SuiteFault(
                check,
                f"{ref} can never be compared with where {first} can: they are of two namespaces",
                "write a suite for each namespace, or take `best`",
            )


def _of_check(spec: CheckSpec) -> Iterator[SuiteFault]:
    is_measure = spec.form is not None and bool(spec.form.against)
    if is_measure and spec.required and spec.parameters.get("missing") == "n/a" and not spec.unmeasured:
        yield SuiteFault(
            spec.name,
            "is required and may be without a measure, and nobody says why",
            f'write `"{UNMEASURED}": REASON` in place of `missing: n/a`, or leave both out',
        )
    if spec.threshold is not None:
        yield from _of_threshold(spec, spec.threshold)


def _of_threshold(spec: CheckSpec, threshold: Threshold) -> Iterator[SuiteFault]:
    is_share = spec.check in _SHARES
    if spec.check in _LESS and threshold.greater_is_better:
        message = f"asks for more {spec.check}, of which less is better: worse versions pass"
        yield SuiteFault(spec.name, message, "write `greater_is_better: false` into its threshold")
    elif is_share and not threshold.greater_is_better:
        message = f"asks for less {spec.check}, of which more is better: worse versions pass"
        yield SuiteFault(spec.name, message, "leave out `greater_is_better: false`")
    elif is_share and threshold.threshold is not None and threshold.threshold > 1:
        message = f"no {spec.check} reaches {threshold.threshold:g}: it is a share, 1 at most"
        yield SuiteFault(spec.name, message, f"write {threshold.threshold / 100:g}, if percent were meant")
    elif is_share and _is_always_met(threshold):
        message = "its threshold is met by a version that gets nothing right"
        yield SuiteFault(spec.name, message, "state a threshold, or a margin that leaves something: -0.05")


def _is_always_met(threshold: Threshold) -> bool:
    """Whether every share meets all conditions that are given."""
    return (
        (threshold.threshold is None or threshold.threshold <= 0)
        and (threshold.min_absolute_change is None or threshold.min_absolute_change <= -1)
        and (threshold.min_relative_change is None or threshold.min_relative_change <= -1)
    )
