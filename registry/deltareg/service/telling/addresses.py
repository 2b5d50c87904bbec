"""Where a webhook may go: outside, and not into the networks that only this server reaches.

A name is resolved anew at each delivery and what is called is the address that was looked at, so a
name that means another address a moment later (DNS rebinding) gains nothing. Where a name has
several addresses, all of them have to be allowed. No redirect is followed and no proxy asked.
"""

import socket
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from urllib.parse import SplitResult, urlsplit

from deltareg.errors import InvalidInput

Network = IPv4Network | IPv6Network
_Ip = IPv4Address | IPv6Address
_SETTING = "DELTAREG_WEBHOOK_NETWORKS"
_PORTS = {"http": 80, "https": 443}
_MOST_ADDRESSES = 16
# Beside what `ipaddress` knows as not global: metadata services of clouds that lie in public
# ranges or beside them, and networks that stand for IPv4 addresses in another spelling.
_NEVER = tuple(map(ip_network, ("168.63.129.16/32", "192.0.0.0/24", "100.64.0.0/10", "fec0::/10")))
_NAT64 = IPv6Network("64:ff9b::/96")
_COMPATIBLE = IPv6Network("::/96")


@dataclass(frozen=True, slots=True)
class WebhookAddress:
    """Where a webhook goes.

    Attributes:
        scheme: `http` or `https`.
        host: A name, or an address without brackets.
        port: The port.
        path: Path and query, as they are sent.
    """

    scheme: str
    host: str
    port: int
    path: str

    @classmethod
    def parse(cls, url: str) -> "WebhookAddress":
        """Read the URL of a webhook.

        Raises:
            InvalidInput: It is none, of another scheme, or holds a password.
        """
        if not url.isascii() or not url.isprintable() or set(url) & set(' \\"<>^`{|}'):
            raise InvalidInput("the address of a webhook is ASCII without spaces", fix=_EXAMPLE)
        try:
            parts = urlsplit(url)
            port = parts.port
        except ValueError as error:
            raise InvalidInput("the address of a webhook cannot be read", fix=_EXAMPLE) from error
        _check(parts)
        path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        host = (parts.hostname or "").rstrip(".")
        return cls(parts.scheme, host, port or _PORTS[parts.scheme], path)

    @property
    def authority(self) -> str:
        """What stands in the Host header."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == _PORTS[self.scheme] else f"{host}:{self.port}"

    @property
    def display(self) -> str:
        """The address for people: what follows the host may be a secret, as Slack's is."""
        return f"{self.scheme}://{self.authority}/" + ("…" if self.path != "/" else "")

    def at(self, ip: str) -> str:
        """Give the URL with an address in place of the name."""
        host = f"[{ip}]" if ":" in ip else ip
        return f"{self.scheme}://{host}:{self.port}{self.path}"


_EXAMPLE = "write https://hooks.example.org/deltareg"
Resolve = Callable[[str, int], Sequence[str]]


def resolve(host: str, port: int) -> list[str]:
    """Ask the system for the addresses of a name.

    Raises:
        OSError: It has none, or nobody answers.
    """
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(str(entry[4][0]).partition("%")[0] for entry in found))


def pin_addresses(target: WebhookAddress, networks: Sequence[Network], *, resolving: Resolve = resolve) -> list[str]:
    """Give the addresses that a target may be called at now.

    Args:
        target: Where to.
        networks: Private networks that are allowed.
        resolving: Gives the addresses of a name.

    Raises:
        InvalidInput: It has none, or one of them is not allowed.
    """
    try:
        found = resolving(target.host, target.port)
    except (OSError, UnicodeError) as error:
        raise InvalidInput(f"{target.host} is not found from this server", fix="check the name, and its DNS") from error
    ips = [ip_address(each) for each in found]
    if not ips:
        raise InvalidInput(f"{target.host} has no address", fix="check the name, and its DNS")
    for ip in ips:
        if not is_allowed(ip, networks):
            what = "is" if str(ip) == target.host else f"leads to {ip}, which is"
            raise InvalidInput(
                f"{target.host} {what} not an address of the open Internet, and webhooks do not go"
                " into networks that only this server reaches",
                fix=f"whoever runs the server allows a network: {_SETTING}={_network_of(ip)}",
            )
    return [str(ip) for ip in ips[:_MOST_ADDRESSES]]


def is_allowed(ip: _Ip, networks: Sequence[Network]) -> bool:
    """Whether an address may be called: it is everybody's, or in a network that is listed."""
    if any(ip in network for network in networks):
        return True
    inner = _inner(ip)
    if inner is not None:
        return _is_global(inner) or any(inner in network for network in networks)
    return _is_global(ip)


def _is_global(ip: _Ip) -> bool:
    if any(ip in network for network in _NEVER):
        return False
    return ip.is_global and not (ip.is_multicast or ip.is_reserved or ip.is_unspecified)


def _inner(ip: _Ip) -> IPv4Address | None:
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


def _network_of(ip: _Ip) -> str:
    return f"{ip}/{ip.max_prefixlen}"


def _check(parts: SplitResult) -> None:
    if parts.scheme not in _PORTS:
        raise InvalidInput(f"webhooks go to http and https, not to {parts.scheme[:20] or 'nothing'!r}", fix=_EXAMPLE)
    if not parts.hostname:
        raise InvalidInput("the address of a webhook names no host", fix=_EXAMPLE)
    if parts.username is not None or parts.password is not None:
        raise InvalidInput(
            "the address of a webhook holds a name or a password",
            fix="leave it out: what is sent is signed, and the receiver checks that",
        )
    if parts.port == 0:
        raise InvalidInput("port 0 is no port", fix=_EXAMPLE)
