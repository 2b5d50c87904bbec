"""Reads names of versions and of channels, and refuses others."""

from dataclasses import dataclass

from deltareg.errors import InvalidInput
from deltareg.refs import Ref


@dataclass(frozen=True, slots=True)
class MovingName:
    """A name of a line that means neither one version for good nor what a channel serves.

    Attributes:
        why: What is wrong with it.
        fix: What to ask for instead.
    """

    why: str
    fix: str


def read_name(text: str) -> Ref | MovingName | None:
    """Read `ns/name:v12`, `ns/name@prod` or `ns/name@sha256:…`; None for anything else.

    Of names that move, only channels are read, because only a channel says when it moves.
    """
    try:
        ref = Ref.parse(text)
    except InvalidInput:
        return None
    if ref.host:
        return MovingName("it names a registry", fix=f"ask for {ref.line}{ref.selector}")
    if ref.back:
        return MovingName(
            "it moves whenever its channel does",
            fix=f"ask for {ref.line}@{ref.channel}, or for a revision: {ref.line}@{ref.channel}#1",
        )
    if ref.is_bare or ref.label is not None:
        return MovingName("it does not say which version", fix=f"ask for {ref.line}:v1 or {ref.line}@prod")
    return ref


def is_channel(ref: Ref) -> bool:
    """Whether a reference means what a channel serves at the moment."""
    return ref.channel is not None and ref.revision is None and not ref.back
