"""The checks that exist and the settings that a suite may give them, as the worker declares them.

The server has no check's code. `catalogue.json`, which `make docs` writes from the worker's folder
of checks, lets it refuse a suite with a wrong check name, and a verdict with "does not apply" for a
check that always applies.
"""

import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from importlib.resources import files
from typing import Literal

from pydantic import TypeAdapter

Probes = Literal["text", "labelled", "pairs", "task", "targets", "similar", "ranked", "images", "inputs"]
Against = Literal["base", "promoted"]


@dataclass(frozen=True, slots=True)
class CheckForm:
    """The settings that a suite may give a check.

    Attributes:
        about: What it shows, in a line.
        parameters: Parameters with their defaults; None for those that must be set.
        counts: The parameters that are counts; every other number may be a fraction.
        choices: The parameters with a choice of words, with the words.
        probes: The kinds of probe set that it can run on; empty if it takes none.
        takes_threshold: Whether it has a measure that a threshold applies to.
        against: The references that its measure may be compared with, the default first.
        may_not_apply: Whether it may answer that it does not apply to a version, which counts as
            shown.
        only_reports: Whether it only reports and never fails.
        takes_looks: Whether it may look at a part of its samples first, and at more if these do not
            decide it.
        fix: What to do where a version fails it, in a line of at most 72 characters; empty for a
            measure, whose code says it.
    """

    about: str
    parameters: Mapping[str, str | int | None] = field(default_factory=dict[str, str | int | None])
    counts: tuple[str, ...] = ()
    choices: Mapping[str, tuple[str, ...]] = field(default_factory=dict[str, tuple[str, ...]])
    probes: tuple[Probes, ...] = ()
    takes_threshold: bool = False
    against: tuple[Against, ...] = ()
    may_not_apply: bool = False
    only_reports: bool = False
    takes_looks: bool = False
    fix: str = ""


# What a check of samples does where their number decides nothing.
UNDECIDED: Mapping[str, str | int | None] = {"undecided": "warn", "missing": "fail", "least_samples": 20}


def read_catalogue(document: bytes) -> Mapping[str, CheckForm]:
    """Read `catalogue.json`: the form of every check, in display order."""
    return TypeAdapter(dict[str, CheckForm]).validate_json(document)


def write_catalogue(forms: Mapping[str, CheckForm]) -> str:
    """Write the document that `read_catalogue` reads."""
    return json.dumps({name: asdict(form) for name, form in forms.items()}, indent=2) + "\n"


CATALOGUE = read_catalogue((files("deltareg") / "suites" / "catalogue.json").read_bytes())


def about(checks: Iterable[str]) -> dict[str, str]:
    """Return a line about each check, by name; unknown checks are left out."""
    return {check: CATALOGUE[check].about for check in checks if check in CATALOGUE}


def judges(check: str, *, has_threshold: bool) -> bool:
    """Whether a version can fail a check; an unknown check counts as one that can."""
    form = CATALOGUE.get(check)
    if form is None:
        return True
    return not form.only_reports and (has_threshold or not form.takes_threshold)
