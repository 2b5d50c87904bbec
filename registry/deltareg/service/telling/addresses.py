"""Where a webhook may go: outside, and not into the networks that only this server reaches.

A name is resolved anew at each delivery and what is called is the address that was looked at, so a
name that means another address a moment later (DNS rebinding) gains nothing. Where a name has
several addresses, all of them have to be allowed. No redirect is followed and no proxy asked.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from ipaddress import ip_address
from urllib.parse import SplitResult, urlsplit

from deltareg.errors import InvalidInput
from deltareg.host.addresses import IpAddress, Network, Resolve, is_allowed, resolve

_SETTING = "DELTAREG_WEBHOOK_NETWORKS"
_PORTS = {"http": 80, "https": 443}
_MOST_ADDRESSES = 16


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


def _network_of(ip: IpAddress) -> str:
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
