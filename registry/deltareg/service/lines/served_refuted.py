"""What somebody says against a version that channels serve: recorded for each that asks for it."""

import sqlalchemy as sa

from deltareg.db.channels import channels as queries
from deltareg.db.lines.version_rows import VersionRow
from deltareg.gate.outside_terms import rule_on_outside
from deltareg.service.describe import ref_of
from deltareg.service.ledger.channel_policy import policy_of
from deltareg.service.lines.outside import outside_facts
from deltareg.service.lines.unfit import tell_channel_unfit
from deltareg.service.registry import Caller


def tell_refuted(conn: sa.Connection, caller: Caller, version: VersionRow, *, digest: str) -> None:
    """Record, for each channel, that it serves what has just been refuted.

    Args:
        conn: The transaction in which it was said.
        caller: Who brought it.
        version: The version.
        digest: The digest of what was said.
    """
    for channel in queries.serving_rows(conn, version.id):
        terms = policy_of(channel).outside
        rulings = rule_on_outside(ref_of(version), terms, outside_facts(conn, version, terms))
        refuted = [ruling for ruling in rulings if ruling.rule == "refuted" and digest in ruling.evidence]
        if refuted:
            tell_channel_unfit(conn, caller, version, channel.name, because=refuted[0].message)
