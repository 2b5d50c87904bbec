"""One base's name map, built from its config and the names in its files."""

import re
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import cast

from deltareg.delta.architectures import facts
from deltareg.delta.names.rules import NameRules, rules_for
from deltareg.delta.names.runs import respell
from deltareg.delta.names.ties import PARTS_OF, Ties, ties_of

_EXPERT = re.compile(r"(.+)\.(\d{1,9})\.(\w+)\.weight")
_WEIGHT = ".weight"
_OTHER_PREFIX = "transformer."  # of classes that answer questions, Llama's among them
_OWN_STACK = "transformer.layer."  # how DistilBERT calls its layers: no prefix, but a part of it
_LANGUAGE_HEADS = ("LM", "ConditionalGeneration", "PreTraining", "DoubleHeads")


@dataclass(frozen=True, slots=True)
class ParameterPart:
    """The position of a file's tensor in a parameter that consists of several.

    Attributes:
        whole: The parameter's name in the running network.
        row: Which of its rows along the first dimension: an expert.
        place: Which of the equal parts of the row, along the row's own first dimension.
        places: How many such parts there are.
    """

    whole: str
    row: int
    place: int
    places: int


@dataclass(frozen=True, slots=True)
class JoinedRows:
    """The position of a file's tensor in a parameter that is several of them, one below the other.

    Attributes:
        whole: The parameter's name in the running network.
        before: The tensors of the files whose rows come first.
    """

    whole: str
    before: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class NameMap:
    """Finds a base's tensor for a module name, whatever its prefix or library version.

    Attributes:
        model_type: As in the base's config; empty when unknown.
        files: Every tensor's own name and its canonical spelling -> its name in the base's files.
            An ambiguous spelling is left out.
        rules: The rules of the model type.
        architecture: The class named in the base's config; empty when none is.
        ties: Names that share one tensor in the running network.
        types: Model types of the network and of the networks that it is composed of.
        parts: The rules of these, by the attribute that holds each.
    """

    model_type: str
    files: Mapping[str, str]
    rules: NameRules = field(default_factory=lambda: rules_for(""))
    architecture: str = ""
    ties: Ties = field(default_factory=Ties)
    types: frozenset[str] = frozenset()
    parts: Mapping[str, NameRules] = field(default_factory=dict[str, NameRules])

    def canonical(self, path: str) -> str:
        """Return the newest spelling of a name, without the prefix of the plain network."""
        return self._strip_prefix(self.apply_renames(path))

    def old_style(self, path: str) -> str:
        """Return a name in its own spelling, without the prefix of the plain network."""
        return self._strip_prefix(path)

    def tensor(self, module_path: str) -> str | None:
        """Return the base's tensor name for a parameter path such as `bert.encoder….weight`."""
        path = self.canonical(module_path)
        file_name = self.files.get(module_path) or self.files.get(path)
        if file_name is not None or self.rules.is_known:
            return file_name
        tops = {name.partition(".")[0] for name in self.files}
        below = {self.files[f"{top}.{path}"] for top in tops if f"{top}.{path}" in self.files}
        return below.pop() if len(below) == 1 else None

    def memory(self, file_name: str) -> str | None:
        """Return the parameter's name in the running network; None if it is no parameter.

        The running network is an instance of the class that the base's config names. A tensor that
        is only part of a parameter there (`part`) keeps a name of its own, in the newest spelling.
        """
        if self.is_buffer(file_name):
            return None
        name, prefix = self.apply_renames(file_name), self.rules.prefix
        if not prefix or not self.architecture:
            return name
        if self.is_plain_class:
            return name.removeprefix(f"{prefix}.")
        is_elsewhere = name.startswith(_OTHER_PREFIX) and not name.startswith(_OWN_STACK)
        if name.startswith(f"{prefix}.") or is_elsewhere or self.is_head(name):
            return name
        return f"{prefix}.{name}"

    def part(self, file_name: str) -> ParameterPart | None:
        """Return the position of a tensor that newer networks keep inside a larger one; else None."""
        match = _EXPERT.fullmatch(self.memory(file_name) or "")
        if match is None:
            return None
        experts, number, module = match.groups()
        for parameter, modules in self.rules.fused:
            container, _, own = parameter.rpartition(".")
            if module not in modules or not f".{experts}".endswith(f".{container}"):
                continue
            start = file_name.removesuffix(f"{module}.weight")
            if start != file_name and any(f"{start}{other}.weight" not in self.files for other in modules):
                return ParameterPart(f"{experts}.{module}", int(number), 0, 1)  # experts without a gate
            return ParameterPart(f"{experts}.{own}", int(number), modules.index(module), len(modules))
        return None

    def find_joined(self, file_name: str) -> JoinedRows | None:
        """Return the position of a tensor whose rows follow those of others in one parameter; else None."""
        path, _, own = (self.memory(file_name) or "").removesuffix(_WEIGHT).rpartition(".")
        for module, parts in self.rules.joined:
            container, _, whole = module.rpartition(".")
            if own in parts and f".{path}".endswith(f".{container}"):
                start = file_name.removesuffix(f"{own}{_WEIGHT}")
                before = tuple(f"{start}{part}{_WEIGHT}" for part in parts[: parts.index(own)])
                return JoinedRows(f"{path}.{whole}{_WEIGHT}", before)
        return None

    def sharers(self, path: str) -> dict[str, str]:
        """Return the names that share a parameter's tensor in memory, including its own.

        Returns:
            Canonical spelling -> the name in the running network; empty if it shares none.
        """
        canonical = self.canonical(path)
        for group in self.ties.groups:
            sharers = {self.canonical(name): name for name in group}
            if canonical in sharers:
                return sharers
        return {}

    def stored_twin(self, module_path: str) -> str | None:
        """Return the base's tensor that a tied name shares; None if it has its own or shares none."""
        path = self.canonical(module_path)
        if path in self.files:
            return None
        names = {self._find_file_name(other) for other in self.sharers(path) if other != path}
        names.discard(None)
        return names.pop() if len(names) == 1 else None

    def stored_sharers(self, module_path: str) -> list[str]:
        """Return all tensors of the files that are one tensor with a parameter in memory."""
        names = {self._find_file_name(name) for name in self.sharers(module_path)}
        return sorted(name for name in names if name is not None)

    def absent_twins(self) -> dict[str, str]:
        """Return the names that share a stored tensor in memory and have no own one in files.

        Returns:
            Twin -> the stored tensor's name.
        """
        tops = {name.partition(".")[0] for name in self.files}
        twins: dict[str, str] = {}
        for twin in (self.canonical(name) for group in self.ties.groups for name in group):
            stored = self.stored_twin(twin)
            is_there = self.ties.is_of_class or (self._has_language_head if self.is_head(twin) else _top(twin) in tops)
            if stored is not None and is_there:
                twins[self.spelled_like(twin, stored)] = stored
        return twins

    def spelled_like(self, path: str, stored: str) -> str:
        """Return a name with the prefix, if any, of one of the base's own names."""
        names = self.sharers(path)
        if names.get(self.canonical(stored)) == stored:
            return names[self.canonical(path)]
        path, (top, dot, rest) = self.canonical(path), self.apply_renames(stored).partition(".")
        is_inside = rest and top in self.rules.strip and not self.is_head(path)
        return f"{top}{dot}{path}" if is_inside else path

    def is_buffer(self, name: str) -> bool:
        """Whether a name belongs to a buffer, which files carry and training does not change."""
        rules = self.parts.get(_top(name), self.rules)
        return any(name == end or name.endswith(f".{end}") for end in rules.buffers)

    def is_head(self, name: str) -> bool:
        """Whether a name belongs to a head that a class adds to the plain network."""
        return name.partition(".")[0] in self.rules.heads

    def is_transposed(self, file_name: str) -> bool:
        """Whether this weight is stored (in, out): a GPT-2 style Conv1D."""
        module = self.canonical(file_name).removesuffix(".weight")
        if any(module == end or module.endswith(f".{end}") for end in self.rules.transposed):
            return True
        last = module.rpartition(".")[2]
        return any(last in facts().conv1d.get(name, ()) for name in self.types)

    def within(self, part: str) -> "NameMap":
        """Return the map of a component of a pipeline, over names without it; otherwise this map."""
        return self

    @property
    def are_experts_in_out(self) -> bool:
        """Whether stacks of experts are stored (experts, in, out), as far as the types show."""
        return bool(self.types & facts().experts_in_out)

    @property
    def is_type_known(self) -> bool:
        """Whether the model types determine the orientation of every weight."""
        return self.rules.is_known or (bool(self.types) and self.types <= facts().types)

    @property
    def is_plain_class(self) -> bool:
        """Whether the class that the base's config names is the plain network, without a head."""
        is_plain = self.architecture.endswith("Model") and not self._has_language_head
        return is_plain or self.architecture in self.rules.unprefixed

    @property
    def _has_language_head(self) -> bool:
        return any(word in self.architecture for word in _LANGUAGE_HEADS)

    def apply_renames(self, path: str) -> str:
        """Return a name in its newest spelling, keeping its prefix."""
        top, dot, rest = path.partition(".")
        if top in self.parts:
            return f"{top}{dot}{respell(rest, self.parts[top].renames)}"
        return respell(path, self.rules.renames)

    def _strip_prefix(self, path: str) -> str:
        first, _, rest = path.partition(".")
        return rest if rest and first in self.rules.strip and not self.is_head(rest) else path

    def _find_file_name(self, stored: str) -> str | None:
        if stored in self.files:
            return self.files[stored]
        names = {name for path, name in self.files.items() if path.endswith(f".{stored}")}
        return names.pop() if len(names) == 1 else None


def _top(path: str) -> str:
    return path.partition(".")[0]


def _types(config: Mapping[str, object]) -> frozenset[str]:
    """Return the model types of a config and of all nested configs."""
    types: set[str] = set()
    todo: list[object] = [config]
    while todo:
        value = todo.pop()
        if isinstance(value, dict):
            inner = cast("dict[str, object]", value)
            name = inner.get("model_type")
            types |= {name} if isinstance(name, str) and name else set()
            todo.extend(inner.values())
    return frozenset(types)


def name_map_for(config: Mapping[str, object], names: Iterable[str]) -> NameMap:
    """Build the map of a base from its `config.json` and the tensor names of its files."""
    model_type = config.get("model_type")
    model_name = model_type if isinstance(model_type, str) else ""
    classes = config.get("architectures")
    class_names = cast("list[object]", classes) if isinstance(classes, list) else []
    architecture = str(class_names[0]) if class_names else ""
    own = list(names)
    rules = _with_prefix(rules_for(model_name, architecture), model_name, own)
    ties = ties_of(architecture, config, rules)
    parts = {
        name: rules_for(str(cast("dict[str, object]", part).get("model_type")))
        for name, told_in in PARTS_OF.get(model_name, {}).items()
        if isinstance(part := config.get(told_in), dict)
    }
    empty = NameMap(model_name, {}, rules, architecture, ties, _types(config), parts)
    by_spelling: dict[str, list[str]] = defaultdict(list)
    for name in own:
        by_spelling[empty.canonical(name)].append(name)
    files = {path: file_names[0] for path, file_names in by_spelling.items() if len(file_names) == 1}
    files.update({name: name for name in own})
    return replace(empty, files=files)


def _with_prefix(rules: NameRules, model_type: str, names: Iterable[str]) -> NameRules:
    """Add the attribute under which a class with a head holds the plain network of these files.

    Files whose names already contain it distinguish heads by themselves.
    """
    prefix = facts().prefixes.get(model_type, "")
    if rules.is_known or any(name.startswith(f"{prefix}.") for name in names):
        return rules
    return replace(rules, prefix=prefix)
