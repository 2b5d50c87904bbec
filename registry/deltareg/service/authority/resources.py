"""What a right applies to: a namespace, a delta, one of its channels, a base, or everything.

A delta is named by its `LineRef`, which stands for its versions too: no right is about only some of
them.
"""

from dataclasses import dataclass
from enum import Enum

from deltareg.refs import LineRef, plain_base


@dataclass(frozen=True, slots=True)
class Namespace:
    """A namespace, whether it exists yet or not."""

    name: str

    def __str__(self) -> str:
        """Format it as its name."""
        return self.name


@dataclass(frozen=True, slots=True)
class Channel:
    """A channel of a delta, as the resource of the rights that move it."""

    line: LineRef
    name: str

    def __str__(self) -> str:
        """Format it as `ns/name@channel`."""
        return f"{self.line}@{self.name}"


@dataclass(frozen=True, slots=True)
class Base:
    """A base by its name: `llama`, `org/llama`, or `ns/name:v3` for a version that became one."""

    name: str

    @property
    def namespace(self) -> str | None:
        """The namespace of the base, or of the version that became it; None for a shared base."""
        namespace, slash, _ = plain_base(self.name).partition("/")
        return namespace if slash else None

    @property
    def is_version(self) -> bool:
        """Whether the base is a version that became one."""
        return ":" in self.name

    @property
    def line(self) -> str:
        """The name of the delta whose version became this base; empty for any other base."""
        return self.name.partition("/")[2].partition(":")[0] if self.is_version else ""

    def __str__(self) -> str:
        """Format it as a subject of the audit trail."""
        return f"base/{self.name}"


class GeneralResource(Enum):
    """A resource that is no single thing."""

    EVERYTHING = "everything"
    """All namespaces, and what lies in none: tokens, suites, workers, the store."""
    SHARED = "what all share"
    """What is read by all who are somebody here: suites, bases of no namespace, the workers."""
    SOMEWHERE = "somewhere"
    """Anything at all: asked while it is not known yet on what, and asked again when it is."""

    def __str__(self) -> str:
        """Format it as its word."""
        return self.value


EVERYTHING = GeneralResource.EVERYTHING
SHARED = GeneralResource.SHARED
SOMEWHERE = GeneralResource.SOMEWHERE
Resource = Namespace | LineRef | Channel | Base | GeneralResource


def namespace_of(resource: Resource) -> str | None:
    """Return the namespace that a resource lies in; None for what lies in none, or in all."""
    match resource:
        case Namespace():
            return resource.name
        case Channel():
            return resource.line.namespace
        case LineRef() | Base():
            return resource.namespace
        case GeneralResource():
            return None
