"""Versions by name for one vLLM server: found when they are asked for, then looked after."""

from pathlib import Path

from deltareg.client.context import Context
from deltareg.client.follow.by_name.finding import ByNameOptions, VersionFinder
from deltareg.client.follow.by_name.watching import VersionWatcher
from deltareg.client.follow.vllm_server import VllmServer

__all__ = ["ByNameOptions", "VersionsByName"]


class VersionsByName:
    """What a vLLM server asks when it has no adapter of a name; safe in several threads."""

    def __init__(self, context: Context, options: ByNameOptions, *, url: str, token: str | None) -> None:
        """Prepare; nothing is asked yet.

        Args:
            context: The client's surroundings.
            options: What is known of the server.
            url: Where it listens.
            token: What it wants to see, where it was started with an API key.
        """
        self._finder = VersionFinder(context, options)
        self._server = VllmServer(url, token=token)
        self._watcher = VersionWatcher(context, self._finder, self._server, max_bytes=options.max_bytes)

    def find(self, name: str, said_base: str) -> Path | None:
        """Give the folder of the version that a name means, whole; None where it is not served.

        It waits for the bytes, and the first time for the base to be hashed. What is found is
        looked after in a thread from then on. Why something is not served is in the log.
        """
        folder = self._finder.find(name, said_base)
        if folder is not None:
            self._watcher.start()
        return folder

    def close(self) -> None:
        """End the looking after; what is loaded stays loaded."""
        self._watcher.stop()
        self._server.close()
