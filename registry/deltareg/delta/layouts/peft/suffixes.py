"""Names of modules and ends of names, as configs give them: matched letter by letter."""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Self

LITERAL = re.compile(r"[A-Za-z0-9_.\-]{1,512}")
_ESCAPED_DOT = "\\."
_ANYWHERE = ".*\\."


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
    """Read a literal `rank_pattern` key, an anchor allowed; None when it is a real pattern.

    The library itself writes "anything, then a dot" before some names, which means the same.
    """
    plain = (
        text.removeprefix(_ANYWHERE).removeprefix("^").removesuffix("$").replace(_ESCAPED_DOT, ".")
    )
    return Suffix(plain, text.startswith("^")) if LITERAL.fullmatch(plain) else None


@dataclass(frozen=True, slots=True)
class Suffixes:
    """Names and ends of names in the order of a config; finding one takes no time per entry.

    Attributes:
        entries: In order.
        ends: Text of an entry that is not anchored -> its first position.
        wholes: Text of an entry that is -> its first position.
    """

    entries: tuple[Suffix, ...] = ()
    ends: Mapping[str, int] = field(default_factory=dict[str, int], repr=False)
    wholes: Mapping[str, int] = field(default_factory=dict[str, int], repr=False)

    @classmethod
    def of(cls, entries: Iterable[Suffix]) -> Self:
        """Take entries in order."""
        listed = tuple(entries)
        places = list(enumerate(listed))[::-1]  # the first of two equal ones is written last
        ends = {entry.text: at for at, entry in places if not entry.anchored}
        return cls(listed, ends, {entry.text: at for at, entry in places if entry.anchored})

    def first(self, module: str) -> int | None:
        """Give the position of the first entry that matches a module."""
        if not self.entries:
            return None
        found = [self.wholes.get(module)]
        found += [self.ends.get(end) for end in _ends(module)]
        return min((at for at in found if at is not None), default=None)


@dataclass(frozen=True, slots=True)
class Numbers:
    """A number for some modules: `rank_pattern` or `alpha_pattern`.

    Attributes:
        modules: Which modules; the first entry that matches counts.
        values: A number for each entry.
    """

    modules: Suffixes = field(default_factory=Suffixes)
    values: tuple[float, ...] = ()

    def of(self, module: str, default: float) -> float:
        """Give a module's number."""
        at = self.modules.first(module)
        return default if at is None else self.values[at]


def is_within(module: str, name: str) -> bool:
    """Whether a module is one of this name (or ends in it), or lies below one."""
    return f".{name}." in f".{module}."


def _ends(module: str) -> list[str]:
    parts = module.split(".")
    return [".".join(parts[at:]) for at in range(len(parts))]
