"""Which licences and data sets a policy allows, and whether the version's card declares others.

The card is the README.md among the version's own files, so it is bound to the version's digest as
they are, and a corrected card is another version. It is its author's word. What it does not say, or
says unreadably, is not allowed.
"""

import re
from collections.abc import Callable, Sequence

from deltareg.documents.strict_fields import DocumentPlace, read_list, read_text
from deltareg.gate.outside_facts import CardFact
from deltareg.gate.ruling import Rule, Ruling

_MOST = 200
_MOST_NAMED = 3
_LICENCE = re.compile(r"[a-z0-9][a-z0-9.+-]*")
_PATTERN = re.compile(r"[^\s*]+\*?|\*")
AllowList = tuple[str, ...]
"""What is allowed; of data sets a `*` at the end of one stands for the rest."""


def parse_licences(value: object, place: DocumentPlace) -> AllowList:
    """Parse the allowed licences: SPDX ids, as cards spell them.

    Raises:
        InvalidInput: The list is empty, or one of them is no such id.
    """
    example = "[apache-2.0, mit]"
    return _read_allowed(value, place, lambda text: bool(_LICENCE.fullmatch(text)), example=example, what="licence")


def parse_datasets(value: object, place: DocumentPlace) -> AllowList:
    """Parse the allowed data sets: ids, and `org/*` for all of an organisation.

    Raises:
        InvalidInput: The list is empty, or one has a `*` before its end.
    """
    example = '[squad, "my-org/*"]'
    return _read_allowed(value, place, lambda text: bool(_PATTERN.fullmatch(text)), example=example, what="data set")


def rule_on_licences(ref: str, allowed: AllowList, card: CardFact | None) -> Ruling:
    """Check the licences of a version's card against those that are allowed."""
    named = () if card is None else card.licences
    return _rule("licence", ref, allowed, card, named, key="license")


def rule_on_datasets(ref: str, allowed: AllowList, card: CardFact | None) -> Ruling:
    """Check the data sets of a version's card against those that are allowed."""
    named = () if card is None else card.datasets
    return _rule("dataset", ref, allowed, card, named, key="datasets")


def allowed_by_both(own: AllowList | None, least: AllowList | None) -> AllowList | None:
    """Return what two lists allow; None allows everything."""
    one = least if own is None else own
    if own is None or least is None:
        return None if one is None else tuple(sorted(one))
    both = {_narrower(one, other) for one in own for other in least}
    return tuple(sorted(both - {""}))


def _rule(rule: Rule, ref: str, allowed: AllowList, card: CardFact | None, named: Sequence[str], *, key: str) -> Ruling:
    what = {"licence": "licence", "dataset": "data set"}[rule]
    others = [name for name in named if not any(_matches(name.lower(), pattern) for pattern in allowed)]
    listed = ", ".join(allowed) or f"none: no {what} is left that all take"
    fix = f"write it into README.md (`{key}:`) and push that as a new version"
    if card is None:
        return Ruling(rule, f"{ref} has no card that names its {what}s; allowed is {listed}", fix=fix)
    if others:
        told = ", ".join(others[:_MOST_NAMED]) + (" and others" if len(others) > _MOST_NAMED else "")
        message = f"the card of {ref} names the {what} {told}; allowed is {listed}"
        return Ruling(rule, message, fix="promote another version, or have the policy allow it")
    if card.problems:
        message = f"the card of {ref} cannot be read in full: {card.problems[0]}"
        return Ruling(rule, message, fix="mend README.md and push that as a new version")
    if not named:
        return Ruling(rule, f"the card of {ref} names no {what}; allowed is {listed}", fix=fix)
    return Ruling(rule, f"the card of {ref} names the {what} {', '.join(named)}, as its author says")


def _read_allowed(
    value: object, place: DocumentPlace, is_one: Callable[[str], bool], *, example: str, what: str
) -> AllowList:
    items = read_list(value, place, example=example)
    if not items:
        raise place.wrong("is empty, and so nothing could pass", fix="leave the key out")
    if len(items) > _MOST:
        raise place.wrong(f"has {len(items)} items", fix=f"name at most {_MOST}")
    names: list[str] = []
    for number, item in enumerate(items):
        name = read_text(item, place.at(number), example=example).lower()
        if not is_one(name):
            raise place.at(number).wrong(f"is no {what} as a card names it: {name}", fix=f"write {example}")
        if name in names:
            raise place.at(number).wrong(f"names {name} twice", fix="name it once")
        names.append(name)
    return tuple(names)


def _matches(name: str, pattern: str) -> bool:
    return name.startswith(pattern[:-1]) if pattern.endswith("*") else name == pattern


def _narrower(one: str, other: str) -> str:
    """Return the pattern of all that two patterns match; empty if there is nothing."""
    if one.endswith("*") and other.endswith("*"):
        longer, shorter = sorted((one, other), key=len, reverse=True)
        return longer if longer.startswith(shorter[:-1]) else ""
    name, pattern = (other, one) if one.endswith("*") else (one, other)
    return name if _matches(name, pattern) else ""
