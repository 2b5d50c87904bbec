"""Checks, before the first step of a training, what its pushes would fail on after hours.

What no retry mends stops a training here: a token that may not push, a base that nobody knows, a
model that the base does not fit. A server that is away stops
nothing, since results stay on disk until they can be pushed.
"""

import logging
import tempfile
from pathlib import Path

from deltareg.client import Client
from deltareg.errors import (
    BaseMismatch,
    DeltaregError,
    Forbidden,
    InvalidInput,
    Misconfigured,
    NotFound,
    Refused,
    Unauthenticated,
)
from deltareg.integrations.snapshot import save_pretrained
from deltareg.refs import LineRef

log = logging.getLogger(__name__)
FOR_GOOD: tuple[type[DeltaregError], ...] = (
    BaseMismatch,
    Forbidden,
    InvalidInput,
    Misconfigured,
    NotFound,
    Unauthenticated,
)
"""The errors that come again however often a push is tried."""


def check_before_training(
    client: Client, line: str, base: str | None, *, model: object = None, channel: str = ""
) -> None:
    """Check that pushing to a line will work; sends no bytes.

    Args:
        client: The client to push with.
        line: The line.
        base: The base that is named; None for the one that the adapter's config names.
        model: The model, if one process has all of it; an adapter is checked against the base.
        channel: The channel that will be moved too, if any.

    Raises:
        InvalidInput: The line has no valid name, or no base is known.
        Unavailable: The server does not answer.
        Unauthenticated, Forbidden: The token may not push there, or not move the channel.
        NotFound: There is no such base.
        Refused: A push would refuse the adapter, for another base or for what it is.
    """
    LineRef.parse(line)
    client.meta()  # asks once: a training does not wait for a server that is away
    _check_right(client, "push", line)
    if channel:
        _check_right(client, "promote", f"{line}@{channel}")
    _check_base(client, base, model)


def _check_right(client: Client, right: str, of: str) -> None:
    who = client.whoami()
    if not {right, "admin"} & set(who.scopes):
        raise Forbidden(
            f"the token of {who.principal} is for {', '.join(who.scopes)}, not for {right}",
            fix=f"deltareg token create --for {who.principal} --scope read --scope {right}",
        )
    allowed = client.members.explain(who.principal, right, of)
    if not allowed.allowed:
        raise Forbidden(f"{who.principal} may not {right} to {allowed.ref}", fix=allowed.fix)


def _check_base(client: Client, base: str | None, model: object) -> None:
    """Look up the base, and hold against it what a push of the untrained adapter would hold."""
    if base is not None and ":" not in base and not Path(base).exists():
        client.bases.show(base)
    if not hasattr(model, "peft_config"):  # anything else is too large to be saved for a look
        return
    with tempfile.TemporaryDirectory(prefix="deltareg-") as scratch:
        folder = Path(scratch) / "delta"
        try:
            save_pretrained(folder, model, fix="")
        except (InvalidInput, OSError) as error:
            log.debug("the adapter cannot be looked at before the training: %s", error)
            return
        report = client.lint(folder, base=client.bases.named_in(folder) if base is None else base)
    errors = [problem for problem in report.problems if problem.severity == "error"]
    if errors:
        raise Refused(errors)
