"""What rows of several classes have in common, for rules that hold for all of them."""

from collections.abc import Mapping
from typing import Protocol, TypeVar

T = TypeVar("T")


class VersionColumns(Protocol):
    """A row that says of which version it is; all three are None where it is of none."""

    @property
    def namespace(self) -> str | None:
        """The namespace of the line."""

    @property
    def line(self) -> str | None:
        """The name of the line."""

    @property
    def number(self) -> int | None:
        """The version's number."""


class PolicyColumns(Protocol):
    """A row with the policy of a channel."""

    @property
    def policy(self) -> Mapping[str, object]:
        """The policy, as it was set."""
        ...

    @property
    def server_floor(self) -> Mapping[str, object] | None:
        """What the server asks of every channel."""
        ...

    @property
    def namespace_floor(self) -> Mapping[str, object] | None:
        """What the channel's namespace asks of its channels."""
        ...


class FreezeColumns(Protocol):
    """A row of the newest revision of a channel, which may be a freeze."""

    @property
    def kind(self) -> str | None:
        """What was done."""

    @property
    def ends_at(self) -> int | None:
        """When the freeze ends by itself, if it does."""


class FreezeNoteColumns(FreezeColumns, Protocol):
    """A freeze with who made it, when and why."""

    @property
    def actor(self) -> str:
        """Who froze it."""
        ...

    @property
    def reason(self) -> str:
        """Why."""
        ...

    @property
    def created_at(self) -> int:
        """When."""
        ...


class TimeColumns(Protocol):
    """A row of a list that goes by time and id."""

    @property
    def id(self) -> str:
        """The row."""
        ...

    @property
    def created_at(self) -> int:
        """When it was made."""
        ...


def present(value: T | None) -> T:
    """Give the value of a column that may be NULL, but by a rule of the database not in this row.

    Raises:
        AssertionError: It is NULL.
    """
    if value is None:
        raise AssertionError("a value that the database has by its rules is not there")
    return value
