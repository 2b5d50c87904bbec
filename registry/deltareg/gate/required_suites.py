"""The suites that a policy requires, as people write them: names, with or without an age."""

import re
from dataclasses import dataclass

from deltareg.documents.json_values import is_object
from deltareg.documents.strict_fields import DocumentPlace, describe_value, read_list, read_object, read_text

DEFAULT_SUITE = "smoke"
_MOST_ITEMS = 200
_SECONDS = {"w": 604_800, "d": 86_400, "h": 3600, "m": 60, "s": 1}
_AGE = re.compile(r"(\d{1,6})([wdhms])")
_SUITE_EXAMPLE = "[smoke, {suite: deep, max_age: 30d}]"


@dataclass(frozen=True, slots=True)
class RequiredSuite:
    """A suite that must have passed.

    Attributes:
        name: Of the suite.
        max_age_s: How old its verdict may be, in seconds; None for any age.
    """

    name: str
    max_age_s: int | None = None


def write_age(seconds: int) -> str:
    """Format an age in the largest unit that is exact: `30d`, `36h`."""
    unit = next(unit for unit, size in _SECONDS.items() if seconds % size == 0 and unit != "w")
    return f"{seconds // _SECONDS[unit]}{unit}"


def parse_suites(value: object, place: DocumentPlace) -> tuple[RequiredSuite, ...]:
    """Parse a list of suites.

    Raises:
        InvalidInput: It is none, or names a suite twice.
    """
    items = read_items(value, place, example=_SUITE_EXAMPLE)
    suites = tuple(_suite(item, place.at(number)) for number, item in enumerate(items))
    refuse_twice([suite.name for suite in suites], place)
    return suites


def put_beside_smoke(
    suites: tuple[RequiredSuite, ...], *, asks_smoke: bool, place: DocumentPlace
) -> tuple[RequiredSuite, ...]:
    """Add `smoke` before all other suites, unless it is among them or not required."""
    is_named = any(suite.name == DEFAULT_SUITE for suite in suites)
    if is_named and not asks_smoke:
        raise place.at("smoke").wrong("is false, and `suites` names smoke", fix="take one of the two out")
    return suites if is_named or not asks_smoke else (RequiredSuite(DEFAULT_SUITE), *suites)


def name_of_suite(suite: object) -> object:
    """Return the name of a suite as a policy writes it, which nobody has checked yet."""
    return suite.get("suite") if is_object(suite) else suite


def _suite(value: object, place: DocumentPlace) -> RequiredSuite:
    if isinstance(value, str):
        return RequiredSuite(read_text(value, place, example="smoke"))
    fields = read_object(value, place, known=("suite", "max_age"))
    if "suite" not in fields:
        raise place.wrong("names no suite", fix="write {suite: deep, max_age: 30d}")
    name = read_text(fields["suite"], place.at("suite"), example="suite: deep")
    if "max_age" not in fields:
        return RequiredSuite(name)
    return RequiredSuite(name, _age(fields["max_age"], place.at("max_age")))


def _age(value: object, place: DocumentPlace) -> int:
    match = _AGE.fullmatch(value) if isinstance(value, str) else None
    seconds = 0 if match is None else int(match[1]) * _SECONDS[match[2]]
    if seconds == 0:
        raise place.wrong(f"is no age: {describe_value(value)}", fix="write 30d, 12h or 90m")
    return seconds


def suite_field(suite: RequiredSuite) -> object:
    """Write a suite as `parse_suites` reads it."""
    if suite.max_age_s is None:
        return suite.name
    return {"suite": suite.name, "max_age": write_age(suite.max_age_s)}


def read_items(value: object, place: DocumentPlace, *, example: str) -> list[object]:
    """Read a list of a policy.

    Raises:
        InvalidInput: It is no list, or has too many items.
    """
    items = read_list(value, place, example=example)
    if len(items) > _MOST_ITEMS:
        raise place.wrong(f"has {len(items)} items", fix=f"name at most {_MOST_ITEMS}")
    return items


def refuse_twice(names: list[str], place: DocumentPlace) -> None:
    """Refuse a name that is there twice.

    Raises:
        InvalidInput: One is.
    """
    for number, name in enumerate(names):
        if name in names[:number]:
            raise place.at(number).wrong(f"names {name} twice", fix="name it once")
