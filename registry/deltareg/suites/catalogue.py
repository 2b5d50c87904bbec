"""What checks there are and what a suite may say about each; the worker has a file for each one.

The server knows no check's code. This list lets it refuse a suite that names a check wrongly, and a
verdict that says "does not apply" of a check that always does.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

Probes = Literal["text", "labelled", "pairs", "task"]
Against = Literal["base", "promoted"]


@dataclass(frozen=True, slots=True)
class CheckForm:
    """What a suite may say about a check.

    Attributes:
        about: What it shows, in a line.
        parameters: What may be set, with what holds when it is not; None for what must be set.
        probes: What kinds of probe set it can run on; empty when it takes none.
        takes_threshold: Whether it measures something that a threshold is for.
        against: What its measure may be compared with, the default first.
        may_not_apply: Whether it may say that it does not apply to a version, and count as shown.
        only_reports: Whether it says something and never fails.
    """

    about: str
    parameters: Mapping[str, str | int | None] = field(default_factory=dict[str, str | int | None])
    probes: tuple[Probes, ...] = ()
    takes_threshold: bool = False
    against: tuple[Against, ...] = ()
    may_not_apply: bool = False
    only_reports: bool = False


_UNDECIDED: Mapping[str, str | int | None] = {
    "undecided": "warn", "missing": "fail", "least_samples": 20,
}  # fmt: skip

# Parameters that count something; every other number may be a fraction.
COUNTS = frozenset({"forwards", "least_samples", "limit", "new_tokens", "within"})

CATALOGUE: Mapping[str, CheckForm] = {
    "digests": CheckForm("every tensor and file is what the manifest says"),
    "accounting": CheckForm("every tensor has one use, and every use fits the base"),
    "finite": CheckForm("no stored value is NaN or infinite"),
    "norm_ratio": CheckForm(
        "no weight changes out of proportion to itself or to its like",
        {
            "warn_over_median": 10, "fail_over_median": 20, "fail_above": 30,
            "matrix_floor": "0.01", "vector_floor": "0.5",
        },
        may_not_apply=True,
    ),
    "idle": CheckForm(
        "every part that was set up has moved", {"most_idle": "0.25"}, may_not_apply=True
    ),
    "overflow": CheckForm("everything is finite where it is served", {"dtypes": "BF16 F16"}),
    "spectral": CheckForm(
        "no product is too strong in one direction",
        {"fail_above": 30, "fail_over_median": 20, "matrix_floor": "0.01"},
        may_not_apply=True,
    ),
    "effect": CheckForm(
        "an output changes, and every part takes part",
        {"min_absolute_change": "0.000001", "most_still": "0.25"},
    ),
    "attached_equals_folded": CheckForm(
        "attached and folded, it gives the same",
        {"f32": "0.0001", "bf16": "0.2", "f16": "0.05"},
        may_not_apply=True,
    ),
    "golden": CheckForm(
        "it gives what it gave to the one who trained it",
        {"f32": "0.001", "bf16": "0.2", "f16": "0.05", "least_agreement": "0.95"},
        may_not_apply=True,
    ),
    "perplexity": CheckForm(
        "how likely texts are", {**_UNDECIDED, "worse": "fail"}, probes=("text",),
        takes_threshold=True, against=("base", "promoted"), may_not_apply=True,
    ),
    "accuracy": CheckForm(
        "how many samples get their label", {**_UNDECIDED, "worse": "fail"}, probes=("labelled",),
        takes_threshold=True, against=("base", "promoted"), may_not_apply=True,
    ),
    "retrieval": CheckForm(
        "how many texts find their image, and images their text",
        {**_UNDECIDED, "worse": "fail", "within": 1}, probes=("pairs",), takes_threshold=True,
        against=("base", "promoted"), may_not_apply=True,
    ),
    "lm_eval": CheckForm(
        "a task of lm-eval, offline",
        {
            **_UNDECIDED, "worse": "fail", "metric": None, "filter": "only", "limit": 0,
            "num_fewshot": "task",
        },
        probes=("task",), takes_threshold=True, against=("base", "promoted"), may_not_apply=True,
    ),
    "deterministic": CheckForm("the same input gives the same output twice", {"new_tokens": 8}),
    "latency": CheckForm(
        "how much slower a forward is than the base's", {"forwards": 5, "worse": "fail"},
        takes_threshold=True, against=("base",),
    ),
    "memory": CheckForm("the most memory held, in bytes", {"worse": "fail"}, takes_threshold=True),
    "resources": CheckForm("what the verification took", only_reports=True),
}  # fmt: skip


def judges(check: str, *, has_threshold: bool) -> bool:
    """Whether a version can fail a check; one that is not known here may."""
    form = CATALOGUE.get(check)
    if form is None:
        return True
    return not form.only_reports and (has_threshold or not form.takes_threshold)
