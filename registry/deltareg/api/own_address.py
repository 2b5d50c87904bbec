"""The address by which a server reaches itself."""

import socket

from deltareg.api.settings import Settings


def own_address(settings: Settings, listener: socket.socket) -> str:
    """Give the address by which the server reaches itself; empty where nobody said it.

    A certificate is for a name that others know the server by.
    """
    if settings.hub_address or settings.tls_cert is not None:
        return settings.hub_address.rstrip("/")
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(settings.host, settings.host)  # noqa: S104
    shown = f"[{host}]" if ":" in host else host
    return f"http://{shown}:{listener.getsockname()[1]}"
