"""Channels that promote by themselves: `auto_promote: true` in a policy.

The gate decides as for anybody. What a channel promotes is newer than all that it ever served, so
nothing goes back and no two rules chase each other. It is done in the name of the principal who set
the rule, with the rights that they have now: where they have lost them, nothing is promoted.
Where approvals are due, a request is opened, and others approve it.
"""

import logging
from typing import Final

import sqlalchemy as sa
from sqlalchemy.exc import SQLAlchemyError

from deltareg.db.access.grants import holdings_of
from deltareg.db.channels import auto_promotions as queries
from deltareg.db.channels import channels as channel_queries
from deltareg.db.channels.auto_promotions import RuleRow
from deltareg.db.lines import versions as version_queries
from deltareg.db.lines.version_rows import VersionRow
from deltareg.db.session import read
from deltareg.errors import DeltaregError, GatePending
from deltareg.refs import LineRef
from deltareg.service.authority.caller_grants import grants_within, read_holdings
from deltareg.service.authority.grants import Right
from deltareg.service.authority.resources import Channel
from deltareg.service.channels.gate import gather
from deltareg.service.channels.move import move_channel
from deltareg.service.ledger.channel_policy import own_policy_of
from deltareg.service.registry import Caller, Registry
from deltareg.wire import ChannelMove

log = logging.getLogger(__name__)

_RIGHTS: Final = frozenset({Right.READ.value, Right.PROMOTE.value})
_MOST = 20


def promote_what_passes(registry: Registry, line: LineRef | None = None) -> int:
    """Promote, on each channel that does so by itself, the newest version that passes its gate.

    It may be done at any time, by several servers at once, and again: a channel that has moved
    meanwhile is left alone until the next time. What fails for one channel is logged.

    Args:
        registry: The database and the store.
        line: The line whose channels are looked at; None for all.

    Returns:
        How many channels moved, or got a request for approvals.
    """
    with read(registry.engine) as conn:
        rules = queries.rule_rows(
            conn, namespace=None if line is None else line.namespace, line=None if line is None else line.name
        )
    return sum(_follow(registry, rule) for rule in rules)


def promote_if_passed(registry: Registry, line: LineRef) -> None:
    """Do it for a line whose version has just passed; a fault is logged, as it is tried again."""
    try:
        promote_what_passes(registry, line)
    except (DeltaregError, SQLAlchemyError) as error:
        log.warning("%s promotes nothing by itself now, it is tried again: %s", line, error)


def _follow(registry: Registry, rule: RuleRow) -> bool:
    where = Channel(LineRef(rule.namespace, rule.line), rule.channel)
    with read(registry.engine) as conn:
        caller = _who_answers(conn, rule)
        if not (rule.is_live and caller.may(Right.PROMOTE, on=where)):
            log.warning("%s promotes nothing by itself: %s may not promote there any more", where, rule.principal)
            return False
        seen, version = _find_passing(conn, rule)
    if version is None:
        return False
    reason = f"auto_promote: it passes what {rule.channel} asks; {rule.principal} set that"
    move = ChannelMove(kind="promote", version=version.number, reason=reason)
    try:
        move_channel(registry, caller, where.line, rule.channel, move, seen=seen)
    except GatePending as pending:  # a request is open now, for others to approve
        log.info("%s: %s", where, pending.message)
        return True
    except DeltaregError as error:  # it moved meanwhile, or does not pass any more
        log.info("%s does not promote v%d now: %s", where, version.number, error.message)
        return False
    return True


def _who_answers(conn: sa.Connection, rule: RuleRow) -> Caller:
    """Return the principal that set the rule as a caller, with the rights that it has now."""
    grants = grants_within(_RIGHTS, read_holdings(holdings_of(conn, rule.principal_id)), None)
    return Caller(rule.principal, rule.principal_id, None, grants)


def _find_passing(conn: sa.Connection, rule: RuleRow) -> tuple[int, VersionRow | None]:
    """Return the revision of the channel, and the newest version that passes its gate.

    A version that people decide about, or have decided about, is nothing to promote, and neither is
    what is older than it.
    """
    channel = channel_queries.channel_by_id(conn, rule.channel_id)
    if not own_policy_of(channel).is_auto_promoted:
        return channel.revision, None
    for version_id in queries.newer_versions(conn, channel.id, limit=_MOST):
        version = version_queries.version_by_id(conn, version_id)
        if not gather(conn, version, channel).unmet("approvals"):
            is_decided = queries.is_asked_for(conn, channel.id, version_id)
            return channel.revision, None if is_decided else version
    return channel.revision, None
