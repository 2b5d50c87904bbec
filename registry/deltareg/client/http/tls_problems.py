"""What is wrong with a server's certificate, in words, and what to do about it."""

import os
import ssl
from typing import Final

from deltareg.host.urls import split_url

_FILE: Final = "SSL_CERT_FILE"
_EXPIRED, _NOT_YET, _WRONG_HOST = 10, 9, {62, 64}  # OpenSSL's X509_V_ERR_…


def describe_tls_problem(cause: ssl.SSLError, server: str) -> tuple[str, str]:
    """Return what is wrong with TLS at an address, and the fix.

    Args:
        cause: What the handshake failed with.
        server: The address, as the user named it.
    """
    if not isinstance(cause, ssl.SSLCertVerificationError):
        plain = server.replace("https://", "http://", 1)
        reason = getattr(cause, "reason", None) or cause
        return f"{server} does not answer in TLS: {reason}", f"if it serves plain http: --server {plain}"
    reason = str(getattr(cause, "verify_message", cause)).rstrip(".")
    match getattr(cause, "verify_code", 0):
        case code if code in _WRONG_HOST:
            host = split_url(server).hostname
            what = f"the certificate that {server} shows is for another host than {host}: {reason}"
            return what, "name the host that it is for: --server https://…; or have it made for this name as well"
        case code if code == _EXPIRED:
            return (
                f"the certificate of {server} has expired",
                "who runs the server has to renew it; if this machine's clock is wrong, set that",
            )
        case code if code == _NOT_YET:
            return f"the certificate of {server} is not valid yet", "compare the clocks of this machine and the server"
        case _:
            return f"the certificate of {server} is not trusted: {reason}", _how_to_trust()


def _how_to_trust() -> str:
    named = os.environ.get(_FILE)
    if named:
        return f"{_FILE} names {named}, which does not hold its authority: add the authority's certificate there"
    return f"name the file with its authority's certificate: {_FILE}=ca.pem"
