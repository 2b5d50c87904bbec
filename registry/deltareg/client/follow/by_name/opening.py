"""Versions by name for one vLLM server: found on request, then watched."""

from pathlib import Path

from deltareg.client.context import Context
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

    def find(self, name: str, said_base: str) -> Path | None:
        """Return the folder of the version that a name means, whole; None if it may not be served.

        The call waits for the bytes, and the first time for the base to be hashed. A thread watches
        the version from then on. The log says why a version is not served.
        """
        folder = self._finder.find(name, said_base)
        if folder is not None:
            self._watcher.start()
        return folder

    def close(self) -> None:
        """Stop watching; loaded versions stay loaded."""
        self._watcher.stop()
        self._server.close()
