"""The address by which a server reaches itself."""


def own_address(said: str, certificate: object, host: str, port: int) -> str:
    """Return the address by which the server reaches itself; empty if it has TLS and none is set.

    With TLS the address has to be set, since a certificate is for a name that others use.
    """
    if said or certificate is not None:
        return said.rstrip("/")
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)  # noqa: S104
    url_host = f"[{host}]" if ":" in host else host
    return f"http://{url_host}:{port}"
