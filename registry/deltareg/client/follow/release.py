"""What a channel serves: a version, under names that never mean another one."""

import re
from dataclasses import dataclass
from typing import Self

from deltareg.digest import Digest, sha256_of
from deltareg.errors import InvalidInput
from deltareg.refs import LineRef, Ref
from deltareg.wire import ChannelInfo

_DIGITS, _MANY_DIGITS = 12, 32
_LONGEST = 255  # of a file's name; what an engine calls by other names may be longer
_FOLDER = re.compile(r"([a-z0-9._-]+)--([a-z0-9._-]+)--v([0-9]+)-[0-9a-f]{12}")


@dataclass(frozen=True, slots=True)
class FollowedChannel:
    """A followed channel."""

    line: LineRef
    channel: str

    @classmethod
    def parse(cls, text: str) -> Self:
        """Parse `ns/name@channel`.

        Raises:
            InvalidInput: It is another kind of reference.
        """
        ref = Ref.parse(text)
        if ref.channel is None or ref.host or ref.revision is not None or ref.back:
            raise InvalidInput(f"{text[:120]!r} names no channel", fix="write ns/name@prod")
        return cls(ref.line, ref.channel)

    def __str__(self) -> str:
        """Format it as `ns/name@channel`."""
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
        """Return what a channel serves; None if it serves nothing."""
        if channel.version is None or channel.digest is None:
            return None
        return cls(line, channel.version, Digest.parse(channel.digest))

    @property
    def ref(self) -> str:
        """The reference that names it for good: `ns/name:v3`."""
        return f"{self.line}:v{self.version}"

    @property
    def name(self) -> str:
        """The name that an engine serves it under if it can: `ns--name--v3`.

        A namespace or a line may have `--` in its own name, so `a--b--c--v1` could mean two
        versions. Such a version takes the name of its folder.
        """
        return self._plain if _is_plain(self.line) else self.folder

    @property
    def names(self) -> tuple[str, ...]:
        """The names that an engine may serve it under, the best first; each is its own alone."""
        return (self.name,) if self.name == self.folder else (self.name, self.folder)

    @property
    def folder(self) -> str:
        """The name of its folder, which differs for equally named versions of two registries."""
        if _is_plain(self.line):
            return f"{self._plain}-{self.digest.hex[:_DIGITS]}"
        digits = sha256_of(f"{self.ref} {self.digest}".encode())
        return f"{self._plain}-{digits.hex[:_MANY_DIGITS]}"

    @property
    def _plain(self) -> str:
        return f"{self.line.namespace}--{self.line.name}--v{self.version}"


def read_folder_name(folder: str) -> Ref | None:
    """Say which version a folder is named after; None for another name, or one that two have."""
    match = _FOLDER.fullmatch(folder) if len(folder) <= _LONGEST else None
    if match is None:
        return None
    try:
        ref = Ref.parse(f"{match[1]}/{match[2]}:v{match[3]}")
    except InvalidInput:
        return None
    return ref if _is_plain(ref.line) else None


def belongs_to(folder: str, line: LineRef) -> bool:
    """Whether a folder's name is that of a version of a line, as far as a name can tell."""
    return folder.startswith(f"{line.namespace}--{line.name}--v")


def _is_plain(line: LineRef) -> bool:
    """Whether `--` in the line's name can only be the separator."""
    return len(re.findall("(?=--)", f"{line.namespace}--{line.name}")) == 1
