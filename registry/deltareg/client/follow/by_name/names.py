"""Names that mean one version for good, and those that do not."""

from dataclasses import dataclass

from deltareg.errors import InvalidInput
from deltareg.refs import Ref


@dataclass(frozen=True, slots=True)
class MovingName:
    """A name of a line that does not say which version for good.

    Attributes:
        why: What is wrong with it.
        fix: What to ask for instead.
    """

    why: str
    fix: str


def read_name(text: str) -> Ref | MovingName | None:
    """Read `ns/name:v12`, `ns/name@prod#17` or `ns/name@sha256:…`; None for what is no reference.

    An engine asks once for a name and never again, so what means another version tomorrow would go
    on being the one of today.
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
