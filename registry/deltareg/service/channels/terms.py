"""The terms of a channel: what it asks for now, as digests that the database can compare.

A policy refers to suites by name, and the database cannot resolve those names. So the terms are
stored before a promotion whenever they have changed, and the trigger that guards the ledger
compares them with the verdicts that a promotion names.
"""

import sqlalchemy as sa

from deltareg.db.channels import terms as queries
from deltareg.db.channels.rows import ChannelRow
from deltareg.service.channels.gate import GateCase


def write_terms(conn: sa.Connection, channel: ChannelRow, case: GateCase) -> None:
    """Store what a channel asks for in a case, unless its stored terms say the same.

    A suite that does not exist is left out, so that it blocks no rollback.
    """
    suites = {name: str(suite.digest) for name, suite in case.now.suites.items()}
    terms = case.now.policy_digest, suites
    newest = queries.newest_terms(conn, channel.id)
    if newest is None or (newest.policy_digest, newest.suites) != terms:
        queries.add_terms(conn, channel.id, policy_digest=terms[0], suites=terms[1])
