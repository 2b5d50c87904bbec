"""How the command line describes a revoked or deprecated version."""

from typing import TYPE_CHECKING

from deltareg_cli.invocation import Invocation
from deltareg_cli.terminal.wording import clean

if TYPE_CHECKING:
    from deltareg.wire import Deprecation, Revocation


def describe_revocation(revocation: "Revocation") -> str:
    """Describe who revoked a version, when and why."""
    return f"by {revocation.actor} at {revocation.at[:19]}Z: {revocation.reason}"


def describe_deprecation(deprecation: "Deprecation") -> str:
    """Describe why a version or its line is deprecated, and what to use instead."""
    instead = f"; use {deprecation.successor}" if deprecation.successor else ""
    return f"by {deprecation.actor} at {deprecation.at[:10]}: {deprecation.reason}{instead}"


def warn(
    invocation: Invocation, ref: str, revocation: "Revocation | None", deprecation: "Deprecation | None" = None
) -> None:
    """Warn the user who takes a revoked or deprecated version; its bytes are unchanged."""
    if deprecation is not None:
        invocation.output.note(clean(f"warning: {ref} is deprecated {describe_deprecation(deprecation)}"))
    if revocation is not None:
        invocation.output.note(f"warning: {ref} was revoked {describe_revocation(revocation)}")
