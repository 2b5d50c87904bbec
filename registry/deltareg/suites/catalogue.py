"""What checks there are and what a suite may say about each, as the worker's files declare it.

The server has no check's code. `catalogue.json`, which `make docs` writes from the worker's folder
of checks, lets it refuse a suite that names a check wrongly, and a verdict that says "does not
apply" of a check that always does.
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
    """What a suite may say about a check.

    Attributes:
        about: What it shows, in a line.
        parameters: What may be set, with what holds when it is not; None for what must be set.
        counts: Those parameters that count something; every other number may be a fraction.
        choices: Those parameters that are one of a few words, with the words.
        probes: What kinds of probe set it can run on; empty when it takes none.
        takes_threshold: Whether it measures something that a threshold is for.
        against: What its measure may be compared with, the default first.
        may_not_apply: Whether it may say that it does not apply to a version, and count as shown.
        only_reports: Whether it says something and never fails.
        takes_looks: Whether it may look at a part of its samples first, and at more where these do
            not decide it.
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


# What a check of samples does where their number decides nothing.
UNDECIDED: Mapping[str, str | int | None] = {"undecided": "warn", "missing": "fail", "least_samples": 20}


def read_catalogue(document: bytes) -> Mapping[str, CheckForm]:
    """Read `catalogue.json`: the form of every check, in the order in which they are shown."""
    return TypeAdapter(dict[str, CheckForm]).validate_json(document)


def write_catalogue(forms: Mapping[str, CheckForm]) -> str:
    """Write what `read_catalogue` reads."""
    return json.dumps({name: asdict(form) for name, form in forms.items()}, indent=2) + "\n"


CATALOGUE = read_catalogue((files("deltareg") / "suites" / "catalogue.json").read_bytes())


def about(checks: Iterable[str]) -> dict[str, str]:
    """Say in a line what each check shows, by its name; what is not known here is left out."""
    return {check: CATALOGUE[check].about for check in checks if check in CATALOGUE}


def judges(check: str, *, has_threshold: bool) -> bool:
    """Whether a version can fail a check; one that is not known here may."""
    form = CATALOGUE.get(check)
    if form is None:
        return True
    return not form.only_reports and (has_threshold or not form.takes_threshold)
