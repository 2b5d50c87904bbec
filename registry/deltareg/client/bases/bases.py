"""Finding a base: what the server knows of it, and where its bytes are on this machine.

The bytes are looked for in the folders that were pushed or registered from here, at the place that
the registration names, in the Hugging Face cache, and in our own cache. A folder counts only when
its fingerprint is the one wanted; its name never matters.
"""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from pydantic import TypeAdapter, ValidationError

from deltareg.client.asking.resolving import base_path
from deltareg.client.bases.hub import hub_snapshots
from deltareg.client.cache.cache import Cache
from deltareg.client.folders.base_folder import BaseFolder, open_base
from deltareg.client.http.api import Api
from deltareg.client.progress import SILENT, Progress
from deltareg.delta.base_manifest import base_view
from deltareg.delta.kind import BaseView, Tensors
from deltareg.delta.quantised.fit import packed_problems
from deltareg.digest import Digest
from deltareg.errors import BaseMismatch, DeltaregError, IntegrityFailure, InvalidInput
from deltareg.identity.manifest import Manifest
from deltareg.wire import BaseInfo, Page

_PLACES = "places"
_PLACES_FORM = TypeAdapter(dict[str, list[str]])


@dataclass(frozen=True, slots=True)
class KnownBase:
    """A base that the server knows, with its bytes when they are at hand.

    Attributes:
        name: Its name on the server.
        view: What a kind may see of it.
        tensors: Its tensors; None when its bytes are not on this machine.
        folder: The open folder that they are in; whoever asked closes it.
        trained_on: The variant of it that was meant, if it was one.
    """

    name: str
    view: BaseView
    tensors: Tensors | None = None
    folder: BaseFolder | None = None
    trained_on: str = ""

    def close(self) -> None:
        """Close the folder, if there is one."""
        if self.folder is not None:
            self.folder.folder.close()


def resolve_base(api: Api, cache: Cache, text: str, *, progress: Progress = SILENT) -> KnownBase:
    """Find the base that `--base` means: a folder, or a name on the server.

    Raises:
        NotFound: There is no such base.
        BaseMismatch: The folder is a base that the server does not know.
    """
    if Path(text).exists():
        return _from_folder(api, cache, Path(text), progress)
    if "/" in text or ":" in text:
        raise InvalidInput(
            f"not a base: {text[:120]!r} is neither a folder nor a base's name",
            fix="deltareg base ls",
        )
    return _known(api, cache, api.get(base_path(text), BaseInfo), progress)


def base_manifest(api: Api, cache: Cache, info: BaseInfo) -> Manifest:
    """Give the manifest of a base, from the cache when it is there.

    Raises:
        IntegrityFailure: The server gave another one.
    """
    digest = Digest.parse(info.manifest_digest)
    raw = cache.manifest(digest)
    if raw is None:
        raw = api.send("GET", f"{base_path(info.name)}/manifest").content
        if Manifest.digest_of(raw) != digest:
            raise IntegrityFailure(f"the manifest of {info.name} is not what its digest says")
        cache.keep_manifest(digest, raw)
    return Manifest.decode(raw)


def find_base(
    cache: Cache, root: Digest, *, location: str | None = None, progress: Progress = SILENT
) -> BaseFolder | None:
    """Find a folder on this machine that holds a base, by its fingerprint."""
    for place in _places(cache, root, location):
        if not place.is_dir():
            continue
        try:
            folder = open_base(place, cache, progress=progress)
        except DeltaregError:  # not a base at all (any more): look on
            continue
        if folder.identity.root == root:
            remember_base(cache, root, place)
            return folder
        folder.folder.close()
    return None


def need_base(
    cache: Cache, root: Digest, name: str, given: Path, *, progress: Progress = SILENT
) -> BaseFolder:
    """Open the folder that the user names and refuse any other base.

    Raises:
        BaseMismatch: It is another base.
        InvalidInput: Its weights are packed.
    """
    folder = open_base(given, cache, progress=progress)
    if folder.identity.root != root:
        found, packed = folder.identity.root, packed_problems(folder.view, given.name)
        folder.folder.close()
        if packed:
            raise InvalidInput(
                f"{packed[0].message}, which nothing can be added to",
                fix=f"fold into {name}: leave --base out, or name the folder that holds it",
            )
        raise BaseMismatch(
            f"{given} is another base: its root is {found}, {name} has {root}",
            fix=f"name the folder that holds {name}, or leave --base out",
        )
    remember_base(cache, root, given)
    return folder


def remember_base(cache: Cache, root: Digest, path: Path) -> None:
    """Note where a base lies, so that later commands find it."""
    places = _remembered(cache)
    here = str(path.absolute())
    others = [place for place in places.get(str(root), []) if place != here]
    places[str(root)] = [here, *others][:8]
    cache.keep_note(_PLACES, json.dumps(places).encode())


def _known(api: Api, cache: Cache, info: BaseInfo, progress: Progress) -> KnownBase:
    """Give a registered base with its bytes; of a variant its root, which deltas are held against.

    So what is trained on packed weights is accounted for by names and shapes of whole ones.
    """
    trained_on = "" if info.variant_of is None else info.name
    if info.variant_of is not None:
        info = api.get(base_path(info.variant_of.name), BaseInfo)
    view = base_view(base_manifest(api, cache, info))
    folder = find_base(cache, view.root, location=info.location, progress=progress)
    tensors = None if folder is None else folder.tensors
    return KnownBase(info.name, view, tensors, folder, trained_on)


def _from_folder(api: Api, cache: Cache, path: Path, progress: Progress) -> KnownBase:
    folder = open_base(path, cache, progress=progress)
    page = api.get("/bases", Page[BaseInfo], root=str(folder.identity.root), limit=1)
    if not page.items:
        folder.folder.close()
        raise BaseMismatch(
            f"the server knows no base with the root of {path} ({folder.identity.root})",
            fix=f"store it first: deltareg base push {path} NAME (or base register)",
        )
    remember_base(cache, folder.identity.root, path)
    info = page.items[0]
    if info.variant_of is not None:
        folder.folder.close()
        return _known(api, cache, info, progress)
    view = base_view(base_manifest(api, cache, info))
    return KnownBase(info.name, view, folder.tensors, folder)


def _places(cache: Cache, root: Digest, location: str | None) -> Iterator[Path]:
    kept = cache.find_folder("bases", root)
    if kept is not None:
        yield kept
    for place in _remembered(cache).get(str(root), []):
        yield Path(place)
    if location:
        yield Path(location)
    yield from hub_snapshots()


def _remembered(cache: Cache) -> dict[str, list[str]]:
    try:
        return _PLACES_FORM.validate_json(cache.note(_PLACES) or b"{}")
    except ValidationError:  # damaged: the folders are found again when they are named
        return {}
