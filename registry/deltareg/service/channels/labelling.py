"""Labels that a channel's policy gives to what it promotes, in the transaction of the promotion."""

from contextlib import suppress

import sqlalchemy as sa

from deltareg.db.channels.rows import ChannelRow
from deltareg.db.lines.version_rows import VersionRow
from deltareg.errors import InvalidInput
from deltareg.gate.promotion_labels import fill_labels
from deltareg.service.clock import moment_of
from deltareg.service.ledger.channel_policy import own_policy_of
from deltareg.service.lines.details import change_details
from deltareg.service.registry import Caller


def label_promoted(
    conn: sa.Connection, caller: Caller, channel: ChannelRow, version: VersionRow, *, now_us: int
) -> None:
    """Label a promoted version as the policy of its channel says; the transaction holds the version.

    A version that has as many labels as it may have stays without: a label is no reason to refuse.
    """
    date = moment_of(now_us).date().isoformat()
    labels = fill_labels(own_policy_of(channel).label, date=date, channel=channel.name)
    with suppress(InvalidInput):
        change_details(conn, caller, version, semver=None, message=None, labels=labels)
