"""What a channel says: a version under names that never mean anything else."""

from dataclasses import dataclass
from typing import Self

from deltareg.digest import Digest
from deltareg.errors import InvalidInput
from deltareg.refs import LineRef, Ref
from deltareg.wire import ChannelInfo

_DIGITS = 12


@dataclass(frozen=True, slots=True)
class Followed:
    """A channel that is followed."""

    line: LineRef
    channel: str

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read `ns/name@channel`.

        Raises:
            InvalidInput: It is another kind of reference.
        """
        ref = Ref.parse(text)
        if ref.channel is None or ref.host or ref.revision is not None or ref.back:
            raise InvalidInput(f"{text[:120]!r} names no channel", fix="write ns/name@prod")
        return cls(ref.line, ref.channel)

    def __str__(self) -> str:
        """Write `ns/name@channel`."""
        return f"{self.line}@{self.channel}"


@dataclass(frozen=True, slots=True)
class Release:
    """A version as a follower serves it.

    Attributes:
        line: Its line.
        version: Its number.
        digest: Its manifest's digest.
    """

    line: LineRef
    version: int
    digest: Digest

    @classmethod
    def of(cls, line: LineRef, channel: ChannelInfo) -> Self | None:
        """Give what a channel serves; None where it serves nothing."""
        if channel.version is None or channel.digest is None:
            return None
        return cls(line, channel.version, Digest.parse(channel.digest))

    @property
    def ref(self) -> str:
        """The reference that names it for good: `ns/name:v3`."""
        return f"{self.line}:v{self.version}"

    @property
    def name(self) -> str:
        """The name that an engine serves it under; a version has one, and it is no other's."""
        return f"{self.line.namespace}--{self.line.name}--v{self.version}"

    @property
    def folder(self) -> str:
        """The name of its folder, which tells two registries' versions of one name apart."""
        return f"{self.name}-{self.digest.hex[:_DIGITS]}"
