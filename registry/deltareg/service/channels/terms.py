"""The terms of a channel: what it asks for now, as digests that the database can compare.

A policy names suites by name, and the database cannot tell what a name means. So the terms are
written down before a promotion whenever they have changed, and the trigger that guards the ledger
holds the verdicts that a promotion names against them.
"""

import sqlalchemy as sa

from deltareg.db.channels import terms as queries
from deltareg.db.channels.rows import ChannelRow
from deltareg.service.channels.gate import GateCase


def write_terms(conn: sa.Connection, channel: ChannelRow, case: GateCase) -> None:
    """Write down what a channel asks for in a case, unless that is what was written last.

    A suite that there is not is left out, so it keeps no rollback back.
    """
    suites = {name: str(suite.digest) for name, suite in case.now.suites.items()}
    asked = case.now.policy_digest, suites
    newest = queries.newest_terms(conn, channel.id)
    if newest is None or (newest.policy_digest, newest.suites) != asked:
        queries.add_terms(conn, channel.id, policy_digest=asked[0], suites=asked[1])
