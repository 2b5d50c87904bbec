"""Which addresses of the network a server may call: everybody's, and networks that its operator lists.

What only this server reaches (its own loopback, private networks, metadata services of clouds) is not
for those who make it call somewhere.
"""

import socket
from collections.abc import Callable, Sequence
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_network

Network = IPv4Network | IPv6Network
IpAddress = IPv4Address | IPv6Address
Resolve = Callable[[str, int], Sequence[str]]
# Beside what `ipaddress` knows as not global: metadata services of clouds that lie in public
# ranges or beside them, and networks that stand for IPv4 addresses in another spelling.
_NEVER = tuple(map(ip_network, ("168.63.129.16/32", "192.0.0.0/24", "100.64.0.0/10", "fec0::/10")))
_NAT64 = IPv6Network("64:ff9b::/96")
_COMPATIBLE = IPv6Network("::/96")


def resolve(host: str, port: int) -> list[str]:
    """Ask the system for the addresses of a name.

    Raises:
        OSError: It has none, or nobody answers.
    """
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(str(entry[4][0]).partition("%")[0] for entry in found))


def is_allowed(ip: IpAddress, networks: Sequence[Network]) -> bool:
    """Whether an address may be called: it is everybody's, or in a network that is listed."""
    if any(ip in network for network in networks):
        return True
    inner = _inner(ip)
    if inner is not None:
        return _is_global(inner) or any(inner in network for network in networks)
    return _is_global(ip)


def _is_global(ip: IpAddress) -> bool:
    if any(ip in network for network in _NEVER):
        return False
    return ip.is_global and not (ip.is_multicast or ip.is_reserved or ip.is_unspecified)


def _inner(ip: IpAddress) -> IPv4Address | None:
    """Give the IPv4 address that an IPv6 one stands for."""
    if isinstance(ip, IPv4Address):
        return None
    if ip.ipv4_mapped is not None:
        return ip.ipv4_mapped
    if ip.sixtofour is not None:
        return ip.sixtofour
    if ip.teredo is not None:
        return ip.teredo[1]
    if ip in _NAT64 or (ip in _COMPATIBLE and int(ip) > 1):
        return IPv4Address(int(ip) & 0xFFFF_FFFF)
    return None
