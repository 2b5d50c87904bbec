"""A channel's policy: shown, and replaced as a whole by somebody who has seen the current one."""

from collections.abc import Callable, Mapping

import sqlalchemy as sa

from deltareg.db.bases import bases as base_queries
from deltareg.db.channels import auto_promotions as rules
from deltareg.db.channels import channels as queries
from deltareg.db.channels.rows import ChannelRow
from deltareg.db.lines.referrers import revoked_signer_rows
from deltareg.db.session import read, with_retry
from deltareg.delta.kinds import kind_names
from deltareg.delta.serving import engine_names
from deltareg.documents.strict_fields import DocumentPlace, read_word
from deltareg.errors import InvalidInput, StaleRevision
from deltareg.gate.floors import over
from deltareg.gate.policy import Policy, parse_policy, policy_digest, policy_fields, stored_fields
from deltareg.gate.promotion_labels import fill_labels
from deltareg.refs import LineRef
from deltareg.service.authority.grants import Right
from deltareg.service.authority.resources import Base, Channel
from deltareg.service.channels.approvals import end_others
from deltareg.service.events import Action
from deltareg.service.ledger.channel_policy import digest_of_policy, floors_of, own_policy_of
from deltareg.service.lines.labels import check_labels
from deltareg.service.registry import Caller, Registry
from deltareg.service.resolve import find_channel
from deltareg.service.verdicts.facts import suite_facts
from deltareg.wire import ChannelFloor, PolicyChange, PolicyInfo, PolicySet


def show_policy(registry: Registry, caller: Caller, line: LineRef, name: str) -> PolicyInfo:
    """Show the policy of a channel.

    Raises:
        NotFound: There is no such line or channel.
    """
    caller.require(Right.READ, on=line)
    with read(registry.engine) as conn:
        channel = find_channel(conn, caller, line, name)
    return PolicyInfo(
        channel=name,
        policy=policy_fields(own_policy_of(channel)),
        digest=digest_of_policy(channel),
        floors=describe_floors(line, channel),
    )


def describe_floors(line: LineRef, channel: ChannelRow) -> list[ChannelFloor]:
    """Describe the floors that apply to a channel beside its own policy."""
    return [ChannelFloor(of=floor.of, policy=floor.fields()) for floor in floors_of(channel, namespace=line.namespace)]


def set_policy(
    registry: Registry, caller: Caller, line: LineRef, name: str, request: PolicySet, *, is_seen: Callable[[str], bool]
) -> PolicyChange:
    """Replace the policy of a channel, if it is still the one that the caller saw.

    It needs the right `admin`, because whoever promotes must not decide what a promotion requires.
    Floors apply whatever the policy says.

    Args:
        registry: The database and the store.
        caller: Who sets it.
        line: The line.
        name: The channel.
        request: The whole policy, and why it is set.
        is_seen: Whether the caller has seen the policy with this digest.

    Raises:
        InvalidInput: The policy is malformed, names something that does not exist, or a reason is
            missing.
        NotFound: There is no such line or channel.
        StaleRevision: The policy has changed meanwhile.
    """
    caller.require(Right.ADMIN, on=Channel(line, name))
    policy = parse_policy(request.policy)

    def transaction(conn: sa.Connection) -> PolicyChange:
        channel = find_channel(conn, caller, line, name, lock=True)
        before, floors = own_policy_of(channel), floors_of(channel)
        change = _change(name, before, policy, digest=str(policy_digest(over(policy, floors))))
        if not change.is_changed:  # perhaps by this very request, whose answer was lost
            return change
        if not is_seen(digest_of_policy(channel)):
            raise StaleRevision(
                f"the policy of {line}@{name} was changed meanwhile",
                fix=f"look again: deltareg channel policy get {line} {name}",
            )
        check_names(conn, caller, policy)
        _check_reason(before, policy, request.reason)
        _check_labels(name, policy)
        if not request.dry_run:
            _write(conn, caller, line, channel, change, stored_fields(policy), request.reason)
            _keep_rule(conn, caller, channel, policy)
        return change

    return with_retry(registry.engine, transaction)


def _write(
    conn: sa.Connection,
    caller: Caller,
    line: LineRef,
    channel: ChannelRow,
    change: PolicyChange,
    stored: Mapping[str, object],
    reason: str,
) -> None:
    end_others(conn, caller, channel, but=None, why="the policy changed")
    queries.replace_policy(conn, channel.id, policy=stored)
    after = {"policy": change.after, "digest": change.digest, "reason": reason}
    caller.record(
        conn, Action.CHANNEL_POLICY, f"{line}@{channel.name}", on=line, before={"policy": change.before}, after=after
    )


def _change(name: str, before: Policy, after: Policy, *, digest: str) -> PolicyChange:
    return PolicyChange(
        channel=name,
        before=policy_fields(before),
        after=policy_fields(after),
        digest=digest,
        is_changed=policy_fields(before) != policy_fields(after),
    )


def check_names(conn: sa.Connection, caller: Caller, policy: Policy) -> None:
    """Refuse a policy that names something that does not exist: no version could ever meet it."""
    for suite in policy.suites:
        facts = suite_facts(conn, [suite.name])
        if suite.name in facts and not facts[suite.name].is_for_gates:
            message = f"{suite.name} is a quick look that counts for no channel"
            raise DocumentPlace("suites").wrong(message, fix="name smoke, or a suite of your own")
        if suite.name not in facts:
            message = f"there is no suite {suite.name!r}"
            raise DocumentPlace("suites").wrong(message, fix="name one that the server has")
    for number, kind in enumerate(policy.kinds or ()):
        read_word(kind, DocumentPlace("kinds").at(number), words=kind_names())
    for number, term in enumerate(policy.servable):
        read_word(term.engine, DocumentPlace("servable").at(number), words=engine_names())
    for number, base in enumerate(policy.bases or ()):
        is_root = ":" in base and "/" not in base
        is_known = caller.sees(Base(base)) and base_queries.base_rows(conn, name=base, limit=1)
        if not is_root and not is_known:
            raise (
                DocumentPlace("bases")
                .at(number)
                .wrong(
                    f"there is no base {base!r}",
                    fix="deltareg base ls; a base that is still to come is named by its root",
                )
            )
    _check_variants(conn, caller, policy)
    _check_signers(conn, policy)


def _check_signers(conn: sa.Connection, policy: Policy) -> None:
    """Refuse terms whose signers are all revoked: nothing by them counts."""
    terms = policy.outside
    revoked = {row.keyid: row.reason for row in revoked_signer_rows(conn)} if terms.asks_others else {}
    asked = {
        "attestations": [term.signers for term in terms.attestations],
        "metrics": [term.signers for term in terms.metrics],
    }
    for key, items in asked.items():
        for number, signers in enumerate(items):
            ended = [signer for signer in signers if {signer.key, signer.ca} & revoked.keys()]
            if ended and len(ended) == len(signers):
                place = DocumentPlace(key).at(number).at("from")
                why = revoked[ended[0].key or ended[0].ca]
                raise place.wrong(f"{ended[0].description} is revoked: {why}", fix="name another signer")


def _check_variants(conn: sa.Connection, caller: Caller, policy: Policy) -> None:
    for number, name in enumerate(policy.variants):
        rows = base_queries.base_rows(conn, name=name, limit=1) if caller.sees(Base(name)) else ()
        if not rows or rows[0].scheme is None:
            raise (
                DocumentPlace("variants")
                .at(number)
                .wrong(
                    f"there is no variant {name!r}",
                    fix="deltareg base ls; record one: deltareg base register PATH NAME"
                    " --variant-of ROOT --quantised SCHEME",
                )
            )


def _check_reason(before: Policy, after: Policy, reason: str) -> None:
    if (before.is_protected or after.is_protected) and not reason:
        raise InvalidInput("the channel is protected: a change of its policy takes a reason", fix="say why: -m REASON")


def _check_labels(name: str, policy: Policy) -> None:
    """Refuse labels for promotions that nobody could set by hand."""
    check_labels(fill_labels(policy.label, date="2026-01-01", channel=name))


def _keep_rule(conn: sa.Connection, caller: Caller, channel: ChannelRow, policy: Policy) -> None:
    """Remember who answers for what the channel promotes by itself: whoever set its policy last.

    They may promote there as well, which `admin` includes; `auto_promote` asks again each time.
    """
    if policy.is_auto_promoted:
        rules.set_rule(conn, channel.id, principal_id=caller.principal_id)
    else:
        rules.end_rule(conn, channel.id)
