"""What a channel asks: its policy and its floors, as its row has them."""

from deltareg.db.sql.clock import US_PER_S
from deltareg.db.sql.row_protocols import PolicyColumns
from deltareg.db.upkeep.collection import PinWindow
from deltareg.gate.floors import THE_SERVER, Floor, over, parse_floor
from deltareg.gate.policy import Policy, RollbackWindow, policy_digest, read_stored

_DEFAULT = RollbackWindow()
PIN_WINDOW = PinWindow(moves=_DEFAULT.revisions, us=_DEFAULT.days * 86_400 * US_PER_S)
"""How long a channel pins what it served, where its policy does not say."""


def policy_of(channel: PolicyColumns) -> Policy:
    """Give all that a channel asks, with what its floors ask."""
    return over(own_policy_of(channel), floors_of(channel))


def own_policy_of(channel: PolicyColumns) -> Policy:
    """Read the policy of a channel, as it was set."""
    return read_stored(channel.policy)


def floors_of(channel: PolicyColumns, *, namespace: str = "") -> list[Floor]:
    """Give the floors that a channel stands on, the server's first; those that ask nothing not.

    Args:
        channel: Its row.
        namespace: Its namespace, where the floors are told of by name.
    """
    told = f"namespace {namespace}" if namespace else "the namespace"
    rows = ((THE_SERVER, channel.server_floor), (told, channel.namespace_floor))
    return [parse_floor(fields, of=of) for of, fields in rows if fields]


def digest_of_policy(channel: PolicyColumns) -> str:
    """Give the digest of all that a channel asks."""
    return str(policy_digest(policy_of(channel)))
