"""What is said of a version that is revoked."""

from deltareg.wire import Revocation
from deltareg_cli.invocation import Invocation


def describe_revocation(revocation: Revocation) -> str:
    """Say by whom, when and why."""
    return f"by {revocation.actor} at {revocation.at[:19]}Z: {revocation.reason}"


def warn(invocation: Invocation, ref: str, revocation: Revocation | None) -> None:
    """Warn whoever takes a version that is revoked; its bytes are what they always were."""
    if revocation is not None:
        invocation.output.note(f"warning: {ref} was revoked {describe_revocation(revocation)}")
