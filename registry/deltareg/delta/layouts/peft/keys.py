"""The tensor names that peft writes: `base_model.model.` module `.` marker `.` parameter.

Some training scripts leave the adapter's name in (`lora_A.default.weight`); it is removed here, so
both spellings mean the same.
"""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass

PREFIX = "base_model.model."
SAVED = "modules_to_save"
ORIGINAL = "original_module"
BASE_LAYER = "base_layer"
TOKENS = "token_adapter"
_WRAPPERS = frozenset({SAVED, ORIGINAL, BASE_LAYER, TOKENS})


@dataclass(frozen=True, slots=True)
class PeftTensorName:
    """A parsed tensor name.

    Attributes:
        name: As in the file.
        module: The module it belongs to, by the path that the training process used.
        marker: Its role for the kind (`lora_A`) or for peft (`modules_to_save`); empty for a
            parameter under its own name.
        parameter: `weight`, `bias`, or a path below the module; empty for a bare parameter.
    """

    name: str
    module: str
    marker: str
    parameter: str

    @property
    def path(self) -> str:
        """The base's parameter that this tensor replaces, if the marker is one of peft's own."""
        return f"{self.module}.{self.parameter}"


@dataclass(frozen=True, slots=True)
class PeftTensorNames:
    """All tensor names of a delta, parsed.

    Attributes:
        read: Those that were understood, by name.
        unread: The others: without `base_model.model.`, or without a known part.
        adapters: Names of adapters that were left in them; with two it is ambiguous.
    """

    read: dict[str, PeftTensorName]
    unread: tuple[str, ...]
    adapters: tuple[str, ...] = ()


def read_keys(names: Iterable[str], markers: frozenset[str], *, parameters: Iterable[str] = ()) -> PeftTensorNames:
    """Parse tensor names.

    Args:
        names: As in the files.
        markers: The kind's own markers.
        parameters: Parameters that may follow them and so are not adapter names; `weight` and
            `bias` never are.
    """
    ordered = sorted(names)
    first = {parameter.partition(".")[0] for parameter in parameters}
    adapters = _adapter_names(ordered, markers, {"weight", "bias", *first})
    adapter = adapters[0] if adapters else ""
    parsed: dict[str, PeftTensorName] = {}
    unread: list[str] = []
    for name in ordered:
        key = _read_key(name, markers, adapter)
        if key is None:
            unread.append(name)
        else:
            parsed[name] = key
    return PeftTensorNames(parsed, tuple(unread), adapters)


def _read_key(name: str, markers: frozenset[str], adapter: str) -> PeftTensorName | None:
    if not name.startswith(PREFIX):
        return None
    parts = name.removeprefix(PREFIX).split(".")
    at = next((n for n, part in enumerate(parts) if part in markers or part in _WRAPPERS), None)
    while at is not None and parts[at] == BASE_LAYER and _is_nested(parts[at + 1 :], markers):
        at += 1  # one adapted parameter of a module within another
    if at is None:
        return PeftTensorName(name, ".".join(parts[:-1]), "", parts[-1]) if len(parts) > 1 else None
    if parts[at : at + 2] == [TOKENS, BASE_LAYER]:
        parts.pop(at)
    module, marker, rest = ".".join(parts[:at]), parts[at], parts[at + 1 :]
    if adapter and (adapter in rest[:1] or marker == TOKENS):
        rest = [part for part in rest if part != adapter]
    nested = any(part in markers or part in _WRAPPERS for part in rest)
    return None if nested or not module else PeftTensorName(name, module, marker, ".".join(rest))


def _is_nested(rest: list[str], markers: frozenset[str]) -> bool:
    return next((part for part in rest if part != BASE_LAYER), "") in markers


def _adapter_names(names: Iterable[str], markers: frozenset[str], parameters: set[str]) -> tuple[str, ...]:
    """Return the adapter names that follow the kind's markers, the most frequent first."""
    counts: Counter[str] = Counter()
    reserved = {*parameters, *markers, *_WRAPPERS}
    for name in names:
        parts = name.split(".")
        at = next((n for n, part in enumerate(parts) if part in markers), None)
        after = parts[at + 1 : at + 2] if at is not None else []
        counts.update(part for part in after if part not in reserved)
    return tuple(name for name, _ in counts.most_common())
