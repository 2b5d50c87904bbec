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
            fix=f"start vLLM with --middleware deltareg.integrations.vllm.ChannelNames and ask in JSON, or ask for"
            f" {ref.line}:v1 or {ref.line}@{ref.channel}#1 by their numbers",
        )
    return MovingName("it does not say which version", fix=f"ask for {ref.line}:v1 by its number")


def read_channel(text: str) -> Ref | None:
    """Read `ns/name@prod`, the name of a channel as it is now; None for anything else."""
    try:
        ref = Ref.parse(text)
    except InvalidInput:
        return None
    is_channel = ref.channel is not None and ref.revision is None and not ref.back
    return ref if is_channel and not ref.host and str(ref) == text else None
