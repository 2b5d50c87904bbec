"""What a suite asks of whoever runs it, as words: checks, their parameters, keys of the document.

A worker says which words its release knows, and is given suites that need no others. The words of
a document are read without its checks' forms, so a server can name what it does not know itself.
"""

from collections.abc import Collection, Iterator, Mapping
from functools import lru_cache

from deltareg.documents.json_values import is_list, is_object
from deltareg.errors import DeltaregError
from deltareg.suites.catalogue import CATALOGUE
from deltareg.suites.document import list_keys
from deltareg.suites.reference import BEST, PROMOTED, is_best
from deltareg.tensors.header import strict_json_object

_MOST_READ = 64
_PLAIN = frozenset({"", "base", PROMOTED})


def list_suite_words(checks: Collection[str]) -> frozenset[str]:
    """Return the words that a release with some checks knows.

    Args:
        checks: The names of the checks that can be run; their forms are of the catalogue.
    """
    words = {f"suite key {key}" for key in list_keys()} | {f"reference {BEST}", "reference to a version"}
    for name in checks:
        form = CATALOGUE.get(name)
        words.add(f"check {name}")
        for parameter in () if form is None else form.parameters:
            words |= set(_parameter_words(name, parameter, *_choices(name, parameter)))
    return frozenset(words)


@lru_cache(maxsize=_MOST_READ)
def words_of_suite(document: bytes) -> frozenset[str]:
    """Return the words that a suite needs, given its canonical document; none if it is no document."""
    try:
        fields = strict_json_object(document)
    except DeltaregError:
        return frozenset()
    checks = fields.get("checks")
    words = {f"suite key {key}" for key in fields}
    words |= {f"suite key {name}.{key}" for name in ("budget", "probe") for key in _keys(fields.get(name))}
    sets = fields.get("sets")
    for one in sets.values() if is_object(sets) else ():
        words |= {f"suite key sets.{key}" for key in _keys(one)}
    for item in checks if is_list(checks) else ():
        if is_object(item):
            words |= set(_words_of_check(item))
    return frozenset(words)


def _words_of_check(item: Mapping[str, object]) -> Iterator[str]:
    name, parameters = str(item.get("check", "")), item.get("parameters")
    yield f"check {name}"
    for key in item:
        yield f"suite key checks.{key}"
    for key in ("threshold", "looks"):
        yield from (f"suite key checks.{key}.{inner}" for inner in _keys(item.get(key)))
    for parameter, value in parameters.items() if is_object(parameters) else ():
        chosen = (str(value),) if _choices(name, parameter) else ()
        yield from _parameter_words(name, parameter, *chosen)
    for key in ("against", "reference"):
        reference = str(item.get(key, ""))
        if reference not in _PLAIN:
            yield f"reference {BEST}" if is_best(reference) else "reference to a version"


def _parameter_words(check: str, parameter: str, *values: str) -> Iterator[str]:
    yield f"check {check} with {parameter}"
    yield from (f"check {check} with {parameter} {value}" for value in values)


def _choices(check: str, parameter: str) -> tuple[str, ...]:
    form = CATALOGUE.get(check)
    return () if form is None else form.choices.get(parameter, ())


def _keys(value: object) -> Collection[str]:
    return list(value) if is_object(value) else ()
