"""Finds the folder of the version that a name means, or why an engine may not serve it."""

import logging
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from deltareg.client.asking.resolving import resolve
from deltareg.client.context import Context
from deltareg.client.follow.by_name.holding import FolderHold, SharedFolders
from deltareg.client.follow.by_name.names import MovingName, read_name
from deltareg.client.follow.release import Release
from deltareg.client.follow.served_base import ServedBase, VersionBase
from deltareg.delta.serving import ServableDelta, servability
from deltareg.digest import Digest
from deltareg.errors import Blocked, DeltaregError, InvalidInput
from deltareg.refs import Ref
from deltareg.wire import BaseState, VersionDetail

log = logging.getLogger(__name__)
_REFUSED_S = 10.0
"""How long a refusal is good: an engine asks again at every request for a name that it has not."""
_MOST_REFUSED = 1_000
_LOOK_AGAIN_S = 1.0


@dataclass(frozen=True, slots=True)
class ByNameOptions:
    """What is known about the engine, and how much space there is.

    Attributes:
        home: The folder for versions; engines of one machine may share it.
        max_bytes: How many bytes may lie in it beside what engines have loaded.
        engine: The engine's name, as `deltareg lint` says it.
        max_rank: The rank that it was started with; None if unknown.
        base: The folder of its base, if the engine does not say.
    """

    home: Path
    max_bytes: int
    engine: str
    max_rank: int | None = None
    base: Path | None = None


@dataclass(slots=True)
class NamedVersion:
    """A version that the engine was given under a name.

    Attributes:
        name: The name.
        ref: The reference that names the version for good.
        release: The version.
        hold: The hold on its folder.
        at: When it was found, on the finder's clock.
        base: The base that it was checked against, where that was before it was asked for; else empty.
    """

    name: str
    ref: Ref
    release: Release
    hold: FolderHold
    at: float
    base: str = ""


class VersionFinder:
    """Finds versions for one engine; safe to use from several threads."""

    def __init__(
        self, context: Context, options: ByNameOptions, *, clock: Callable[[], float] = time.monotonic
    ) -> None:
        """Prepare; no request is sent yet."""
        self._context, self._options, self._clock = context, options, clock
        self.folders = SharedFolders(options.home)
        self.found: dict[str, NamedVersion] = {}
        self._refused: dict[str, float] = {}
        self._lock, self._checking = threading.Lock(), threading.Lock()
        self._changed = threading.Event()
        self._base = ServedBase(context, options.base, self._changed.set)
        self._has_told_base = False
        self.said_base = ""

    def find(self, name: str, said_base: str) -> Path | None:
        """Return the folder of the version that a name means; None if it may not be served.

        The reason is logged, once in a while.

        Args:
            name: The name that a client of the engine asks for.
            said_base: The base that the engine reports: a path or a hub id.
        """
        self.said_base = said_base
        ref = read_name(name)
        if ref is None or self.was_refused(name):
            return None
        if isinstance(ref, MovingName):
            # Under another key: a channel that cannot be served in this way is served through the middleware.
            if not self.was_refused(f"moving {name}"):
                self._refuse(name, f"{ref.why}; {ref.fix}", key=f"moving {name}")
            return None
        ahead = self._take_ahead(name, said_base)
        if ahead is not None:
            return ahead
        try:
            return self._find(name, ref, said_base)
        except (DeltaregError, OSError) as error:
            self.refuse(name, error)
        return None

    def bring_ahead(self, ref: Ref) -> None:
        """Find a version before it is asked for, unless nothing has been asked for yet.

        Raises:
            DeltaregError: It may not be served, or cannot be brought.
            OSError: The disk is full, for example.
        """
        if self.said_base:
            self._find(str(ref), ref, self.said_base)
            self.found[str(ref)].base = self.said_base

    def refuse(self, name: str, error: DeltaregError | OSError) -> None:
        """Log why a name is not served, and serve it no more for a while."""
        fix = f"; {error.fix}" if isinstance(error, DeltaregError) and error.fix else ""
        self._refuse(name, f"{error.message if isinstance(error, DeltaregError) else error}{fix}")

    def was_refused(self, name: str) -> bool:
        """Whether a name was refused a moment ago."""
        with self._lock:
            return self._refused.get(name, float("-inf")) > self._clock()

    def forget(self, name: str) -> NamedVersion | None:
        """Record that the engine no longer has a name; return the version it stood for."""
        with self._lock:
            return self.found.pop(name, None)

    def check_is_live(self, version: VersionDetail) -> None:
        """Check that a version was not revoked or deleted.

        Raises:
            Blocked: It was.
        """
        if version.is_deleted:
            raise Blocked(f"{version.ref} is deleted", fix=f"deltareg restore {version.ref}")
        if version.revocation is not None:
            revocation = version.revocation
            raise Blocked(
                f"{version.ref} was revoked by {revocation.actor}: {revocation.reason}", fix="ask for another"
            )
        if version.is_revoked:
            raise Blocked(f"{version.ref} is revoked", fix="ask for another")
        if version.proof == "corrupt":
            raise Blocked(f"what is stored of {version.ref} is corrupt", fix="deltareg push its files again")

    def _find(self, name: str, ref: Ref, said_base: str) -> Path:
        version = resolve(self._context, ref, bare="newest")
        self.check_is_live(version)
        self._check_servable(version)
        release = Release(ref.line, version.version, Digest.parse(version.digest))
        state = self._check_base(release, version, said_base)
        hold, fetched_bytes = self.folders.hold(self._context, release)
        with self._lock:
            before = self.found.get(name)
            self.found[name] = NamedVersion(name, ref, release, hold, self._clock())
        if before is not None:
            before.hold.let_go()
        log.info("%s is %s in %s: base %s, %d bytes fetched", name, release.ref, hold.folder, state, fetched_bytes)
        return hold.folder

    def _take_ahead(self, name: str, said_base: str) -> Path | None:
        """Return what was brought before it was asked for; the registry is not asked again."""
        with self._lock:
            found = self.found.get(name)
            if found is None or not found.base or found.base != said_base:
                return None
            found.base, found.at = "", self._clock()
        return found.hold.folder

    def _check_servable(self, version: VersionDetail) -> None:
        delta = ServableDelta(version.kind, version.variant, version.config, version.files)
        of_engine = [one for one in servability(delta) if one.engine == self._options.engine]
        for one in of_engine:
            if not one.is_servable:
                raise InvalidInput(
                    f"{one.engine} cannot serve it: {'; '.join(one.obstacles)}",
                    fix=f"serve the merged model: deltareg materialize {version.ref}",
                )
            if self._options.max_rank is not None and one.rank > self._options.max_rank:
                raise InvalidInput(
                    f"it has rank {one.rank}, and {one.engine} was started for {self._options.max_rank}",
                    fix=f"start it with {one.needs or f'--max-lora-rank {one.rank}'}",
                )

    def _check_base(self, release: Release, version: VersionDetail, said: str) -> BaseState:
        """Compare the engine's base with the version's; the first time it has to be hashed."""
        base = version.base
        expected = VersionBase(name=base.name, root=base.root, identity=base.identity)
        with self._checking:
            self._base.look(said, 0)
            while True:
                self._changed.clear()
                state = self._base.check(release, expected)
                if state is not None:
                    break
                self._changed.wait(_LOOK_AGAIN_S)
            if state == "unchecked" and not self._has_told_base:
                self._has_told_base = True
                log.warning(
                    "the base %s is not a folder here that can be looked at: nothing tells whether"
                    " versions are for it; DELTAREG_VLLM_BASE names the folder that holds it",
                    said,
                )
        return state

    def _refuse(self, name: str, why: str, *, key: str = "") -> None:
        with self._lock:
            self._refused[key or name] = self._clock() + _REFUSED_S
            while len(self._refused) > _MOST_REFUSED:
                self._refused.pop(next(iter(self._refused)))
        log.warning("%s is not served: %s", name, why)
