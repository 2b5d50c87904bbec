"""The outcome of a version's checks as clients of the hub are told it: in tags, and in words."""

from collections.abc import Collection, Mapping
from types import MappingProxyType
from typing import Final, Literal

import sqlalchemy as sa

from deltareg.db.verdicts.rows import VersionOutcomeRow
from deltareg.db.verdicts.version_outcomes import version_outcomes

HubOutcome = Literal["pass", "fail", "inconclusive", "none"]
"""The outcome over all suites; `none` if the checks have not run."""
_WORDS: Final[Mapping[HubOutcome, str]] = MappingProxyType(
    {
        "pass": "passed its checks",
        "fail": "failed its checks",
        "inconclusive": "has no conclusive verdict",
        "none": "was not checked yet",
    }
)


def outcomes_of(conn: sa.Connection, version_ids: Collection[int]) -> dict[int, HubOutcome]:
    """Return the outcome of each version, by row id."""
    rows = version_outcomes(conn, version_ids)
    return {version_id: _outcome(rows.get(version_id)) for version_id in version_ids}


def tell_outcome(outcome: HubOutcome) -> str:
    """Return what is said of a version with an outcome: `passed its checks`."""
    return _WORDS[outcome]


def _outcome(row: VersionOutcomeRow | None) -> HubOutcome:
    if row is None:
        return "none"
    if row.fails:
        return "fail"
    return "pass" if row.passes else "inconclusive"
