"""What a channel asks for: its policy and its floors, from its row."""

from deltareg.db.sql.clock import US_PER_S
from deltareg.db.sql.row_protocols import PolicyColumns
from deltareg.db.upkeep.pins import PinWindow
from deltareg.gate.floors import THE_SERVER, Floor, over, parse_floor
from deltareg.gate.policy import Policy, RollbackWindow, policy_digest, read_stored

_DEFAULT = RollbackWindow()
PIN_WINDOW = PinWindow(moves=_DEFAULT.revisions, us=_DEFAULT.days * 86_400 * US_PER_S)
"""How long a channel pins what it served, where its policy does not say."""


def policy_of(channel: PolicyColumns) -> Policy:
    """Return the whole policy of a channel, its floors included."""
    return over(own_policy_of(channel), floors_of(channel))


def own_policy_of(channel: PolicyColumns) -> Policy:
    """Return the policy of a channel as it was set."""
    return read_stored(channel.policy)


def floors_of(channel: PolicyColumns, *, namespace: str = "") -> list[Floor]:
    """Return the floors of a channel, the server's first, without those that ask for nothing.

    Args:
        channel: Its row.
        namespace: Its namespace, where messages should name it.
    """
    owner = f"namespace {namespace}" if namespace else "the namespace"
    rows = ((THE_SERVER, channel.server_floor), (owner, channel.namespace_floor))
    return [parse_floor(fields, of=of) for of, fields in rows if fields]


def digest_of_policy(channel: PolicyColumns) -> str:
    """Return the digest of the whole policy of a channel."""
    return str(policy_digest(policy_of(channel)))
