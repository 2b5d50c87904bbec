"""Verdicts and suites as the rules of the core see them."""

from collections.abc import Iterable, Mapping, Sequence
from functools import cache

import sqlalchemy as sa

from deltareg.db.verdicts.rows import VerdictFactRow, VerdictRow
from deltareg.digest import Digest
from deltareg.documents.json_values import is_object
from deltareg.errors import NotFound
from deltareg.gate.agreement import TOLERANCE, CheckFact
from deltareg.gate.signers import VerdictSigner
from deltareg.gate.verdict_facts import (
    INFRASTRUCTURE,
    SuiteFact,
    VerdictConditions,
    VerdictFact,
    VerdictFindings,
    VerdictSubject,
)
from deltareg.gate.verdict_rules import why_not
from deltareg.service.clock import rfc3339_seconds
from deltareg.service.verdicts.suites import find_suite
from deltareg.suites.suite import FAST_SUITE, Suite, built_in, built_in_names
from deltareg.words import Outcome

_DTYPES = {"f32": "F32", "bf16": "BF16", "f16": "F16"}  # `keep` leaves it to the base


def fact_of(row: VerdictFactRow, waived: Mapping[str, str]) -> VerdictFact:
    """Give a verdict's row as a fact, with the waivers of its checks that stand."""
    outcome: Outcome = "inconclusive" if row.disputed else row.verdict
    return VerdictFact(
        id=row.id,
        manifest=row.manifest_digest,
        base=row.base_root,
        suite=row.suite,
        suite_digest=row.suite_digest,
        outcome=outcome,
        created_us=row.created_at,
        verifier=row.verifier,
        seed=row.seed,
        dtype=row.dtype,
        policy_digest=row.policy_digest,
        evidence=row.base_evidence,
        sandbox=row.sandbox,
        environment=row.environment,
        is_complete=bool(row.is_complete),
        waived=waived,
        compared_with=row.compared_with,
        continues=row.continues,
        continuation=row.continuation,
        identity=row.base_identity,
        signer=signer_of(row),
        disputed=row.disputed,
        look=cache(lambda: _find(row.checks)),
    )


def _find(checks: Sequence[Mapping[str, object]]) -> VerdictFindings:
    names: dict[object, list[str]] = {}
    for check in checks:
        names.setdefault(check["verdict"], []).append(str(check["name"]))
    return VerdictFindings(
        failed=tuple(names.get("fail", ())),
        warned=tuple(names.get("warn", ())),
        skipped=tuple(names.get("skipped", ())),
        checks=check_facts(checks),
        undecided=_describe_undecided(checks),
        waits_for=_waits_for(checks),
        ended=next((str(each.get("detail", "")) for each in checks if each["name"] == INFRASTRUCTURE), ""),
    )


def signer_of(row: VerdictFactRow) -> VerdictSigner:
    """Say who signed a verdict."""
    revoked = ""
    if row.key_revoked_at:
        revoked = f"{rfc3339_seconds(row.key_revoked_at)}, {row.key_reason or 'no reason given'}"
    return VerdictSigner(row.keyid, row.signer, row.host, row.worker_labels or {}, revoked)


def check_facts(checks: Iterable[Mapping[str, object]]) -> dict[str, CheckFact]:
    """Return the checks of a verdict by name, for comparison with another verdict's."""
    return {
        str(check["name"]): CheckFact(
            str(check["verdict"]), _measure(check.get("value")), _measure(check.get("threshold"))
        )
        for check in checks
    }


def suite_facts(conn: sa.Connection, names: Iterable[str]) -> dict[str, SuiteFact]:
    """Return suites as they are now, by name; names that do not exist are left out."""
    facts: dict[str, SuiteFact] = {}
    for name in names:
        try:
            facts[name] = fact_of_suite(find_suite(conn, name))
        except NotFound:
            continue
    return facts


def why_uncounted(row: VerdictRow) -> str:
    """Return why a verdict does not count for its version as it is now; empty if it does.

    A verdict that was made on a variant of the base is compared with that variant.

    Args:
        row: A verdict with the current state of its version and its suite, from `select_verdicts`.
    """
    suite = _suite_now(row)
    if suite is None:
        return f"there is no suite {row.suite} any more"
    base = row.base_root if row.variant else row.version_base
    identity = row.base_identity if row.variant else row.version_identity
    subject = VerdictSubject("", Digest.parse(row.version_digest), Digest.parse(base), identity=identity)
    reason = why_not(fact_of(row, {}), subject, suite, bound=VerdictConditions())
    return "" if reason is None else reason[1]


def _suite_now(row: VerdictRow) -> SuiteFact | None:
    if row.suite in built_in_names():
        return fact_of_suite(built_in(row.suite))
    # The gate reads the suite's document; to show a verdict, its digest says enough.
    return None if row.suite_now is None else SuiteFact(Digest.parse(row.suite_now), row.seed)


def fact_of_suite(suite: Suite) -> SuiteFact:
    """Return a suite as the rules see it."""
    required = {spec.name: spec.may_not_apply for spec in suite.checks if spec.required}
    return SuiteFact(
        suite.digest,
        suite.seed,
        _DTYPES.get(suite.dtype, ""),
        suite.needs_promoted,
        required,
        TOLERANCE if suite.tolerance is None else suite.tolerance,
        is_for_gates=suite.name != FAST_SUITE,
        is_held_to_best=bool(suite.held_to_best),
        drifting=suite.drifting,
        decisive=frozenset(spec.name for spec in suite.checks if spec.is_decisive),
    )


def _waits_for(checks: Iterable[Mapping[str, object]]) -> tuple[str, str]:
    """Return what an inconclusive verdict waits for, and how that is healed."""
    for check in checks:
        if check.get("name") == "waits_for":
            return str(check.get("value", "")), str(check.get("detail", ""))
    return "", ""


def is_undecided(check: Mapping[str, object]) -> bool:
    """Whether a check of a verdict is a comparison that its samples left undecided."""
    return check.get("verdict") == "warn" and check.get("code") == "undecided"


def _describe_undecided(checks: Iterable[Mapping[str, object]]) -> dict[str, str]:
    """Describe, by check, the result of each undecided comparison."""
    reasons: dict[str, str] = {}
    for check in checks:
        comparison = check.get("comparison")
        if is_undecided(check) and is_object(comparison):
            ends = f"[{_format_number(comparison.get('low'))}, {_format_number(comparison.get('high'))}]"
            mark, n = _format_number(check.get("threshold")), comparison.get("n")
            reasons[str(check["name"])] = f"{ends} holds {mark}, n = {n}{_describe_need(comparison)}"
    return reasons


def _describe_need(made: Mapping[str, object]) -> str:
    needs, n = made.get("needs"), made.get("n")
    is_known = isinstance(needs, int) and isinstance(n, int) and needs > n
    return f"; about {needs} would decide it" if is_known else ""


def _format_number(value: object) -> str:
    return f"{value:.4g}" if isinstance(value, int | float) else "?"


def _measure(value: object) -> float | None:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return float(value)
