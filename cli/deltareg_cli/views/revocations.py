"""How the command line describes a revoked version."""

from deltareg.wire import Revocation
from deltareg_cli.invocation import Invocation


def describe_revocation(revocation: Revocation) -> str:
    """Describe who revoked a version, when and why."""
    return f"by {revocation.actor} at {revocation.at[:19]}Z: {revocation.reason}"


def warn(invocation: Invocation, ref: str, revocation: Revocation | None) -> None:
    """Warn the user who takes a revoked version; its bytes are unchanged."""
    if revocation is not None:
        invocation.output.note(f"warning: {ref} was revoked {describe_revocation(revocation)}")
