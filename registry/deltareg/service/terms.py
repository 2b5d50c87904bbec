"""The terms of a channel: what it asks for now, as digests that the database can compare.

A policy names suites by name, and the database cannot tell what a name means. So the terms are
written down before a promotion whenever they have changed, and the trigger that guards the ledger
holds the verdicts that a promotion names against them.
"""

from contextlib import suppress

import sqlalchemy as sa

from deltareg.db.queries import terms as queries
from deltareg.db.rows import Row
from deltareg.errors import NotFound
from deltareg.service.channel_policy import digest_of_policy, policy_of
from deltareg.service.gate import deciding_verdicts
from deltareg.service.suites import find_suite


def write_terms(conn: sa.Connection, channel: Row) -> None:
    """Write down what a channel asks for, unless that is what was written last."""
    asked = digest_of_policy(channel), _suite_digests(conn, channel)
    newest = queries.newest_terms(conn, channel.id)
    if newest is None or (newest.policy_digest, newest.suites) != asked:
        queries.add_terms(conn, channel.id, policy_digest=asked[0], suites=asked[1])


def verdicts_on_terms(conn: sa.Connection, channel: Row, version: Row) -> list[str]:
    """List the verdicts that a move of a channel to a version rests on: a pass for each suite."""
    return [fact.id for fact in deciding_verdicts(conn, version, channel) if fact.is_pass]


def _suite_digests(conn: sa.Connection, channel: Row) -> dict[str, str]:
    """Give the suites that a channel asks for; one that there is not keeps no rollback back."""
    digests: dict[str, str] = {}
    for suite in policy_of(channel).suites:
        with suppress(NotFound):
            digests[suite.name] = str(find_suite(conn, suite.name).digest)
    return digests
