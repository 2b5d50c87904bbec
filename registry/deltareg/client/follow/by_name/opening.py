"""Versions by name for one vLLM server: found on request, then watched."""

from pathlib import Path

from deltareg.client.context import Context
from deltareg.client.follow.by_name.channels import ChannelTracker
from deltareg.client.follow.by_name.finding import ByNameOptions, VersionFinder
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
        self._finder = VersionFinder(context, options)
        self._server = VllmServer(url, token=token)
        self._watcher = VersionWatcher(context, self._finder, self._server, max_bytes=options.max_bytes)
        self._channels = ChannelTracker(context, self._finder, on_move=self._watcher.retire)

    def find(self, name: str, said_base: str) -> Path | None:
        """Return the folder of the version that a name means, whole; None if it may not be served.

        The call waits for the bytes, and the first time for the base to be hashed. A thread watches
        the version from then on. The log says why a version is not served.
        """
        folder = self._finder.find(name, said_base)
        if folder is not None:
            self._watcher.start()
        return folder

    def resolve_channel(self, name: str) -> str | None:
        """Return the name of the revision that a channel is at, `ns/name@prod#17`; None for what is no channel.

        The first call for a channel asks the registry. From then on it is listened to.
        """
        return self._channels.resolve(name)

    def look_up_channel(self, name: str) -> str | None:
        """Return the same without waiting for anything; None for a channel that is not listened to."""
        return self._channels.look_up(name)

    def close(self) -> None:
        """Stop watching; loaded versions stay loaded."""
        self._channels.stop()
        self._watcher.stop()
        self._server.close()
