"""Requests for suites and the files of their probe sets."""

from deltareg.client.context import Context
from deltareg.digest import Digest, sha256_of
from deltareg.errors import IntegrityFailure
from deltareg.refs import parse_name
from deltareg.wire import SuiteInfo


def suite_path(name: str) -> str:
    """Return the API path of a suite."""
    return f"/suites/{parse_name(name, 'suite')}"


def show_suite(context: Context, name: str, *, digest: str | None = None) -> SuiteInfo:
    """Show a suite with its document: the newest, or the one with a given digest."""
    return context.api.get(suite_path(name), SuiteInfo, digest=digest)


def fetch_suite_file(context: Context, digest: Digest) -> bytes:
    """Fetch the file of a probe set.

    Raises:
        IntegrityFailure: The server sent other bytes.
    """
    raw = context.api.send("GET", f"/suite-files/{digest}").content
    if sha256_of(raw) != digest:
        raise IntegrityFailure(f"the probe set {digest.short} came as something else")
    return raw
