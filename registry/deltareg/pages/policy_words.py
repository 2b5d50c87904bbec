"""Describes a policy in words, for people who decide about it and do not write YAML."""

from collections.abc import Callable, Mapping
from typing import Final

from deltareg.documents.json_values import is_list, is_object
from deltareg.pages.changes import in_words
from deltareg.signing.signatories import WantedSigner

_TITLES: Final[Mapping[str, str]] = {
    "suites": "Suites that must have passed",
    "approvals": "Approvals",
    "protected": "A reason for every move",
    "evidence": "Least evidence of the base",
    "kinds": "Kinds that it takes",
    "bases": "Bases that it takes",
    "freeze": "Takes no move",
    "rollback": "A rollback rests on the old verdict",
    "environment": "Environment of the verdict",
    "variants": "Also passed on the variants",
    "workers": "Verdicts of these workers",
    "worker_labels": "Workers that offer",
    "independent": "Workers that must agree",
    "local": "Verdicts of somebody's own machine",
    "signatures": "Signed by",
    "servable": "Servable by",
    "attestations": "Attested by others",
    "metrics": "Measured by others",
    "licences": "Licences that the card may name",
    "datasets": "Data sets that the card may name",
    "new_base": "May change its base without a word",
    "fixed_reference": "Suites compare with a version that does not move",
    "sandbox": "Least sandbox",
    "auto_promote": "Promotes by itself what passes",
    "label": "Labels what it promotes",
}


def policy_words(fields: Mapping[str, object], *, is_floor: bool = False) -> list[tuple[str, str]]:
    """Describe what a policy asks: a title and words for each field.

    A channel's own policy also says that it asks for no suites or approvals; a floor shows only the
    fields that it has.
    """
    shown_fields: dict[str, object] = {name: value for name, value in fields.items() if name != "smoke"}
    if not is_floor:
        shown_fields = {"suites": [], "approvals": 0, **shown_fields}
    return [(_TITLES.get(name, name), _WORDS.get(name, in_words)(value)) for name, value in shown_fields.items()]


def _suites(value: object) -> str:
    names = [_suite(each) for each in value] if is_list(value) else []
    if not names:
        return "none"
    return f"{len(names)} {'suite' if len(names) == 1 else 'suites'}: {', '.join(names)}"


def _suite(value: object) -> str:
    if not is_object(value):
        return str(value)
    age = value.get("max_age")
    return f"{value.get('suite')}" + (f" (a verdict of {age} at most)" if age else "")


def _approvals(value: object) -> str:
    if not value:
        return "none: whoever may promote moves it alone"
    people = "other person" if value == 1 else "other people"
    return f"{value} {people}, who neither asked nor pushed"


def _protection(value: object) -> str:
    return "needed" if value else "not needed"


def _windows(value: object) -> str:
    windows = [each for each in value if is_object(each)] if is_list(value) else []
    return "; ".join(
        f"{one.get('from')} to {one.get('to')}"
        + (f" {one['zone']}" if one.get("zone") else "")
        + (f": {one['reason']}" if one.get("reason") else "")
        for one in windows
    )


def _rollback(value: object) -> str:
    if not is_object(value):
        return in_words(value)
    return f"{value.get('revisions')} revisions or {value.get('days')} days back"


def _attestations(value: object) -> str:
    return "; ".join(f"{one.get('type')} by {_signers(one.get('from'))}" for one in _objects(value))


def _metrics(value: object) -> str:
    return "; ".join(
        f"{one.get('name')}"
        + "".join(f" {words} {one[key]}" for key, words in _BOUNDS.items() if key in one)
        + f", by {_signers(one.get('from'))}"
        for one in _objects(value)
    )


def _signers(value: object) -> str:
    signers = _objects(value.get("any")) or [value] if is_object(value) else []
    named = [WantedSigner.of_fields(signer).description for signer in signers]
    return " or ".join(named) or "anyone who may push the line, signed or not"


def _objects(value: object) -> list[Mapping[str, object]]:
    return [each for each in value if is_object(each)] if is_list(value) else []


_BOUNDS: Final = {"at_least": "at least", "at_most": "at most"}
_WORDS: Final[Mapping[str, Callable[[object], str]]] = {
    "suites": _suites,
    "approvals": _approvals,
    "protected": _protection,
    "freeze": _windows,
    "rollback": _rollback,
    "attestations": _attestations,
    "metrics": _metrics,
}
