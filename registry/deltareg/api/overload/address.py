"""The address of a client: of its connection, or what the proxies in front say."""

import ipaddress
from collections.abc import Iterable
from functools import lru_cache

from starlette.types import Scope

_IPV6_NETWORK = 64  # what one customer has at least


def client_address(scope: Scope, *, proxies: int) -> str:
    """Return the address that a request counts for.

    Each proxy appends the address that it was called from to `X-Forwarded-For`. So with one proxy the last entry is
    right, with two the last but one, and whatever a client wrote itself stands further left.

    Args:
        scope: The request.
        proxies: How many proxies are in front; 0 for none, and then the header is not looked at.
    """
    client = scope.get("client")
    peer = client[0] if client else ""
    if not proxies:
        return network_of(peer)
    entries = _forwarded_for(scope["headers"])
    if not entries:
        return network_of(peer)
    return network_of(entries[-min(proxies, len(entries))])


def _forwarded_for(headers: Iterable[tuple[bytes, bytes]]) -> list[str]:
    lines = [value.decode("latin-1") for name, value in headers if name == b"x-forwarded-for"]
    return [entry.strip() for entry in ",".join(lines).split(",") if entry.strip()]


@lru_cache(4_096)
def network_of(address: str) -> str:
    """Return an IPv4 address as it is, an IPv6 address as its /64, and all that is neither as one."""
    try:
        parsed = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return _without_port(address)
    if parsed.version == 4:
        return str(parsed)
    if parsed.ipv4_mapped is not None:
        return str(parsed.ipv4_mapped)
    return str(ipaddress.ip_network((parsed, _IPV6_NETWORK), strict=False))


def _without_port(address: str) -> str:
    """Return the address of an entry with a port, as some proxies write it; empty if it is none at all."""
    host = address[1:].partition("]")[0] if address.startswith("[") else address.partition(":")[0]
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return ""
    return network_of(host)
