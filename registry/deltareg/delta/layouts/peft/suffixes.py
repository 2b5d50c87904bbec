"""Names of modules and ends of names, as configs give them: literally, or by a pattern."""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Self

from deltareg.delta.layouts.peft.patterns import Pattern

LITERAL = re.compile(r"[A-Za-z0-9_.\-]{1,512}")
_ESCAPED_DOT = "\\."
ANYWHERE = ".*\\."


@dataclass(frozen=True, slots=True)
class Suffix:
    """A name, or the end of a name: `q_proj`, `layers.0.mlp.up_proj`, `^model.layers.0.fc`.

    Attributes:
        text: Components joined by dots.
        anchored: Whether it must be the whole name.
    """

    text: str
    anchored: bool = False

    def matches(self, module: str) -> bool:
        """Whether the module has this name or, if not anchored, ends in it."""
        return module == self.text or (not self.anchored and module.endswith(f".{self.text}"))


def suffix(text: str) -> Suffix | None:
    """Parse a literal `rank_pattern` key, perhaps anchored; None for a real pattern.

    The library itself writes "anything, then a dot" before some names, which means the same.
    """
    plain = text.removeprefix(ANYWHERE).removeprefix("^").removesuffix("$").replace(_ESCAPED_DOT, ".")
    return Suffix(plain, text.startswith("^")) if LITERAL.fullmatch(plain) else None


@dataclass(frozen=True, slots=True)
class Suffixes:
    """Names and ends of names in the order of a config, indexed for lookup.

    Attributes:
        entries: In order.
        ends: Text of an entry that is not anchored -> its first position.
        wholes: Text of an entry that is -> its first position.
        patterns: Position and expression of entries that are no plain names, in order.
    """

    entries: tuple[Suffix | Pattern, ...] = ()
    ends: Mapping[str, int] = field(default_factory=dict[str, int], repr=False)
    wholes: Mapping[str, int] = field(default_factory=dict[str, int], repr=False)
    patterns: tuple[tuple[int, Pattern], ...] = field(default=(), repr=False)

    @classmethod
    def of(cls, entries: Iterable[Suffix | Pattern]) -> Self:
        """Index entries, in order."""
        ordered = tuple(entries)
        places = list(enumerate(ordered))[::-1]  # the first of two equal ones is written last
        plain = [(at, entry) for at, entry in places if isinstance(entry, Suffix)]
        ends = {entry.text: at for at, entry in plain if not entry.anchored}
        wholes = {entry.text: at for at, entry in plain if entry.anchored}
        patterns = [(at, entry) for at, entry in enumerate(ordered) if isinstance(entry, Pattern)]
        return cls(ordered, ends, wholes, tuple(patterns))

    def first(self, module: str) -> int | None:
        """Return the position of the first entry that matches a module.

        Raises:
            Refused: An expression takes too long to match.
        """
        if not self.entries:
            return None
        positions = [self.wholes.get(module)]
        positions += [self.ends.get(end) for end in _ends(module)]
        least = min((at for at in positions if at is not None), default=None)
        for at, pattern in self.patterns:
            if least is not None and least < at:
                break
            if pattern.matches(module):
                return at
        return least


@dataclass(frozen=True, slots=True)
class ModuleNumbers:
    """A number for some modules: `rank_pattern` or `alpha_pattern`.

    Attributes:
        modules: Which modules; the first entry that matches counts.
        values: A number for each entry.
    """

    modules: Suffixes = field(default_factory=Suffixes)
    values: tuple[float, ...] = ()

    def of(self, module: str, default: float) -> float:
        """Return a module's number."""
        at = self.modules.first(module)
        return default if at is None else self.values[at]


def format_entry(entry: Suffix | Pattern) -> str:
    """Write an entry for the manifest: a name, `^` before a whole one, an expression in slashes."""
    if isinstance(entry, Pattern):
        return f"/{entry.text}/"
    return f"^{entry.text}" if entry.anchored else entry.text


def is_within(module: str, name: str) -> bool:
    """Whether a module is one of this name (or ends in it), or lies below one."""
    return f".{name}." in f".{module}."


def _ends(module: str) -> list[str]:
    parts = module.split(".")
    return [".".join(parts[at:]) for at in range(len(parts))]
