"""What a channel serves, under names that other systems' manifests can use for good."""

import re
from collections.abc import Mapping
from dataclasses import dataclass

from deltareg.client.asking.lines import show_channel
from deltareg.client.asking.resolving import resolve
from deltareg.client.context import Context
from deltareg.delta.serving import ServableDelta, servability
from deltareg.digest import Digest
from deltareg.errors import Blocked, Conflict, InvalidInput
from deltareg.refs import LineRef, Ref

_KEY = "deltareg.dev"
_COMMIT_DIGITS, _NAME_DIGITS, _MOST_NAME = 40, 8, 63


@dataclass(frozen=True, slots=True)
class ServedVersion:
    """A version that a channel serves.

    Attributes:
        line: The line.
        channel: The channel's name.
        revision: The channel's revision.
        version: The version's number.
        digest: The digest of its manifest.
        base: The name of its base.
        rank: The rank that an engine has to support.
        unfit: Why the channel would not take the version now.
    """

    line: LineRef
    channel: str
    revision: int
    version: int
    digest: Digest
    base: str
    rank: int
    unfit: tuple[str, ...] = ()

    @property
    def exact(self) -> str:
        """The name with its digest, under which the vLLM plug-in serves it."""
        return f"{self.line}@{self.digest}"

    @property
    def name(self) -> str:
        """The name with its number, in a form that fits one word."""
        return f"{self.line.namespace}--{self.line.name}--v{self.version}"

    @property
    def commit(self) -> str:
        """The revision by which the hub's clients fetch exactly these bytes."""
        return self.digest.hex[:_COMMIT_DIGITS]

    @property
    def resource(self) -> str:
        """A name that Kubernetes accepts: short, of letters, digits and hyphens, and unique.

        RFC 1123, section 2.1.
        """
        plain = re.sub(r"[^a-z0-9]+", "-", f"{self.line.namespace}-{self.line.name}")
        end = f"-v{self.version}-{self.digest.hex[:_NAME_DIGITS]}"
        return f"{plain[: _MOST_NAME - len(end)].strip('-')}{end}"

    @property
    def annotations(self) -> Mapping[str, str]:
        """Annotations that tell people in a cluster where it comes from."""
        return {
            f"{_KEY}/channel": f"{self.line}@{self.channel}#{self.revision}",
            f"{_KEY}/version": f"{self.line}:v{self.version}",
            f"{_KEY}/digest": str(self.digest),
            f"{_KEY}/base": self.base,
        }


def served_by(context: Context, line: LineRef, channel: str, *, engine: str) -> ServedVersion:
    """Return what a channel serves, if an engine can serve it.

    Raises:
        Conflict: The channel serves nothing.
        Blocked: The served version is revoked.
        InvalidInput: The engine cannot serve it.
    """
    info = show_channel(context, line, channel)
    if info.ref is None or info.version is None or info.digest is None:
        raise Conflict(f"{line}@{channel} serves nothing", fix=f"deltareg promote {line}:v1 --channel {channel}")
    if info.is_revoked:
        raise Blocked(f"{info.ref} is revoked", fix=f"deltareg rollback {line} --channel {channel}")
    version = resolve(context, Ref.parse(info.ref), bare="newest")
    delta = ServableDelta(version.kind, version.variant, version.config, version.files)
    for one in servability(delta):
        if one.engine == engine and not one.is_servable:
            raise InvalidInput(
                f"{engine} cannot serve {info.ref}: {'; '.join(one.obstacles)}",
                fix=f"serve the merged model: deltareg materialize {info.ref}",
            )
    return ServedVersion(
        line,
        channel,
        info.revision,
        info.version,
        Digest.parse(info.digest),
        version.base.name,
        delta.rank,
        tuple(each.message for each in info.unfit),
    )
