"""What a right is asked on: a namespace, a delta, a base, or everything.

A delta is named by its `LineRef`; its versions and channels are asked for with it, for rights end
at the border of a namespace.
"""

from dataclasses import dataclass
from enum import Enum

from deltareg.refs import LineRef, plain_base


@dataclass(frozen=True, slots=True)
class Namespace:
    """A namespace, whether it is there yet or not."""

    name: str

    def __str__(self) -> str:
        """Write its name."""
        return self.name


@dataclass(frozen=True, slots=True)
class Base:
    """A base by its name: `llama`, `org/llama`, or `ns/name:v3` for a version that became one."""

    name: str

    @property
    def namespace(self) -> str | None:
        """The namespace that it, or the version that became it, lies in; None for a shared one."""
        namespace, slash, _ = plain_base(self.name).partition("/")
        return namespace if slash else None

    @property
    def is_version(self) -> bool:
        """Whether it is a version that became one."""
        return ":" in self.name

    def __str__(self) -> str:
        """Write it as a subject of the audit trail."""
        return f"base/{self.name}"


class Whole(Enum):
    """What is no one thing."""

    EVERYTHING = "everything"
    """All namespaces, and what lies in none: tokens, suites, workers, the store."""
    SOMEWHERE = "somewhere"
    """Anything at all: asked while it is not known yet on what, and asked again when it is."""

    def __str__(self) -> str:
        """Write the word."""
        return self.value


EVERYTHING = Whole.EVERYTHING
SOMEWHERE = Whole.SOMEWHERE
Resource = Namespace | LineRef | Base | Whole


def namespace_of(resource: Resource) -> str | None:
    """Name the namespace that a resource lies in; None for what lies in none, or in all."""
    match resource:
        case Namespace():
            return resource.name
        case LineRef() | Base():
            return resource.namespace
        case Whole():
            return None
