"""The policy of a channel, as its row has it."""

from deltareg.db.rows import Row
from deltareg.policy import Policy, parse_policy, policy_digest


def policy_of(channel: Row) -> Policy:
    """Read the policy of a channel."""
    return parse_policy(channel.policy)


def digest_of_policy(channel: Row) -> str:
    """Give the digest of the policy of a channel."""
    return str(policy_digest(policy_of(channel)))
