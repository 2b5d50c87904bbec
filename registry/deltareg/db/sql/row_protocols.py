"""Columns that rows of several classes have in common, for rules that apply to all of them."""

from collections.abc import Mapping
from typing import Protocol, TypeVar

T = TypeVar("T")


class VersionColumns(Protocol):
    """A row that refers to a version; all three are None if it refers to none."""

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
        """The floor of the server."""
        ...

    @property
    def namespace_floor(self) -> Mapping[str, object] | None:
        """The floor of the channel's namespace."""
        ...


class FreezeColumns(Protocol):
    """A row of the newest revision of a channel, which may be a freeze."""

    @property
    def kind(self) -> str | None:
        """The kind of the revision."""

    @property
    def ends_at(self) -> int | None:
        """When the freeze ends by itself, if it does."""


class FreezeNoteColumns(FreezeColumns, Protocol):
    """A freeze, with its actor, time and reason."""

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
    """A row of a list that is ordered by time and id."""

    @property
    def id(self) -> str:
        """The row."""
        ...

    @property
    def created_at(self) -> int:
        """When it was created."""
        ...


def present(value: T | None) -> T:
    """Return the value of a nullable column that a database rule fills in this row.

    Raises:
        AssertionError: It is NULL.
    """
    if value is None:
        raise AssertionError("a value that the database has by its rules is not there")
    return value
