"""Events: what was done, by name, recorded in the transaction of the change itself.

Each is a row of the audit trail and, in the same transaction, a row of the outbox, from which
others may be notified (ADR 29). So no event is lost, and nobody is notified of what did not happen.
"""

from enum import StrEnum

import sqlalchemy as sa

from deltareg.db.events.outbox import add_event
from deltareg.db.trail.audit import place_audit, record_audit
from deltareg.refs import LineRef
from deltareg.service.authority.resources import Resource, namespace_of


class Action(StrEnum):
    """What was done: a kind of thing and a verb, as the audit trail names it."""

    AGENT_ALIGN = "agent.align"
    AGENT_DRIFT = "agent.drift"
    AGENT_FORGET = "agent.forget"
    ATTESTATION_ADD = "attestation.add"
    BASE_COMPLETE = "base.complete"
    BASE_CORRUPT = "base.corrupt"
    BASE_DELETE = "base.delete"
    BASE_DOUBT = "base.doubt"
    BASE_HEAL = "base.heal"
    BASE_MEASURE = "base.measure"
    BASE_PROVE = "base.prove"
    BASE_PUSH = "base.push"
    BASE_REGISTER = "base.register"
    BASE_RENAME = "base.rename"
    CHANNEL_CLEAR = "channel.clear"
    CHANNEL_CREATE = "channel.create"
    CHANNEL_DELETE = "channel.delete"
    CHANNEL_FREEZE = "channel.freeze"
    CHANNEL_POLICY = "channel.policy"
    CHANNEL_PROMOTE = "channel.promote"
    CHANNEL_RENAME = "channel.rename"
    CHANNEL_REVIEW = "channel.review"
    CHANNEL_ROLLBACK = "channel.rollback"
    CHANNEL_UNFIT = "channel.unfit"
    CHANNEL_UNFREEZE = "channel.unfreeze"
    COLLECT_RUN = "collect.run"
    EVALUATION_ADD = "evaluation.add"
    EVALUATION_WITHDRAW = "evaluation.withdraw"
    FLOOR_SET = "floor.set"
    GROUP_CREATE = "group.create"
    GROUP_JOIN = "group.join"
    GROUP_LEAVE = "group.leave"
    GROUP_REMOVE = "group.remove"
    GROUP_SOURCE = "group.source"
    IDENTITY_LINK = "identity.link"
    KEY_ENROL = "key.enrol"
    KEY_REVOKE = "key.revoke"
    KEY_ROTATE = "key.rotate"
    LINE_DELETE = "line.delete"
    LINE_DEPRECATE = "line.deprecate"
    LINE_FREE = "line.free"
    LINE_RENAME = "line.rename"
    LINE_RESTORE = "line.restore"
    LOG_BEGIN = "log.begin"
    MEMBER_ADD = "member.add"
    MEMBER_END = "member.end"
    NAMESPACE_ASK = "namespace.ask"
    NAMESPACE_CREATE = "namespace.create"
    NAMESPACE_GRANT = "namespace.grant"
    NAMESPACE_REFUSE = "namespace.refuse"
    NAMESPACE_RENAME = "namespace.rename"
    NAMESPACE_VISIBILITY = "namespace.visibility"
    OPERATION_SET = "operation.set"
    PRINCIPAL_DISABLE = "principal.disable"
    PRINCIPAL_ENABLE = "principal.enable"
    PRINCIPAL_GIVE = "principal.give"
    QUOTA_NEAR = "quota.near"
    QUOTA_SET = "quota.set"
    REQUEST_APPROVE = "request.approve"
    REQUEST_OPEN = "request.open"
    REQUEST_PROMOTE = "request.promote"
    REQUEST_REJECT = "request.reject"
    REQUEST_STALE = "request.stale"
    REQUEST_WITHDRAW = "request.withdraw"
    RETENTION_SET = "retention.set"
    ROLE_REMOVE = "role.remove"
    ROLE_SET = "role.set"
    RUN_CANCEL = "run.cancel"
    RUN_COMPLETE = "run.complete"
    RUN_DEAD = "run.dead"
    RUN_FAIL = "run.fail"
    RUN_QUEUE = "run.queue"
    RUN_SUPERSEDE = "run.supersede"
    SESSION_BEGIN = "session.begin"
    SESSION_END = "session.end"
    SIGNATURE_ADD = "signature.add"
    SIGNER_REVOKE = "signer.revoke"
    SUITE_PUSH = "suite.push"
    TOKEN_BOOTSTRAP = "token.bootstrap"  # noqa: S105  # an action, no secret
    TOKEN_CREATE = "token.create"  # noqa: S105
    TOKEN_EXCHANGE = "token.exchange"  # noqa: S105
    TOKEN_RENEW = "token.renew"  # noqa: S105
    TOKEN_REVOKE = "token.revoke"  # noqa: S105
    TRUST_ADD = "trust.add"
    TRUST_END = "trust.end"
    VERDICT_CONTRADICT = "verdict.contradict"
    VERDICT_DISPUTE = "verdict.dispute"
    VERDICT_UNWAIVE = "verdict.unwaive"
    VERDICT_WAIVE = "verdict.waive"
    VERSION_CORRUPT = "version.corrupt"
    VERSION_DELETE = "version.delete"
    VERSION_DEPRECATE = "version.deprecate"
    VERSION_DOUBT = "version.doubt"
    VERSION_EDIT = "version.edit"
    VERSION_HEAL = "version.heal"
    VERSION_LABEL = "version.label"
    VERSION_PROVE = "version.prove"
    VERSION_PUSH = "version.push"
    VERSION_REENCODE = "version.reencode"
    VERSION_REFUSE = "version.refuse"
    VERSION_RESTORE = "version.restore"
    VERSION_REVERT = "version.revert"
    VERSION_REVOKE = "version.revoke"
    VERSION_UNREVOKE = "version.unrevoke"
    WEBHOOK_ADD = "webhook.add"
    WEBHOOK_REDELIVER = "webhook.redeliver"
    WEBHOOK_REMOVE = "webhook.remove"
    WEBHOOK_ROTATE = "webhook.rotate"


def record_event(
    conn: sa.Connection,
    action: Action,
    subject: str,
    *,
    on: Resource,
    before: object,
    after: object,
    actor: str,
    token_id: int | None = None,
    request_id: str = "",
) -> int:
    """Record what was done, in the transaction of the change; return the row's number.

    Args:
        conn: The transaction.
        action: What was done.
        subject: What it was done to, as the audit trail writes it.
        on: The resource that listeners subscribe to.
        before: Its state before.
        after: Its state now.
        actor: Who did it.
        token_id: The token that was used; None for the registry itself.
        request_id: The request that asked for it.
    """
    audit_id = record_audit(
        conn,
        actor=actor,
        token_id=token_id,
        action=action,
        subject=subject,
        before=before,
        after=after,
        request_id=request_id,
    )
    namespace, line = namespace_of(on), on.name if isinstance(on, LineRef) else None
    if namespace is not None:
        place_audit(conn, audit_id, namespace=namespace)
    add_event(conn, audit_id, namespace=namespace, line=line)
    return audit_id
