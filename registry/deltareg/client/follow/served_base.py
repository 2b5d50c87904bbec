"""Checks whether the base that an engine serves is the one that a version is for.

An adapter loads on any base with the same shapes and answers nonsense there, and no engine says so.
The folder that the engine reports is fingerprinted if it is on this machine, else the one that the
user named. If there is neither, the base is *unchecked*, and shown as such.

Reading a base takes as long as hashing its weights, once. It happens in a thread; meanwhile nothing
is loaded, and loaded versions stay.
"""

import logging
import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from pydantic import BaseModel, ValidationError

from deltareg.client.asking.resolving import base_path, resolve
from deltareg.client.bases.which import base_manifest
from deltareg.client.context import Context
from deltareg.client.folders.base_folder import open_base
from deltareg.client.follow.release import Release
from deltareg.delta.quantised.scheme import read_quantisation
from deltareg.errors import BaseMismatch, DeltaregError, InvalidInput, Unavailable
from deltareg.identity.manifest import Manifest
from deltareg.identity.whole_base import part_differences, tell_differences
from deltareg.refs import Ref
from deltareg.wire import BaseInfo, BaseState, Page

log = logging.getLogger(__name__)
_MOST = 50


class VersionBase(BaseModel, frozen=True):
    """The base that a version is for.

    Attributes:
        name: Its name on the server; empty if the server was away when it was first asked.
        root: The digest over its tensors.
        identity: The digest over all its parts; empty if only the tensors are known.
    """

    name: str = ""
    root: str
    identity: str = ""


@dataclass(frozen=True, slots=True)
class _Asked:
    """What an answer depends on: an engine that restarted may have another base in the same place.

    Attributes:
        starts: How often the engine has started.
        said: The base that it reports.
        place: The folder that is read.
    """

    starts: int
    said: str
    place: Path | None


class ServedBase:
    """Knows the base of one engine, and compares versions with it."""

    def __init__(self, context: Context, given: Path | None, on_change: Callable[[], None]) -> None:
        """Prepare; nothing is read yet.

        Args:
            context: The client's surroundings.
            given: The folder of the engine's base, as named by the user.
            on_change: Called when an answer has been found.
        """
        self._context, self._given, self._on_change = context, given, on_change
        self._asked = _Asked(0, "", None)
        self._first_said: str | None = None
        # What is found out of an engine that has started anew since lands in a former dict.
        self._answers: dict[VersionBase, BaseState | DeltaregError | None] = {}
        self._reading = threading.Lock()

    def look(self, said: str, starts: int) -> None:
        """Record what an engine reports now; answers about another base no longer count."""
        place = Path(said) if said and Path(said).is_absolute() else None
        if place is None or not place.is_dir():
            place = self._given
        question = _Asked(starts, said, place)
        if self._first_said is None:
            self._first_said = said
        if question != self._asked:
            self._asked, self._answers = question, {}

    def check(self, release: Release, wanted: VersionBase) -> BaseState | None:
        """Return whether a version is for the engine's base; None while that is being found out.

        Raises:
            BaseMismatch: The version is for another base.
            DeltaregError: It could not be found out; the next call tries again.
        """
        answer = self._look_up(release, wanted)
        if isinstance(answer, BaseMismatch):
            raise answer
        if isinstance(answer, DeltaregError):
            del self._answers[wanted]
            raise answer
        return answer

    def is_wrong(self, release: Release, wanted: VersionBase) -> bool:
        """Whether a version is known to be for another base."""
        return isinstance(self._look_up(release, wanted), BaseMismatch)

    def is_right(self, release: Release, wanted: VersionBase) -> bool | None:
        """Whether nothing speaks against a version; None while that is being found out."""
        answer = self._look_up(release, wanted)
        return None if answer is None else not isinstance(answer, DeltaregError)

    def _look_up(self, release: Release, wanted: VersionBase) -> BaseState | DeltaregError | None:
        """Return what is known, and begin to find out what is not."""
        if self._asked.place is None:
            return "unchecked"
        answers, question = self._answers, self._asked
        if wanted not in answers:
            answers[wanted] = None

            def find() -> None:
                answers[wanted] = self._find(question, release, wanted)
                self._on_change()

            threading.Thread(target=find, name="base", daemon=True).start()
        return answers[wanted]

    def _find(self, asked: _Asked, release: Release, wanted: VersionBase) -> BaseState | DeltaregError:
        try:
            return self._compare(asked, release, wanted)
        except DeltaregError as error:
            return error
        except OSError as error:
            return Unavailable(f"{asked.place} cannot be read: {error}")

    def _compare(self, asked: _Asked, release: Release, wanted: VersionBase) -> BaseState:
        place = asked.place
        if place is None:
            return "unchecked"
        if place == self._given and asked.said != self._first_said:
            raise BaseMismatch(
                f"the engine serves {asked.said} now, and served {self._first_said} when it was said to be {place}",
                fix="start the agent again, with the --base that is served now",
            )
        with self._reading:
            try:
                folder = open_base(place, self._context.cache, progress=self._context.progress)
            except DeltaregError as error:
                if place == self._given:
                    raise InvalidInput(
                        f"{place} is no base: {error.message}", fix="name another folder: --base"
                    ) from error
                log.warning("base=%s cannot be checked: %s", place, error.message)
                return "unchecked"
            with folder:
                manifest, whole = folder.manifest, folder.identity.whole
                root, is_packed = (str(folder.identity.root), read_quantisation(folder.view.config) is not None)
        is_it = str(whole.identity) == wanted.identity if wanted.identity else root == wanted.root
        if is_it or (is_packed and self._is_variant(root, str(whole.identity), wanted)):
            return "checked"
        raise self._mismatch(asked, release, wanted, manifest, same_tensors=root == wanted.root)

    def _is_variant(self, root: str, identity: str, wanted: VersionBase) -> bool:
        """Whether it is a registered packed form of the base; a positive answer is remembered."""
        note = f"form-{identity.rpartition(':')[2]}-of-{wanted.root.rpartition(':')[2]}"
        if root == wanted.root or not wanted.name:
            return False
        if self._context.cache.note(note) is not None:
            return True
        bases = self._context.api.get("/bases", Page[BaseInfo], root=root, limit=_MOST).items
        is_one = any(
            info.variant_of is not None and info.variant_of.name == wanted.name and info.identity in {"", identity}
            for info in bases
        )
        if is_one:
            self._context.cache.keep_note(note, b"")
        return is_one

    def _mismatch(
        self, asked: _Asked, release: Release, wanted: VersionBase, manifest: Manifest, *, same_tensors: bool
    ) -> BaseMismatch:
        name = wanted.name or f"the base with root {wanted.root[:20]}…"
        return BaseMismatch(
            f"the engine serves {asked.place}, which is not {name}, the base of {release.ref}:"
            f" {self._differences(wanted, manifest, same_tensors=same_tensors)}",
            fix=f"start it with the folder that holds {name},"
            " or follow a channel whose versions are for what it serves",
        )

    def _differences(self, wanted: VersionBase, manifest: Manifest, *, same_tensors: bool) -> str:
        if not same_tensors:
            return "its tensors differ"
        try:
            info = self._context.api.get(base_path(wanted.name), BaseInfo)
            record = base_manifest(self._context.api, self._context.cache, info)
        except DeltaregError:  # that it differs is known without the server; in what, is not
            return "the same tensors; other parts differ"
        return tell_differences(part_differences(record, manifest, same_tensors=True))


def base_of(context: Context, release: Release) -> VersionBase:
    """Return the base that a version is for; the server is asked only once.

    While the server is away, the cached manifest tells at least the tensors.
    """
    note = f"base-of-{release.digest.hex}-{release.line.namespace}-{release.line.name}"
    raw = context.cache.note(note)
    try:
        if raw is not None:
            return VersionBase.model_validate_json(raw)
    except ValidationError:  # damaged: it is asked for again
        pass
    try:
        resolved = resolve(context, Ref.parse(release.ref), bare="newest").base
    except Unavailable:
        raw_manifest = context.cache.manifest(release.digest)
        root = None if raw_manifest is None else Manifest.decode(raw_manifest).base
        if root is None:
            raise
        return VersionBase(root=str(root))
    base = VersionBase(name=resolved.name, root=resolved.root, identity=resolved.identity)
    context.cache.keep_note(note, base.model_dump_json().encode())
    return base
