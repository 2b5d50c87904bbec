"""The fleet: an agent for this host, and the state of all agents."""

import hashlib
import re
import socket
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from deltareg.client.resources.resource import AnyPath, Resource
from deltareg.client.results.listing import Listing
from deltareg.refs import parse_name
from deltareg.wire import FollowerInfo, Page

if TYPE_CHECKING:
    from deltareg.client.follow import Agent, FollowedChannel, FollowEvent, FollowOptions
    from deltareg.client.follow.by_name.opening import ByNameOptions, VersionsByName
    from deltareg.client.follow.engine import ServingEngine

_HOST_CHARACTERS = 50
_PAGE = 200


class Fleet(Resource):
    """The agents of a registry: which channels they follow, and what each of them serves."""

    __slots__ = ()

    def agent(
        self,
        engine: "ServingEngine",
        followed: "Sequence[FollowedChannel]",
        options: "FollowOptions",
        *,
        on_event: "Callable[[FollowEvent], None]" = lambda _: None,
    ) -> "Agent":
        """Create an agent, which keeps an engine on what channels say; its `run` starts it."""
        from deltareg.client.follow import Agent  # what no other command needs

        return Agent(self._context, engine, followed, options, on_event=on_event)

    def by_name(self, options: "ByNameOptions", *, url: str, token: str | None = None) -> "VersionsByName":
        """Serve versions to a vLLM server by names that clients ask for; the caller closes it."""
        from deltareg.client.follow.by_name.opening import VersionsByName  # as for the agent

        return VersionsByName(self._context, options, url=url, token=token)

    def list(self, of: str | None = None, *, cursor: str | None = None, limit: int = 50) -> Listing[FollowerInfo]:
        """List followers: of a line `ns/name`, of a channel `ns/name@prod`, or all.

        For a version, `ns/name:v3`, list those that serve it; for a digest, or its beginning, those
        that serve it in any line.
        """
        return self._list("/fleet/agents", Page[FollowerInfo], of=of, cursor=cursor, limit=limit)

    def astray(self, of: str | None = None) -> Sequence[FollowerInfo]:
        """Return all followers that do not serve what their channel says, or serve what was revoked."""
        return [one for one in self.list(of, limit=_PAGE) if one.drift != "none"]

    def forget(self, name: str) -> None:
        """Remove an agent that no longer exists from the lists."""
        self._context.api.send("DELETE", f"/fleet/agents/{parse_name(name, 'agent')}")


def default_agent_name(folder: AnyPath) -> str:
    """Return the default name of a folder's agent on this host; the same at every start."""
    host = re.sub(r"[^a-z0-9._-]+", "-", socket.gethostname().lower())[:_HOST_CHARACTERS]
    digest = hashlib.sha256(str(Path(folder).absolute()).encode()).hexdigest()[:6]
    host = re.sub(r"\.{2,}", ".", host).strip("._-")
    return f"{host or 'host'}-{digest}"
