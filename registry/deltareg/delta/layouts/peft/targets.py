"""The modules that a peft config asks for, checked against those that have tensors.

The library gives a config's strings to `re`; `patterns` does that in bounded time.
"""

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import cast

from deltareg.delta.kind import BaseView
from deltareg.delta.layouts.peft.config import Fields, is_number
from deltareg.delta.layouts.peft.patterns import Pattern, ending_pattern, whole_pattern
from deltareg.delta.layouts.peft.suffixes import ANYWHERE, LITERAL, ModuleNumbers, Suffix, Suffixes, is_within, suffix
from deltareg.delta.names import NameMap
from deltareg.errors import Problem

ALL_LINEAR = "all-linear"
_EXPERTS = ".experts.N."
_MOST_SAVED = 32


@dataclass(frozen=True, slots=True)
class TargetModules:
    """The config's choice of modules to adapt.

    Attributes:
        listed: Names of modules, or their ends; empty when the config does not list them.
        is_all_linear: Whether every linear layer is meant.
        excluded: Names of modules, or their ends, that are left out.
        saved: Modules that are saved whole and so not adapted.
        layers: The only layer numbers that are adapted; None for all.
        layer_lists: Names of the lists that the numbers count in; empty for the first number.
    """

    listed: Suffixes = field(default_factory=Suffixes)
    is_all_linear: bool = False
    excluded: Suffixes = field(default_factory=Suffixes)
    saved: tuple[str, ...] = ()
    layers: frozenset[int] | None = None
    layer_lists: tuple[str, ...] = ()

    def entry(self, module: str) -> int | None:
        """Return the position of the entry by which the config selects a module."""
        position = self.listed.first(module)
        if position is None or self.leaves_out(module):
            return None
        # The library asks for the layer only where the end of the name is what fits.
        is_named = self.listed.entries[position].text == module
        return position if is_named or self._is_in_layers(module) else None

    def leaves_out(self, module: str) -> bool:
        """Whether the config says that a module is not adapted."""
        return self.excluded.first(module) is not None or any(is_within(module, name) for name in self.saved)

    def _is_in_layers(self, module: str) -> bool:
        if self.layers is None:
            return True
        parts = module.split(".")
        for at in range(1, len(parts) - 1):
            above = ".".join(parts[:at])
            is_layer = at >= 2 if not self.layer_lists else self._is_list(above)
            if parts[at].isdecimal() and is_layer:
                return int(parts[at]) in self.layers
        return False

    def _is_list(self, path: str) -> bool:
        return any(path == name or path.endswith(f".{name}") for name in self.layer_lists)


def read_targets(fields: Fields, *, saved: tuple[str, ...]) -> TargetModules:
    """Read `target_modules`, `exclude_modules`, `layers_to_transform` and `layers_pattern`."""
    excluded = _read_excluded(fields)
    layers = _layers(fields)
    lists = _plain_list(fields, "layers_pattern")
    value = fields.value("target_modules")
    if isinstance(value, str):
        return _one_text(fields, value, excluded, saved)
    targets = _plain_list(fields, "target_modules")
    names = tuple(entry.text for entry in lists.entries)
    return TargetModules(targets, excluded=excluded, saved=saved, layers=layers, layer_lists=names)


def read_parameters(fields: Fields) -> Suffixes:
    """Read `target_parameters`: names of parameters, or their ends."""
    return _plain_list(fields, "target_parameters")


def with_weights(targets: TargetModules, parameters: Suffixes) -> TargetModules:
    """Add modules whose weight is targeted as a parameter to the targeted modules."""
    ends = [e.text.removesuffix(".weight") for e in parameters.entries if e.text.endswith(".weight")]
    suffixes = Suffixes.of([*targets.listed.entries, *(Suffix(end) for end in ends)])
    return replace(targets, listed=suffixes)


def read_numbers(fields: Fields, name: str, *, whole: bool = False) -> ModuleNumbers:
    """Read `rank_pattern` (whole numbers) or `alpha_pattern`: ends of names, with a number each."""
    entries: list[Suffix | Pattern] = []
    values: list[float] = []
    for text, value in fields.table(name).items():
        key = suffix(text) or ending_pattern(text, fields.budget)
        if isinstance(key, str):
            fields.refuse(name, f"has a key {text[:80]} that {key}")
        elif not isinstance(value, (int, float)) or not is_number(value):
            fields.refuse(name, f"has no number for {text[:80]}")
        elif whole and (value < 1 or value != int(value)):
            fields.refuse(name, f"has no whole number for {text[:80]}")
        else:
            entries.append(key)
            values.append(value)
    return ModuleNumbers(Suffixes.of(entries), tuple(values))


def read_saved(fields: Fields, *, task_type: object) -> tuple[str, ...]:
    """Read `modules_to_save`, with the heads that the library adds by itself for some tasks."""
    names = [entry.text for entry in _plain_list(fields, "modules_to_save").entries]
    if len(names) > _MOST_SAVED:
        fields.refuse("modules_to_save", f"names more than {_MOST_SAVED} modules")
    heads = _TASK_HEADS.get(task_type, ()) if isinstance(task_type, str) else ()
    return tuple(dict.fromkeys([*names, *heads]))


_TASK_HEADS: dict[str, tuple[str, ...]] = {
    "SEQ_CLS": ("classifier", "score"),
    "TOKEN_CLS": ("classifier", "score"),
    "QUESTION_ANS": ("qa_outputs",),
}


def find_unadapted(
    hit: Mapping[str, str], targets: TargetModules, base: BaseView, *, same_class: bool, rank: int = 2
) -> list[Problem]:
    """Find modules that the config selects and that have no tensors.

    Args:
        hit: Module path -> the base's weight, for every module with tensors.
        targets: The modules that the config selects.
        base: The base.
        same_class: Whether the delta was trained on the class that the base's config names; only
            then must every module of the base have been there.
        rank: The least number of dimensions of an adaptable module's weight.
    """
    spell = _speller(hit, base.names)
    hits: Counter[str] = Counter(template_of(spell(name)) for name in hit.values())
    entries = {targets.entry(module) for module in hit}
    missing: dict[str, list[str]] = defaultdict(list)
    loud: set[str] = set()
    adapted = set(hit.values())
    for name, record in base.tensors.items():
        if len(record.shape) < rank or not name.endswith(".weight") or name in adapted:
            continue
        module = spell(name)
        template = template_of(module)
        entry = _entry(targets, module, base.names)
        is_like = targets.is_all_linear and hits[template] and not targets.leaves_out(module)
        if entry is None and not is_like:
            continue
        if not hits[template] and _EXPERTS in f"{template}.":
            continue  # newer libraries fuse experts into one parameter, which has no module
        missing[template].append(name)
        lost = entry is not None and entry not in entries and ".N." in template
        if hits[template] or same_class or lost:
            loud.add(template)
    return [_missing(t, names, hits[t], is_error=t in loud) for t, names in missing.items()]


def _missing(template: str, names: list[str], hits: int, *, is_error: bool) -> Problem:
    message = f"{len(names)} of {len(names) + hits} modules {template} have no tensors"
    return Problem(
        "missing_tensors",
        f"{message}, and the config asks for them",
        "error" if is_error else "warning",
        names[0],
        "save the delta again from the training process; part of it was lost",
    )


class _Speller:
    """Spells a base's weights as the delta spells its modules: newest, or as the files do."""

    def __init__(self, names: NameMap, *, is_old: bool) -> None:
        self._names = names
        self._is_old = is_old

    def __call__(self, file_name: str) -> str:
        spell = self._names.old_style if self._is_old else self._names.canonical
        return spell(file_name).removesuffix(".weight")


def _speller(hit: Iterable[str], names: NameMap) -> _Speller:
    paths = [f"{module}.weight" for module in hit]
    return _Speller(names, is_old=any(names.old_style(p) != names.canonical(p) for p in paths))


def _entry(targets: TargetModules, module: str, names: NameMap) -> int | None:
    spellings = [module, *(f"{prefix}.{module}" for prefix in names.rules.strip)]
    return next((entry for s in spellings if (entry := targets.entry(s)) is not None), None)


def template_of(module: str) -> str:
    """Return a path with N for every number, so that it is the same for all layers."""
    return ".".join("N" if part.isdecimal() else part for part in module.split("."))


def _one_text(fields: Fields, text: str, excluded: Suffixes, saved: tuple[str, ...]) -> TargetModules:
    if text.lower() == ALL_LINEAR:
        return TargetModules(is_all_linear=True, excluded=excluded, saved=saved)
    targets = _whole_text(fields, "target_modules", text)
    return TargetModules(targets, excluded=excluded, saved=saved)


def _read_excluded(fields: Fields) -> Suffixes:
    value = fields.value("exclude_modules")
    if isinstance(value, str) and value:
        return _whole_text(fields, "exclude_modules", value)
    return _plain_list(fields, "exclude_modules")


def _whole_text(fields: Fields, name: str, text: str) -> Suffixes:
    """Read a text instead of a list: for the library it must match a module's whole name."""
    plain = suffix(text)
    if plain is not None and not text.startswith(ANYWHERE):
        return Suffixes.of([Suffix(plain.text, anchored=True)])
    pattern = whole_pattern(text, fields.budget)
    if isinstance(pattern, str):
        fields.refuse(name, pattern, fix=f"write {name} as a list of module names")
        return Suffixes()
    return Suffixes.of([pattern])


def _plain_list(fields: Fields, name: str) -> Suffixes:
    value = fields.value(name)
    names = (value,) if isinstance(value, str) else fields.texts(name)
    wrong = next((text for text in names if LITERAL.fullmatch(text) is None), None)
    if wrong is not None:
        fields.refuse(name, "holds a regular expression", fix="write plain module names")
        return Suffixes()
    return Suffixes.of(Suffix(text) for text in names)


def _layers(fields: Fields) -> frozenset[int] | None:
    value = fields.value("layers_to_transform")
    if value is None or value == []:
        return None
    entries = cast("list[object]", value) if isinstance(value, list) else [value]
    numbers = [n for n in entries if isinstance(n, int) and not isinstance(n, bool) and n >= 0]
    if len(numbers) == len(entries):
        return frozenset(numbers)
    fields.refuse("layers_to_transform", "is not a list of layer numbers")
    return None
