"""Mirrors of a repository on a hub, as commands run them; what brings them is loaded when one is there."""

import sys
from typing import TYPE_CHECKING

from deltareg.client.mirror.known_mirrors import KnownMirror
from deltareg.errors import InvalidInput
from deltareg.host.token_files import read_token
from deltareg_cli.invocation import Invocation

if TYPE_CHECKING:
    from deltareg.client.mirror.mirror import MirrorReport
    from deltareg.integrations.hub_lines.bring import FollowingLine

MIRROR_TOKEN = "DELTAREG_MIRROR_TOKEN"  # noqa: S105  # the name of a variable


def hub_line(one: KnownMirror) -> "FollowingLine":
    """Return the line of a mirror and the repository that it follows.

    Raises:
        InvalidInput: Its address or its branch is none.
    """
    from deltareg.integrations.hub_lines.bring import FollowingLine
    from deltareg.integrations.hub_lines.repository import HubRepository

    return FollowingLine(HubRepository.parse(one.url, one.revision), one.line, one.base)


def bring_from_hub(invocation: Invocation, one: KnownMirror, *, is_at_once: bool) -> "MirrorReport":
    """Bring the newest commit, with a token of its own."""
    from deltareg.integrations.hub_lines.bring import bring_newest

    token = invocation.environ.get(MIRROR_TOKEN) or read_token(one.url) or ""
    return bring_newest(invocation.client, hub_line(one), token=token, is_at_once=is_at_once)


def state_of(invocation: Invocation, one: KnownMirror) -> str:
    """Say how far a line is with what it follows; empty for a registry, which is asked."""
    if not one.line:
        return ""
    from deltareg.integrations.hub_lines.bring import describe

    return describe(hub_line(one).room(invocation.client).read())


def read_hub_token() -> str:
    """Read the hub's token from stdin.

    Raises:
        InvalidInput: There is none, or more.
    """
    token = sys.stdin.read().strip()
    if len(token.split()) != 1:
        raise InvalidInput("that is not a token", fix="pipe the hub's token to it, and nothing else")
    return token
