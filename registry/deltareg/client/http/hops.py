"""Where a registry may send its client on to.

Packs may lie in an object store, which the registry names in a redirect: without the token, by digest,
and nowhere else but for packs. Nothing else of the API is elsewhere.
"""

import socket
from typing import Any, Final

from deltareg.errors import InvalidInput
from deltareg.host.lean_httpx import httpx
from deltareg.host.token_files import is_here

_HOPS_MOST: Final = 5


def follow_hops(
    client: httpx.Client,
    request: httpx.Request,
    server: str,
    *,
    may_leave: bool,
    **options: Any,  # noqa: ANN401  # as in the library
) -> httpx.Response:
    """Follow where an answer leads, and return the one at the end, still to be read and closed.

    Args:
        client: What sends requests.
        request: The first one that an answer leads to.
        server: The address of the registry.
        may_leave: Whether a store may answer in place of the registry.
        options: What `httpx.Client.send` takes.

    Raises:
        InvalidInput: It leads to where no registry sends its clients.
    """
    for _ in range(_HOPS_MOST):
        _check_hop(request.url, server, may_leave=may_leave)
        if is_elsewhere(request.url, server):
            options["auth"] = None
        response = client.send(request, stream=True, follow_redirects=False, **options)
        following = response.next_request
        if following is None:
            return response
        response.close()
        request = following
    raise InvalidInput(f"{server} sends this request on and on", fix="tell who runs it")


def is_elsewhere(url: httpx.URL, server: str) -> bool:
    """Whether an address is not one of the registry."""
    return _origin(url) != _origin(httpx.URL(server))


def _check_hop(at: httpx.URL, server: str, *, may_leave: bool) -> None:
    home = httpx.URL(server)
    if not is_elsewhere(at, server):
        return
    where = f"{at.scheme}://{at.netloc.decode()}"
    if not may_leave:
        raise InvalidInput(
            f"{server} sends this request on to {where}, which is another server",
            fix=f"if the registry is there: --server {where}",
        )
    if at.scheme not in {"http", "https"} or (home.scheme == "https" and at.scheme != "https"):
        raise InvalidInput(
            f"{server} sends for its packs to {where}, where everybody can read along",
            fix="ask who runs the registry to serve its store over https",
        )
    if _is_pivot(at, server):
        raise InvalidInput(
            f"{server} sends for its packs to {where}, an address of this machine alone, where no store of it can be",
            fix="ask who runs the registry which address its store has: DELTAREG_STORE_URL",
        )


def _origin(url: httpx.URL) -> tuple[str, str, int | None]:
    return url.scheme, url.host, url.port or {"http": 80, "https": 443}.get(url.scheme)


def _is_pivot(at: httpx.URL, server: str) -> bool:
    """Whether an address is one that only this machine reaches: its own, or that of its cloud's metadata."""
    if is_here(server):
        return False
    from ipaddress import ip_address  # what only a store elsewhere needs

    from deltareg.host.addresses import resolve

    try:
        found = resolve(at.host, at.port or 443)
    except (OSError, socket.gaierror, UnicodeError):  # a proxy resolves it, or the request says what is wrong
        return False
    return any(ip.is_loopback or ip.is_link_local or ip.is_unspecified for ip in map(ip_address, found))
