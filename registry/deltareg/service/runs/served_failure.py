"""A failing verdict about a version that channels serve: recorded for each that asks for its suite."""

import sqlalchemy as sa

from deltareg.db.channels import channels as queries
from deltareg.db.lines import versions as version_queries
from deltareg.db.verdicts.outcomes import verdict_facts
from deltareg.db.verdicts.rows import VerdictRow
from deltareg.gate.policy import Policy
from deltareg.service.describe import ref_of
from deltareg.service.ledger.channel_policy import policy_of
from deltareg.service.lines.unfit import tell_channel_unfit
from deltareg.service.registry import Caller
from deltareg.service.verdicts.facts import why_uncounted


def tell_served_failure(conn: sa.Connection, caller: Caller, found: VerdictRow) -> None:
    """Record, for each channel, that it serves what fails now, unless it failed before as well."""
    if found.verdict != "fail" or why_uncounted(found) or _failed_before(conn, found):
        return
    version = version_queries.version_by_id(conn, found.version_id)
    for channel in queries.serving_rows(conn, found.version_id):
        if _is_asked(found, policy_of(channel)):
            because = f"{ref_of(found)} failed suite {found.suite}, verdict {found.id}"
            tell_channel_unfit(conn, caller, version, channel.name, because=because)


def _is_asked(found: VerdictRow, policy: Policy) -> bool:
    is_of_worker = bool(found.signer) or policy.is_local_taken
    is_on_asked = not found.variant or found.variant in policy.variants
    suite_names = {suite.name for suite in policy.suites}
    return is_of_worker and is_on_asked and found.suite in suite_names


def _failed_before(conn: sa.Connection, found: VerdictRow) -> bool:
    bindings = (found.suite, found.suite_digest, found.base_root)
    before = [
        row
        for row in verdict_facts(conn, found.version_id)
        if (row.suite, row.suite_digest, row.base_root) == bindings and row.id != found.id
    ]
    return bool(before) and before[0].verdict == "fail"
