"""The best that a channel has served by a check, as far as its ledger shows.

Every move names the verdicts that it rests on, and every run what its version was held against. So
the best needs no record of its own. It is carried from move to move, over all versions of a suite,
because each newcomer is measured beside it on the samples of the day. It is replaced by a version
that was shown to be better, by the interval and not by the measure: the best of many equal measures
would be the luckiest. It is replaced by a worse one only where somebody waived that failure: that is
a new level, with a reason and a name. A version that was deleted, revoked or rolled back is the best
of nothing.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import sqlalchemy as sa

from deltareg.db.channels import channels as channel_queries
from deltareg.db.lines import versions as version_queries
from deltareg.db.lines.version_rows import VersionRow
from deltareg.db.verdicts.held_against import HeldVerdictRow, held_verdicts
from deltareg.documents.json_values import is_list, is_object
from deltareg.service.ledger.references_document import digests_of
from deltareg.suites.reference import BEST, PROMOTED
from deltareg.suites.suite import CheckSpec

_MOST_MOVES = 100
_MOVES = {"promote", "rollback"}


@dataclass(frozen=True, slots=True)
class ServedHistory:
    """The verdicts of a suite on which the moves of a channel rest, of the newest move first."""

    moves: Sequence[HeldVerdictRow]
    versions: Mapping[str, VersionRow]
    """By manifest digest: those that may be the best."""


def read_history(conn: sa.Connection, line: VersionRow, *, channel_id: int, suite: str) -> ServedHistory:
    """Read what a channel served by the verdicts of a suite, under any of the suite's versions.

    Args:
        conn: A transaction.
        line: Any version of the line.
        channel_id: The channel.
        suite: The suite's name.
    """
    revisions = [
        row for row in channel_queries.revision_rows(conn, channel_id, limit=_MOST_MOVES) if row.kind in _MOVES
    ]
    held = held_verdicts(conn, (one for row in revisions for one in row.verdict_ids), suite=suite)
    moves = [held[one] for row in revisions for one in row.verdict_ids if one in held and not _is_on_variant(held[one])]
    digests = {digest for verdict in moves for digest in _digests_in(verdict)}
    quarantined = set(channel_queries.quarantined_numbers(conn, [channel_id]).get(channel_id, ()))
    versions = {
        row.manifest_digest: row
        for row in version_queries.versions_by_digest(conn, line.namespace, digests)
        if row.delta_id == line.delta_id and _may_be_best(row) and row.number not in quarantined
    }
    return ServedHistory(moves, versions)


def find_best(history: ServedHistory, spec: CheckSpec, *, but: str) -> VersionRow | None:
    """Return the best version of a channel by a check; None where it served none by the suite.

    Args:
        history: What the channel served.
        spec: The check.
        but: The manifest of the version that is to be held against it.
    """
    usable = {digest: row for digest, row in history.versions.items() if digest != but}
    for verdict in history.moves:
        best = usable.get(_best_after(verdict, spec))
        if best is not None:
            return best
    served = (usable.get(verdict.manifest_digest) for verdict in history.moves)
    return next((row for row in served if row is not None), None)


def _best_after(verdict: HeldVerdictRow, spec: CheckSpec) -> str:
    """Return the manifest of the best once the version of a verdict was served."""
    before, name = _best_before(verdict, spec)
    check = next((one for one in verdict.checks if one.get("name") == spec.name), None)
    if not before or check is None:
        return before or verdict.manifest_digest
    comparison = _comparison_with(check, name)
    is_new_level = check.get("verdict") == "fail" and comparison.get("decision") == "missed"
    return verdict.manifest_digest if is_new_level or _is_better(comparison, spec) else before


def _best_before(verdict: HeldVerdictRow, spec: CheckSpec) -> tuple[str, str]:
    """Return what the version of a verdict was held against, and how its comparison is named.

    A check that has a new name takes over what another was held against; the first version that a
    suite judged is held against what the channel served.
    """
    promoted, digests = verdict.request.get("promoted_digest", ""), digests_of(verdict.request)
    key = spec.key_of(BEST)
    others = (digest for other, digest in digests.items() if other.startswith(f"{BEST} by "))
    best = digests.get(key) or next(others, "")
    if best:
        return best, PROMOTED if best == promoted else BEST
    return promoted, PROMOTED


def _comparison_with(check: Mapping[str, object], name: str) -> Mapping[str, object]:
    beside = check.get("beside")
    for one in (check.get("comparison"), *(beside if is_list(beside) else ())):
        if is_object(one) and one.get("against") == name:
            return one
    return {}


def _is_better(comparison: Mapping[str, object], spec: CheckSpec) -> bool:
    """Whether even the worse end of the interval is better than what it was compared with."""
    is_upward = spec.threshold is None or spec.threshold.greater_is_better
    end, baseline = comparison.get("low" if is_upward else "high"), comparison.get("baseline")
    if not isinstance(end, int | float) or not isinstance(baseline, int | float):
        return False
    return end > baseline if is_upward else end < baseline


def _digests_in(verdict: HeldVerdictRow) -> Iterable[str]:
    yield verdict.manifest_digest
    yield verdict.request.get("promoted_digest", "")
    yield from digests_of(verdict.request).values()


def _is_on_variant(verdict: HeldVerdictRow) -> bool:
    return "variant" in verdict.request


def _may_be_best(row: VersionRow) -> bool:
    return row.deleted_at is None and row.revoked_at is None
