"""What an unsaved policy, floor or suite would say about the versions that channels serve today.

The gate itself decides, on channels as they would be, and nothing is written. Rules about a move
rather than the version, such as approvals, are reported separately: they were checked when it
moved.
"""

from collections.abc import Callable, Iterable
from dataclasses import replace

import sqlalchemy as sa

from deltareg.db.channels import served as queries
from deltareg.db.channels.rows import ServingRow
from deltareg.db.lines import versions as version_queries
from deltareg.db.lines.version_rows import VersionRow
from deltareg.db.session import read
from deltareg.gate.floors import parse_floor
from deltareg.gate.policy import parse_policy, stored_fields
from deltareg.gate.ruling import Rule, Ruling
from deltareg.refs import LineRef, parse_name
from deltareg.service.access.members import check_seen
from deltareg.service.authority.grants import Right
from deltareg.service.authority.resources import EVERYTHING, Channel, Namespace, Resource
from deltareg.service.channels.floors import set_floor
from deltareg.service.channels.gate import GateCase, gather
from deltareg.service.channels.policies import set_policy
from deltareg.service.ledger.channel_policy import policy_of
from deltareg.service.registry import Caller, Registry
from deltareg.service.resolve import find_channel
from deltareg.service.verdicts.facts import fact_of_suite
from deltareg.service.verdicts.suites import push_suite
from deltareg.suites.suite import Suite, read_suite
from deltareg.wire import Answer, FloorChange, FloorSet, PolicyChange, PolicySet, SuiteInfo, SuitePush, UnmetRule

OF_MOVES: frozenset[Rule] = frozenset({"approvals", "frozen", "warnings"})
_MOST = 50
_LOOKED_AT = 1_000
_Under = Callable[[sa.Connection, VersionRow, ServingRow], GateCase]


class ChannelTrial(Answer):
    """A channel and what it serves: whether the gate accepts it today, and under the trial.

    `unmet` has the rules not met under the trial, `at_a_move` what the next move needs beside them.
    """

    line: str
    channel: str
    version: int
    is_allowed: bool
    would_be_allowed: bool
    unmet: list[UnmetRule]
    at_a_move: list[UnmetRule]


class TrialOverview(Answer):
    """The results for each affected channel, the most recently moved first.

    `more` counts the channels that were not tried.
    """

    served: list[ChannelTrial]
    more: int


class PolicyTrial(TrialOverview):
    """The trial of a channel's policy, and how it differs from the current one."""

    change: PolicyChange


class FloorTrial(TrialOverview):
    """The trial of a floor, how it differs, and the requests that it would make stale."""

    change: FloorChange


class SuiteTrial(TrialOverview):
    """The trial of a suite as it would be stored; `required_by` counts channels that ask for it."""

    suite: SuiteInfo
    required_by: int


def try_policy(registry: Registry, caller: Caller, line: LineRef, name: str, policy: dict[str, object]) -> PolicyTrial:
    """Return what a policy would decide about what its channel serves.

    Raises:
        InvalidInput: The policy is malformed, or names something that does not exist.
        NotFound: There is no such line or channel.
    """
    caller.require(Right.ADMIN, on=Channel(line, name))
    request = PolicySet(policy=policy, reason="a trial", dry_run=True)
    change = set_policy(registry, caller, line, name, request, is_seen=lambda _: True)
    fields = stored_fields(parse_policy(policy))

    def under(conn: sa.Connection, version: VersionRow, row: ServingRow) -> GateCase:
        return gather(conn, version, replace(row, policy=fields))

    with read(registry.engine) as conn:
        channel = find_channel(conn, caller, line, name)
        rows = _list_served(conn, caller, channel_id=channel.id)
        trials = _try_channels(conn, rows, under)
    return PolicyTrial(served=trials, more=0, change=change)


def try_floor(registry: Registry, caller: Caller, namespace: str | None, policy: dict[str, object]) -> FloorTrial:
    """Return what a floor of a namespace, or of the server, would decide about what is served.

    Raises:
        InvalidInput: The floor is malformed, or names something that does not exist.
        NotFound: There is no such namespace.
    """
    place: Resource = EVERYTHING
    if namespace is not None:
        place = Namespace(parse_name(namespace, "namespace"))
    caller.require(Right.ADMIN, on=place)
    request = FloorSet(policy=policy, reason="a trial", dry_run=True)
    change = set_floor(registry, caller, namespace, request, is_seen=lambda _: True)
    fields = parse_floor(policy, of=change.of).fields()

    def under(conn: sa.Connection, version: VersionRow, row: ServingRow) -> GateCase:
        changed = replace(row, server_floor=fields) if namespace is None else replace(row, namespace_floor=fields)
        return gather(conn, version, changed)

    with read(registry.engine) as conn:
        namespace_id = None if namespace is None else check_seen(conn, caller, namespace)
        rows = _list_served(conn, caller, namespace_id=namespace_id)
        trials = _try_channels(conn, rows[:_MOST], under)
    return FloorTrial(served=trials, more=max(0, len(rows) - _MOST), change=change)


def try_suite(registry: Registry, caller: Caller, document: str) -> SuiteTrial:
    """Return what a suite would decide about what is served by channels that ask for its name.

    Raises:
        InvalidInput: The document is no suite, or its name is that of a built-in suite.
        Conflict: A file of its probe sets is not here.
    """
    caller.require(Right.ADMIN, on=EVERYTHING)
    suite_info = push_suite(registry, caller, SuitePush(document=document), is_trial=True)
    suite = read_suite(document.encode())

    def under(conn: sa.Connection, version: VersionRow, row: ServingRow) -> GateCase:
        return _with_suite(gather(conn, version, row), suite)

    with read(registry.engine) as conn:
        rows = [
            row for row in _list_served(conn, caller) if any(one.name == suite.name for one in policy_of(row).suites)
        ]
        trials = _try_channels(conn, rows[:_MOST], under)
    return SuiteTrial(served=trials, more=max(0, len(rows) - _MOST), suite=suite_info, required_by=len(rows))


def _list_served(
    conn: sa.Connection, caller: Caller, *, namespace_id: int | None = None, channel_id: int | None = None
) -> list[ServingRow]:
    rows = queries.served_channels(conn, namespace_id=namespace_id, channel_id=channel_id, limit=_LOOKED_AT)
    return [row for row in rows if caller.sees(LineRef(row.namespace, row.line))]


def _with_suite(case: GateCase, suite: Suite) -> GateCase:
    suites = {**case.now.suites, suite.name: fact_of_suite(suite)}
    return replace(case, now=replace(case.now, suites=suites))


def _try_channels(conn: sa.Connection, rows: Iterable[ServingRow], under: _Under) -> list[ChannelTrial]:
    channel_rows = list(rows)
    versions = version_queries.versions_by_ids(conn, {row.version_id for row in channel_rows})
    trials: list[ChannelTrial] = []
    for row in channel_rows:
        version = versions[row.version_id]
        now, then = gather(conn, version, row).unmet(*OF_MOVES), under(conn, version, row).unmet()
        unmet = [_show_ruling(one) for one in then if one.rule not in OF_MOVES]
        trials.append(
            ChannelTrial(
                line=f"{row.namespace}/{row.line}",
                channel=row.name,
                version=version.number,
                is_allowed=not now,
                would_be_allowed=not unmet,
                unmet=unmet,
                at_a_move=[_show_ruling(one) for one in then if one.rule in OF_MOVES],
            )
        )
    return trials


def _show_ruling(ruling: Ruling) -> UnmetRule:
    return UnmetRule(rule=ruling.rule, message=ruling.message, fix=ruling.fix, asked_by=list(ruling.asked_by))
