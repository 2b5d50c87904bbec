"""API paths of lines and channels, and requests for what is in them."""

from collections.abc import Mapping
from typing import TYPE_CHECKING
from urllib.parse import quote

from deltareg.client.context import Context
from deltareg.refs import LineRef, parse_channel
from deltareg.wire import Page, VersionInfo

if TYPE_CHECKING:
    from deltareg.wire import ChannelInfo


def line_path(line: LineRef) -> str:
    """Return the API path of a line."""
    return f"/deltas/{quote(line.namespace)}/{quote(line.name)}"


def label_query(labels: Mapping[str, str | None]) -> dict[str, str]:
    """Return the query that asks for labels; a label whose value is None may have any value."""
    query = {f"label.{key}": value for key, value in labels.items() if value is not None}
    keys = ",".join(key for key, value in labels.items() if value is None)
    return query | ({"has_label": keys} if keys else {})


def channel_path(line: LineRef, name: str) -> str:
    """Return the API path of a channel."""
    return f"{line_path(line)}/channels/{parse_channel(name)}"


def list_versions(context: Context, line: LineRef, *, cursor: str | None, limit: int) -> Page[VersionInfo]:
    """List the versions of a line, newest first."""
    path = f"{line_path(line)}/versions"
    return context.api.get(path, Page[VersionInfo], cursor=cursor, limit=limit)


def show_channel(context: Context, line: LineRef, name: str, *, at: str | None = None) -> "ChannelInfo":
    """Show what a channel serves now, or served at a given time."""
    from deltareg.wire import ChannelInfo  # who lists lines need not load it

    return context.api.get(channel_path(line, name), ChannelInfo, at=at)
