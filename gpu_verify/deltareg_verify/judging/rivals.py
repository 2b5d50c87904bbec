"""What a version is compared with, and what stands in for a reference that has no value yet.

A comparison that cannot be made is no pass. So the version that the channel serves, and the base
beside it, stand in for a version that is not there, and the base for a served version that gives no
number. Adding a reference can thus only add comparisons.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from deltareg.refs import Ref
from deltareg.suites.reference import BASE, IS_ITSELF, PROMOTED, read_reference
from deltareg.suites.suite import CheckSpec
from deltareg_verify.engine.case import Case
from deltareg_verify.engine.changes import EngineSide, MeasureChange

ChangeOf = Callable[[EngineSide, EngineSide, int], MeasureChange | None]
"""Compares the version before with the version after on a number of first samples."""


@dataclass(frozen=True, slots=True)
class Rival:
    """One side that a version is compared with.

    Attributes:
        name: As suites name it.
        side: Its engine, and the state in which it runs.
        description: Its name for people.
    """

    name: str
    side: EngineSide
    description: str


@dataclass(slots=True)
class RivalSearch:
    """The rivals of a version in one check, one after another.

    Attributes:
        case: The version.
        spec: The check.
        absent: Why named ones have no value, in words.
        gone: Why a version that the suite names is not there; empty if it is.
    """

    case: Case
    spec: CheckSpec
    absent: list[str] = field(default_factory=list[str])
    gone: str = ""
    _waiting: list[str] = field(default_factory=list[str])

    def __iter__(self) -> Iterator[Rival]:
        """Yield each rival once; what `stand_in_for` adds in between comes after the rest."""
        self._waiting = [name for name in (self.spec.against or BASE, self.spec.reference) if name]
        seen: set[str] = set()
        while self._waiting:
            name = self._waiting.pop(0)
            key = self.spec.key_of(name)
            side = side_of(self.case, key)
            description = self.case.describe_rival(key)
            if side is None:
                self._without(name)
            elif description not in seen:
                seen.add(description)
                yield Rival(name, side, description)

    def stand_in_for(self, rival: Rival, why: str) -> None:
        """Let others stand in for a rival that has no value."""
        self.absent.append(f"{rival.description} {why}")
        if rival.name != BASE:
            self._waiting += [PROMOTED, BASE]

    def _without(self, name: str) -> None:
        """Let others stand in for a version that is not there, unless the suite names it."""
        if name == PROMOTED:
            why = "the channel serves no other version yet"
        else:
            why = self.case.why_no_reference(self.spec.key_of(name))
        is_named = isinstance(read_reference(name), Ref) and self.case.is_told(name)
        if is_named and not why.endswith(IS_ITSELF):
            self.gone = why
            return
        if why not in self.absent:
            self.absent.append(why)
            self._waiting += [BASE] if name == PROMOTED else [PROMOTED, BASE]


def side_of(case: Case, key: str) -> EngineSide | None:
    """Return the side under a key of the suite; None when there is no such version."""
    if key in {"", BASE}:
        return EngineSide(case.engine, "base")
    engine = case.promoted if key == PROMOTED else case.reference(key)
    return None if engine is None else EngineSide(engine, "attached")
