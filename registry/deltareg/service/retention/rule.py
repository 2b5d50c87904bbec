"""A rule of retention: what it keeps, and which of the versions of a line it lets go. Nothing here asks anybody."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Final

from deltareg.db.sql.clock import US_PER_S
from deltareg.db.upkeep.retention import RetainedRow

HOLD: Final = "hold"
"""The label of a version that no rule lets go."""
_DAY_US: Final = 86_400 * US_PER_S


@dataclass(frozen=True, slots=True)
class KeepRule:
    """What is kept of the versions that a rule is for; what none of it keeps goes.

    Attributes:
        last: The newest so many; None for none.
        days: Those that are younger; None for none.
        promoted: Those that a channel has ever served.
        semver: Those with a semantic version.
        labels: Those with one of these labels, `KEY` or `KEY=VALUE`, each of which may have `*`.
    """

    last: int | None = None
    days: float | None = None
    promoted: bool = True
    semver: bool = True
    labels: tuple[str, ...] = ()

    def keeps(self, version: RetainedRow, rank: int) -> str:
        """Return by what the rule keeps a version, which `rank` others follow; empty if by nothing."""
        if self.last is not None and rank < self.last:
            return "last"
        if self.days is not None and version.age_us < self.days * _DAY_US:
            return "young"
        if self.promoted and version.was_promoted:
            return "promoted"
        if self.semver and version.semver is not None:
            return "semver"
        texts = [text for key, value in version.labels.items() for text in (key, f"{key}={value}")]
        if any(fnmatchcase(text, pattern) for pattern in self.labels for text in texts):
            return "labels"
        return ""


def sort_line(
    versions: Iterable[RetainedRow],
    rules: Mapping[str, KeepRule],
    *,
    named: Collection[int],
    children: Mapping[int, Sequence[int]],
) -> dict[int, str]:
    """Say of each version of a line what keeps it; empty for one that goes.

    Args:
        versions: Those that are there, newest first.
        rules: The rules that apply, by kind of delta; an empty kind is for all that have none.
        named: The ids of those that a suite names as a reference.
        children: By version, those that were made from it or stand on it, on this line or another.

    Returns:
        A reason for each, by id, in the order of `versions`.
    """
    kept: dict[int, str] = {}
    ranks: dict[str, int] = {}
    for version in versions:
        which = version.kind if version.kind in rules else ""
        rule = rules.get(which)
        rank = ranks.get(which, 0)
        ranks[which] = rank + 1
        reason = "no rule" if rule is None else _always_kept(version, named) or rule.keeps(version, rank)
        if not reason and any(kept.get(child, "elsewhere") for child in children.get(version.id, ())):
            reason = "needed"  # a child is newer, and stands before it
        kept[version.id] = reason
    return kept


def _always_kept(version: RetainedRow, named: Collection[int]) -> str:
    if version.is_pinned:
        return "served"
    if version.is_followed:
        return "followed"
    if version.is_asked_for:
        return "asked for"
    if HOLD in version.labels:
        return HOLD
    return "named" if version.id in named else ""
