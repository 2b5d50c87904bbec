"""The policy of a channel, as its row has it, and what holds where it says nothing."""

from deltareg.db.clock import US_PER_S
from deltareg.db.queries.collection import PinWindow
from deltareg.db.rows import HasPolicy
from deltareg.gate.policy import Policy, RollbackWindow, parse_policy, policy_digest

_DEFAULT = RollbackWindow()
PIN_WINDOW = PinWindow(moves=_DEFAULT.revisions, us=_DEFAULT.days * 86_400 * US_PER_S)
"""How long a channel pins what it served, where its policy does not say."""


def policy_of(channel: HasPolicy) -> Policy:
    """Read the policy of a channel."""
    return parse_policy(channel.policy)


def digest_of_policy(channel: HasPolicy) -> str:
    """Give the digest of the policy of a channel."""
    return str(policy_digest(policy_of(channel)))
