"""Whether a channel would accept the version that it serves today.

Nothing empties a channel by itself. The version that it serves may have failed since, or it or
something it is made of may have been revoked: then the channel is shown as unfit, so that somebody
rolls it back.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace

import sqlalchemy as sa

from deltareg.db.channels.rows import ChannelRow
from deltareg.db.lines import versions as version_queries
from deltareg.gate.judge import Circumstances, judge
from deltareg.gate.policy import policy_digest
from deltareg.gate.ruling import Rule
from deltareg.service.channels.known_version import known_of
from deltareg.service.ledger.channel_policy import policy_of
from deltareg.service.lines.outside import outside_facts
from deltareg.service.verdicts.facts import suite_facts
from deltareg.wire import Unfitness

UNFIT: tuple[Rule, ...] = ("revoked", "corrupt", "deleted", "failed", "refuted")
"""What is wrong with a version itself; all else, such as an approval, was asked when it moved."""


def unfitness(
    conn: sa.Connection, served: Mapping[int, int], channels: Sequence[ChannelRow], *, now_us: int
) -> dict[int, list[Unfitness]]:
    """Return, by channel, what makes the version that it serves unfit for it now.

    Args:
        conn: A transaction.
        served: The row id of the version that each channel serves, by the channel's row id.
        channels: The channels; each version is looked up once for all of them.
        now_us: The time, in µs since the epoch.
    """
    asking = [channel for channel in channels if channel.id in served]
    versions = version_queries.versions_by_ids(conn, set(served.values()))
    facts = {row_id: known_of(conn, row) for row_id, row in versions.items()}
    policies = {channel.id: policy_of(channel) for channel in asking}
    suites = suite_facts(conn, {s.name for policy in policies.values() for s in policy.suites})
    reasons: dict[int, list[Unfitness]] = {}
    for channel in asking:
        policy, version = policies[channel.id], facts[served[channel.id]]
        # What it is compared with, by whom it is approved and when it may move was asked before.
        now = Circumstances(
            channel.name,
            now_us,
            str(policy_digest(policy)),
            suites,
            incumbent=None,
            variants=version.variants,
            identities=version.identities,
        )
        any_environment = replace(policy, environment="any")  # a failure is one wherever it was found
        verdicts = version.verdicts_on(channel.id)
        said = outside_facts(conn, versions[served[channel.id]], policy.outside)
        candidate = replace(version.candidate, outside=said)
        reasons[channel.id] = [
            Unfitness(rule=one.rule, message=one.message, suite=one.suite)
            for one in judge(candidate, any_environment, verdicts, now=now)
            if one.rule in UNFIT and not one.is_met
        ]
    return reasons
