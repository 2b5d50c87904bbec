"""From a suite as people write it to its canonical document: strict, complete, without floats."""

import re
from collections.abc import Collection, Mapping
from difflib import get_close_matches
from typing import NoReturn

from deltareg.digest import Digest
from deltareg.documents.json_values import is_count, is_list, is_object
from deltareg.errors import DeltaregError, InvalidInput
from deltareg.suites.catalogue import CATALOGUE, CheckForm
from deltareg.suites.reference import MOST_BACK, PROMOTED, read_reference

Fields = Mapping[str, object]

_DTYPES = ("keep", "f32", "bf16", "f16")
_TOP = {"name", "about", "seed", "dtype", "budget", "probe", "sets", "checks", "tolerance"}
UNMEASURED = "n/a"
"""The key of a check that says why it may have no measure, or nothing to compare with."""
_CHECK = {"check", "name", "required", "parameters", "threshold", "against", "probes", "reference", "looks", UNMEASURED}
_THRESHOLD = {"threshold", "min_absolute_change", "min_relative_change", "greater_is_better"}
_CHANGES = {"min_absolute_change", "min_relative_change"}
_CHANGE_KEYS = "min_absolute_change or min_relative_change"
_SET = {"file", "digest", "text", "data"}
_PROBE = {"sequences": 4, "tokens": 24}
_IN_PLACE = "set"
_LOOKS = {"first": 0, "most": 0}
_LEAST_LOOK = 10
_LEAST_REASON = 2  # words
_BUDGET = {"seconds": 0, "memory_bytes": 0}
_NAME = re.compile(r"[a-z0-9](?:[a-z0-9._-]{0,62}[a-z0-9])?")
_FILE = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}")
_NO_TEXT = re.compile("[\0\ud800-\udfff]")
_TENSORS, _TASK = ".safetensors", ".yaml"
_OF_TEXTS = frozenset({"text", "similar", "ranked"})
_SUFFIXES = (".txt", ".jsonl", _TENSORS, _TASK)
_MOST_CHECKS, _MOST_SETS, _MOST_TEXTS, _MOST_LETTERS = 100, 50, 10_000, 100_000


def list_keys() -> frozenset[str]:
    """Return all keys that a suite may have, each with its part before it: `checks.looks.first`."""
    parts = {
        "": _TOP,
        "budget.": _BUDGET,
        "probe.": {*_PROBE, _IN_PLACE},
        "sets.": _SET,
        "checks.": _CHECK,
        "checks.threshold.": _THRESHOLD,
        "checks.looks.": _LOOKS,
    }
    return frozenset(part + key for part, keys in parts.items() for key in keys)


def normalise(fields: Fields) -> dict[str, object]:
    """Check a suite and return its document; a document of this function is returned unchanged.

    Raises:
        InvalidInput: A key, check, set or value is not allowed; the message names it.
    """
    _check_keys(fields, _TOP, "the suite")
    sets = _sets(fields.get("sets", {}))
    checks = fields.get("checks")
    if not is_list(checks) or not checks or len(checks) > _MOST_CHECKS:
        _refuse("checks", f"is a list of 1 to {_MOST_CHECKS} checks")
    specs = [_check(item, sets, number) for number, item in enumerate(checks, 1)]
    names = [spec["name"] for spec in specs]
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        _refuse("checks", f"names {twice!r} twice; give the second a `name` of its own")
    dtype = fields.get("dtype", "keep")
    if dtype not in _DTYPES:
        _refuse("dtype", f"is one of {', '.join(_DTYPES)}, not {dtype!r}")
    tolerance = {"tolerance": _share(fields["tolerance"])} if "tolerance" in fields else {}
    return {
        "name": _name(fields.get("name"), "name"),
        "about": _text(fields.get("about", ""), "about"),
        "seed": _count(fields.get("seed", 0), "seed"),
        "dtype": dtype,
        "budget": _counts(fields.get("budget", {}), _BUDGET, "budget", least=0),
        "probe": _seeded_probe(fields.get("probe", {}), sets),
        "sets": sets,
        "checks": specs,
        **tolerance,
    }


def _check(item: object, sets: Mapping[str, Fields], number: int) -> dict[str, object]:
    fields: Fields = {"check": item} if isinstance(item, str) else _mapping(item, f"check {number}")
    where = f"check {number}"
    _check_keys(fields, _CHECK, where)
    check = fields.get("check", fields.get("name"))
    form = CATALOGUE.get(check) if isinstance(check, str) else None
    if form is None or not isinstance(check, str):
        _refuse(where, f"{check!r} is no check{_near(str(check), CATALOGUE)}; see deltareg suite checks")
    where = f"check {number} ({check})"
    entry: dict[str, object] = {
        "check": check,
        "name": _name(fields.get("name", check), f"{where}: name"),
        "required": _flag(fields.get("required", True), f"{where}: required"),
        "parameters": _parameters(fields.get("parameters", {}), form, where),
    }
    if "threshold" in fields:
        entry["threshold"] = _threshold(fields["threshold"], form, where)
    entry |= _baseline(fields, form, where)
    entry |= _looks(fields, form, where)
    entry |= _reason(fields, form, where)
    return entry | _probes(fields, form, sets, where)


def _parameters(value: object, form: CheckForm, where: str) -> dict[str, str | int]:
    parameters = _mapping(value, f"{where}: parameters")
    _check_keys(parameters, form.parameters, f"{where}: parameters")
    parsed: dict[str, str | int] = {}
    for name, default in form.parameters.items():
        parameter = _plain(parameters[name], f"{where}: {name}") if name in parameters else default
        if parameter is None:
            _refuse(where, f"needs the parameter {name}")
        if name in form.choices and parameter not in form.choices[name]:
            choices = ", ".join(form.choices[name])
            _refuse(f"{where}: {name}", f"is one of {choices}, not {parameter!r}")
        if name in form.counts:
            parameter = _count(parameter, f"{where}: {name}")
        elif isinstance(default, int) and not isinstance(parameter, int):
            parameter = _number(parameter, f"{where}: {name}")
        parsed[name] = parameter
    return parsed


def _threshold(value: object, form: CheckForm, where: str) -> dict[str, object]:
    if not form.takes_threshold:
        _refuse(where, "measures nothing that a threshold is for; see its parameters")
    fields = _mapping(value, f"{where}: threshold")
    _check_keys(fields, _THRESHOLD, f"{where}: threshold")
    better = _flag(fields.get("greater_is_better", True), f"{where}: greater_is_better")
    numbers = {key: _number(bound, f"{where}: {key}") for key, bound in fields.items() if key != "greater_is_better"}
    if not numbers:
        _refuse(f"{where}: threshold", "has threshold, min_absolute_change or min_relative_change")
    changes = numbers.keys() - {"threshold"}
    if changes and not form.against:
        _refuse(f"{where}: threshold", f"asks for {min(changes)}, but there is nothing to compare")
    return {**numbers, "greater_is_better": better}


def _baseline(fields: Fields, form: CheckForm, where: str) -> dict[str, str]:
    """Read the reference that a measure is compared with, and the reference of that one."""
    against = fields.get("against", form.against[0] if form.against else None)
    if against is None and "reference" not in fields:
        return {}
    _comparable(against, form, where)
    if "reference" not in fields:
        return {"against": str(against)}
    reference = fields["reference"]
    if against != PROMOTED:
        _refuse(f"{where}: reference", "stands beside `against: promoted`; else write it there")
    if reference == PROMOTED:
        _refuse(f"{where}: reference", "is another one than the promoted version")
    _comparable(reference, form, f"{where}: reference")
    if not _asks_for_change(fields):
        _refuse(f"{where}: reference", f"needs a threshold with {_CHANGE_KEYS}")
    return {"against": str(against), "reference": str(reference)}


def _asks_for_change(fields: Fields) -> bool:
    threshold = fields.get("threshold")
    return is_object(threshold) and bool(_CHANGES & threshold.keys())


def _comparable(value: object, form: CheckForm, where: str) -> None:
    """Refuse an unsuitable reference; versions suit all checks that compare with the promoted one."""
    if value in form.against:
        return
    takes_versions = PROMOTED in form.against
    if takes_versions and isinstance(value, str) and read_reference(value) is not None:
        return
    allowed = [*form.against, *([f"best, NS/NAME:vN, best of 2 to {MOST_BACK}"] if takes_versions else [])]
    _refuse(where, f"is compared with {', '.join(allowed) or 'nothing'}, not with {value!r}")


def _looks(fields: Fields, form: CheckForm, where: str) -> dict[str, dict[str, int]]:
    """Read how many samples a check looks at first, and how many at most."""
    if "looks" not in fields:
        return {}
    where = f"{where}: looks"
    if not form.takes_looks:
        _refuse(where, "measures all samples at once")
    if not _asks_for_change(fields):
        _refuse(where, f"needs a threshold with {_CHANGE_KEYS}, which looks decide")
    looks = _counts(fields["looks"], _LOOKS, where, least=0)
    if looks["first"] < _LEAST_LOOK:
        _refuse(where, f"has `first`, how many samples to look at first, at least {_LEAST_LOOK}")
    if looks["most"] and looks["most"] <= looks["first"]:
        _refuse(where, "has `most`, the samples to look at in the end, more than at first")
    return {"looks": looks}


def _reason(fields: Fields, form: CheckForm, where: str) -> dict[str, str]:
    """Read why a measure may be lacking, or have nothing to be compared with."""
    if UNMEASURED not in fields:
        return {}
    if not form.against or not form.may_not_apply:
        _refuse(where, f"compares nothing that could be lacking, so it takes no `{UNMEASURED}`")
    reason = fields[UNMEASURED]
    if not isinstance(reason, str) or len(reason.split()) < _LEAST_REASON:
        _refuse(f"{where}: {UNMEASURED}", "is the reason, in a few words, why it may have nothing to compare with")
    return {UNMEASURED: _text(reason, f"{where}: {UNMEASURED}")}


def _probes(fields: Fields, form: CheckForm, sets: Mapping[str, Fields], where: str) -> dict[str, str]:
    name = fields.get("probes")
    if not form.probes:
        if name is not None:
            _refuse(where, "takes no probe set")
        return {}
    if not isinstance(name, str) or name not in sets:
        set_names = ", ".join(sets) or "none: add `sets`"
        _refuse(where, f"needs `probes`, one of the suite's sets: {set_names}")
    file = str(sets[name].get("file", ""))
    is_task = file.endswith(_TASK)
    if is_task != ("task" in form.probes):
        probes = file or name
        _refuse(where, f"{probes} is a task of lm-eval" if is_task else f"{probes} is no task: .yaml")
    if _OF_TEXTS & {*form.probes} and file.endswith(_TENSORS):
        _refuse(where, f"reads texts, and {file} holds tensors")
    if "images" in form.probes and not file.endswith(_TENSORS):
        _refuse(where, f"reads images from a file {_TENSORS}, not {file or name}")
    return {"probes": name}


def _seeded_probe(value: object, sets: Mapping[str, Fields]) -> dict[str, str | int]:
    """Read the sizes of the seeded probe, and the set of tensors that stands in for it."""
    fields = _mapping(value, "probe")
    counts = _counts({key: count for key, count in fields.items() if key != _IN_PLACE}, _PROBE, "probe", least=1)
    if _IN_PLACE not in fields:
        return {**counts}
    name = fields[_IN_PLACE]
    if not isinstance(name, str) or not str(sets.get(name, {}).get("file", "")).endswith(_TENSORS):
        _refuse("probe.set", f"names one of the suite's sets whose file is {_TENSORS}, not {name!r}")
    return {**counts, _IN_PLACE: name}


def _sets(value: object) -> dict[str, Fields]:
    items = _mapping(value, "sets")
    if len(items) > _MOST_SETS:
        _refuse("sets", f"has at most {_MOST_SETS}")
    return {_name(name, "sets"): _set(item, f"set {name}") for name, item in items.items()}


def _set(value: object, where: str) -> Fields:
    fields = _mapping(value, where)
    _check_keys(fields, _SET, where)
    if ("text" in fields) == ("file" in fields):
        _refuse(where, "has either `text`, a list of texts, or `file`")
    if "text" in fields:
        texts = fields["text"]
        if not is_list(texts) or not texts or len(texts) > _MOST_TEXTS:
            _refuse(where, f"text is a list of 1 to {_MOST_TEXTS} texts")
        return {"text": [_text(item, where) for item in texts]}
    name = fields["file"]
    if not isinstance(name, str) or not _FILE.fullmatch(name) or not name.endswith(_SUFFIXES):
        suffixes = ", ".join(_SUFFIXES)
        _refuse(where, f"file is a name beside the suite, ending in {suffixes}, not {name!r}")
    if "data" in fields and not name.endswith(_TASK):
        _refuse(where, "has `data`, which only a task of lm-eval has")
    return {"file": name} | _digest(fields.get("digest"), where) | _data(fields, where)


def _data(given: Fields, where: str) -> dict[str, object]:
    if "data" not in given:
        return {}
    files = _mapping(given["data"], f"{where}: data")
    odd = next((name for name in files if not _FILE.fullmatch(name)), None)
    if odd is not None:
        _refuse(f"{where}: data", f"names files beside the suite, not {odd!r}")
    return {"data": {name: _digest(str(digest), where)["digest"] for name, digest in files.items()}}


def _digest(value: object, where: str) -> dict[str, str]:
    if value is None:
        return {}
    try:
        return {"digest": str(Digest.parse(str(value)))}
    except DeltaregError:
        _refuse(where, f"digest is sha256:…, not {str(value)[:80]!r}; leave it out to have it made")


def _counts(value: object, known: Mapping[str, int], where: str, *, least: int) -> dict[str, int]:
    fields = _mapping(value, where)
    _check_keys(fields, known, where)
    counts = {key: _count(fields.get(key, default), f"{where}.{key}") for key, default in known.items()}
    small = next((key for key, number in counts.items() if number < least), None)
    if small is not None:
        _refuse(f"{where}.{small}", f"is at least {least}")
    return counts


def _check_keys(given: Fields, known: Collection[str], where: str) -> None:
    odd = next((key for key in given if key not in known), None)
    if odd is not None:
        _refuse(where, f"has no key {odd!r}{_near(odd, known)}")


def _near(word: str, known: Collection[str]) -> str:
    near = get_close_matches(word, known, n=1)
    return f"; did you mean {near[0]!r}?" if near else f"; known: {', '.join(sorted(known))}"


def _mapping(value: object, where: str) -> Fields:
    if not is_object(value):
        _refuse(where, "is a mapping of keys to values")
    return value


def _name(value: object, where: str) -> str:
    if not isinstance(value, str) or not _NAME.fullmatch(value):
        _refuse(where, f"is lower-case letters, digits and . _ -, at most 64, not {str(value)[:80]!r}")
    return value


def _text(value: object, where: str) -> str:
    if not isinstance(value, str):
        _refuse(where, f"is text, not {type(value).__name__}")
    if len(value) > _MOST_LETTERS or _NO_TEXT.search(value):
        _refuse(where, f"is text of at most {_MOST_LETTERS} characters, without NUL or half a surrogate pair")
    return value


def _flag(value: object, where: str) -> bool:
    if not isinstance(value, bool):
        _refuse(where, f"is true or false, not {value!r}")
    return value


def _count(value: object, where: str) -> int:
    if not is_count(value):
        _refuse(where, f"is a whole number from 0 on, not {value!r}")
    return value


def _plain(value: object, where: str) -> str | int:
    if isinstance(value, bool) or not isinstance(value, (str, int, float)):
        _refuse(where, f"is a number or a word, not {value!r}")
    return _text(value, where) if isinstance(value, str) else _number(value, where)


def _number(value: object, where: str) -> str | int:
    """Write a number: integers as they are, others as the shortest text that gives the value."""
    if isinstance(value, bool) or not isinstance(value, (str, int, float)):
        _refuse(where, f"is a number, not {value!r}")
    try:
        number = float(value)
    except ValueError:
        _refuse(where, f"is a number, not {value!r}")
    except OverflowError:  # of a whole number; others become infinite
        number = float("inf")
    if number != number or abs(number) == float("inf"):
        _refuse(where, "is a finite number")
    return value if isinstance(value, int) else repr(number)


def _share(value: object) -> str | int:
    share = _number(value, "tolerance")
    if not 0 <= float(share) <= 1:
        _refuse("tolerance", "is a share of what is measured, from 0 to 1")
    return share


def _refuse(where: str, what: str) -> NoReturn:
    raise InvalidInput(f"{where}: {what}", fix="see docs/howto/suites.md")
