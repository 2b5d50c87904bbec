"""Versions by name for one vLLM server: found on request, then watched."""

from deltareg.client.context import Context
from deltareg.client.follow.by_name.finding import ByNameOptions, NamedVersion, VersionFinder
from deltareg.client.follow.by_name.moving import ChannelMover
from deltareg.client.follow.by_name.watching import VersionWatcher
from deltareg.client.follow.vllm_server import VllmServer

__all__ = ["ByNameOptions", "VersionsByName"]


class VersionsByName:
    """Answers a vLLM server that has no adapter of a name; safe to use from several threads."""

    def __init__(self, context: Context, options: ByNameOptions, *, url: str, token: str | None) -> None:
        """Prepare; no request is sent yet.

        Args:
            context: The client's surroundings.
            options: What is known about the server.
            url: The server's address.
            token: The server's API key, if it was started with one.
        """
        self._server = VllmServer(url, token=token)
        self._finder = VersionFinder(context, options, self._server)
        self._watcher = VersionWatcher(context, self._finder, self._server, max_bytes=options.max_bytes)
        self._mover = ChannelMover(self._finder, on_move=self._watcher.move, on_end=self._watcher.end)

    def find(self, name: str, said_base: str) -> NamedVersion | None:
        """Return the version that a name means, whole in its folder; None if it may not be served.

        The call waits for the bytes, and the first time for the base to be hashed. A thread watches
        the version from then on. The log says why a version is not served.
        """
        found = self._finder.find(name, said_base)
        if found is not None:
            self._watcher.start()
            self._mover.start()
        return found

    def close(self) -> None:
        """Stop watching; loaded versions stay loaded."""
        self._mover.stop()
        self._watcher.stop()
        self._server.close()
