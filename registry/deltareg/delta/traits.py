"""What is usual for a kind of delta and would be a fault of others: checks ask here, and name no kind.

A kind's file in `deltareg.delta.kinds` says `traits = Traits(…)`; one that says nothing has `PLAIN`.
"""

from collections.abc import Iterable
from dataclasses import dataclass, fields

_TOLD = {
    "shared": "modules have {} in common",
    "turns": "it turns a weight, so little need lie along the former one",
    "mixes_rows": "all tokens of a batch decide what it does to each",
}


@dataclass(frozen=True, slots=True)
class Traits:
    """What is usual for a kind.

    Attributes:
        shared: Roles of tensors that several modules have in common: each stores a copy, or one has it
            for all.
        turns: Whether it turns weights and leaves them their size: what lies along the former weight
            says nothing.
        mixes_rows: Whether all tokens of a batch decide what it does to each.
    """

    shared: frozenset[str] = frozenset()
    turns: bool = False
    mixes_rows: bool = False

    def describe(self) -> Iterable[str]:
        """Describe each trait that is not plain, for people."""
        for one in fields(self):
            value: frozenset[str] | bool = getattr(self, one.name)
            if value:
                names = "" if isinstance(value, bool) else ", ".join(sorted(value))
                yield _TOLD[one.name].format(names)


PLAIN = Traits()


def traits_of(kind: object) -> Traits:
    """Return the traits that a reader or a delta declares; plain ones where it declares none."""
    traits = getattr(kind, "traits", PLAIN)
    return traits if isinstance(traits, Traits) else PLAIN
