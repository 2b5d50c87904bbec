"""Reads names that mean one version for good, and refuses others."""

from dataclasses import dataclass

from deltareg.errors import InvalidInput
from deltareg.refs import Ref


@dataclass(frozen=True, slots=True)
class MovingName:
    """A name of a line that does not mean one version for good.

    Attributes:
        why: What is wrong with it.
        fix: What to ask for instead.
    """

    why: str
    fix: str


def read_name(text: str) -> Ref | MovingName | None:
    """Read `ns/name:v12`, `ns/name@prod#17` or `ns/name@sha256:…`; None for anything else.

    An engine asks for a name only once, so a name that means another version tomorrow would keep
    meaning today's.
    """
    try:
        ref = Ref.parse(text)
    except InvalidInput:
        return None
    if ref.host:
        return MovingName("it names a registry", fix=f"ask for {ref.line}{ref.selector}")
    if ref.version is not None or ref.digest is not None or ref.revision is not None:
        return ref
    if ref.channel is not None:
        return MovingName(
            f"{ref.channel} is a channel, which may move, and this name would not",
            fix=f"ask for {ref.line}:v1 or {ref.line}@{ref.channel}#1 by their numbers, or let an"
            " agent follow the channel",
        )
    return MovingName("it does not say which version", fix=f"ask for {ref.line}:v1 by its number")
