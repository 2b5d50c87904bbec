"""Watches the versions that an engine was given by name, for as long as it has them.

Every few seconds it checks the folders, because an engine may crash if one is gone that it reads
again; every half minute the registry, so that a revoked version is unloaded within a minute; then
the space. The engine has no hook for any of this, so it is told over its own HTTP API, as an
operator would.
"""

import logging
import threading
import time
from collections.abc import Callable, Collection
from dataclasses import dataclass

from deltareg.client.asking.resolving import resolve
from deltareg.client.context import Context
from deltareg.client.follow.adapter_server import AdapterListing
from deltareg.client.follow.by_name.finding import NamedVersion, VersionFinder
from deltareg.client.follow.by_name.holding import FolderHold
from deltareg.client.follow.version_folders import is_whole
from deltareg.client.follow.vllm_server import VllmServer
from deltareg.errors import Blocked, DeltaregError, NotFound, Unavailable

log = logging.getLogger(__name__)
FOLDERS_S, REGISTRY_S = 2.0, 30.0
_LOAD_S = 300.0
"""How long an engine may take to load what it was given, before it is taken not to have it."""
_DRAIN_S = 300.0
"""How long a folder stays after its version was unloaded: what waits may be loaded from it."""


@dataclass(frozen=True, slots=True)
class _Leaving:
    """A folder whose version the engine was told to unload."""

    hold: FolderHold
    due: float


class VersionWatcher:
    """Watches what a finder has found; its thread ends with the process."""

    def __init__(
        self,
        context: Context,
        finder: VersionFinder,
        server: VllmServer,
        *,
        max_bytes: int,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Prepare; `start` begins to watch.

        Args:
            context: The client's surroundings.
            finder: The finder whose versions are watched.
            server: The engine's server.
            max_bytes: How many bytes may lie in the folders.
            clock: A monotonic clock, in seconds.
        """
        self._context, self._finder, self._server = context, finder, server
        self._max_bytes, self._clock = max_bytes, clock
        self._leaving: list[_Leaving] = []
        self._to_unload: dict[str, str] = {}
        self._retired: dict[str, float] = {}
        self._told: dict[str, str] = {}
        self._asked_at = clock()
        self._stop = threading.Event()
        self._starting = threading.Lock()
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Start watching in a thread; a second call does nothing."""
        with self._starting:
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="by name", daemon=True)
                self._thread.start()

    def stop(self) -> None:
        """Stop the thread."""
        self._stop.set()
        if self._thread is not None:
            self._thread.join()

    def retire(self, name: str) -> None:
        """Unload a revision that its channel means no more, once nobody can be using it."""
        self._retired[name] = self._clock() + _DRAIN_S

    def look_at_folders(self) -> None:
        """Rewrite folders that are gone or changed; unload those that cannot be rewritten."""
        for named_version in self._list_found():
            try:
                if is_whole(self._context, named_version.release, named_version.hold.folder, asks=False):
                    continue
                log.warning("folder=%s is gone or changed, and is made anew", named_version.hold.folder)
                self._finder.folders.make(self._context, named_version.release)
            except (DeltaregError, OSError) as error:
                self._to_unload[named_version.name] = f"its folder cannot be made anew: {error}"

    def ask(self) -> None:
        """Ask the registry about all versions found; mark revoked ones for unloading."""
        self._asked_at = self._clock()
        for named_version in self._list_found():
            try:
                version = resolve(self._context, named_version.ref, bare="newest")
                self._finder.check_is_live(version)
            except (Blocked, NotFound) as error:
                self._to_unload[named_version.name] = error.message
            except Unavailable as error:
                self._tell("registry", f"the registry cannot be asked: {error.message}")
                return
            except DeltaregError as error:
                self._tell(named_version.name, f"{named_version.name} cannot be asked about: {error.message}")
        self._told.pop("registry", None)

    def settle(self) -> None:
        """Unload what is marked, release what the engine no longer has, and prune."""
        versions = self._list_found()
        for name in [name for name, due in list(self._retired.items()) if due <= self._clock()]:
            del self._retired[name]
            if name in self._finder.found:
                self._to_unload.setdefault(name, "its channel has moved on")
        self._make_room(versions)
        listing = self._list_loaded() if versions else None
        if listing is not None:
            for one in versions:
                self._settle(one, listing)
        now = self._clock()
        for leaving in [one for one in self._leaving if one.due <= now]:
            leaving.hold.let_go()
            self._leaving.remove(leaving)
        for name in self._finder.folders.prune(self._max_bytes):
            log.info("pruned=%s", name)

    def _run(self) -> None:
        while not self._stop.wait(FOLDERS_S):
            try:
                self._go_round()
            except (DeltaregError, OSError) as error:
                self._tell("round", f"cannot look after what is served by name: {error}")
            except Exception:  # a thread that ended would leave what is revoked served
                log.exception("cannot look after what is served by name")
            else:
                self._told.pop("round", None)

    def _go_round(self) -> None:
        self.look_at_folders()
        if self._clock() - self._asked_at >= REGISTRY_S:
            self.ask()
            self.settle()
        elif self._to_unload:
            self.settle()

    def _settle(self, found: NamedVersion, listed: AdapterListing) -> None:
        if listed.adapters.get(found.name) != str(found.hold.folder):
            # One that was just given may be on its way, though it is to be unloaded by now.
            if self._clock() - found.at > _LOAD_S:
                self._leave(found)
            return
        why = self._to_unload.get(found.name)
        if why is None:
            return
        try:
            self._server.unload(found.name)
        except DeltaregError as error:
            self._tell(found.name, f"{found.name} stays loaded although {why}: {error.message}")
            return
        log.warning("%s is unloaded: %s", found.name, why)
        self._leave(found)

    def _leave(self, found: NamedVersion) -> None:
        self._to_unload.pop(found.name, None)
        self._told.pop(found.name, None)
        if self._finder.forget(found.name) is not None:
            self._leaving.append(_Leaving(found.hold, self._clock() + _DRAIN_S))

    def _make_room(self, found: Collection[NamedVersion]) -> None:
        """Unload the versions found first, if those loaded take more than may lie here.

        An engine does not report which versions its clients use most. One that is asked for again
        is loaded again.
        """
        sizes = self._finder.folders.sizes()
        total = sum(sizes.get(name, 0) for name in {one.hold.folder.name for one in found})
        for one in sorted(found, key=lambda one: one.at):
            if total <= self._max_bytes or self._clock() - one.at <= _LOAD_S:
                return
            if one.name not in self._to_unload:
                self._to_unload[one.name] = "there is no room for all that is loaded"
            total -= sizes.get(one.hold.folder.name, 0)

    def _list_loaded(self) -> AdapterListing | None:
        """List what the engine has; None if it does not answer, or another program does."""
        try:
            listing = self._server.models()
        except DeltaregError as error:
            self._tell("engine", f"{error.message}, so nothing can be unloaded; {_ADDRESS}")
            return None
        expected_base = self._finder.said_base
        if listing.base != expected_base:
            actual_base = listing.base or "something else"
            self._tell(
                "engine",
                f"vLLM at {self._server.url} serves {actual_base}, and the one here {expected_base}, so nothing can"
                f" be unloaded; {_ADDRESS}",
            )
            return None
        self._told.pop("engine", None)
        return listing

    def _list_found(self) -> list[NamedVersion]:
        return list(self._finder.found.values())

    def _tell(self, about: str, text: str) -> None:
        """Warn once about something, until it is over."""
        if self._told.get(about) != text:
            log.warning("%s", text)
        self._told[about] = text


_ADDRESS = "DELTAREG_VLLM_URL names the address at which vLLM listens, from here"
