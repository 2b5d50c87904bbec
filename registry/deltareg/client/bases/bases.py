"""Finding a base: what the server knows of it, and where its bytes are on this machine.

The bytes are looked for in the folders that were pushed or registered from here, in the Hugging
Face cache, and in our own cache. A folder counts only when its fingerprint is the one wanted; its
name never matters. The place that a registration names is one of the machine that it was made on,
which remembers it; anywhere else it is a path that somebody else wrote, and nothing opens it.
"""

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from pydantic import TypeAdapter, ValidationError

from deltareg.client.asking.resolving import base_path
from deltareg.client.bases.hub import hub_snapshots
from deltareg.client.bases.which import base_manifest, known_as
from deltareg.client.cache.cache import Cache
from deltareg.client.folders.base_folder import BaseFolder, as_recorded, open_base
from deltareg.client.folders.near_misses import means_folder
from deltareg.client.http.api import Api
from deltareg.client.progress import SILENT, Progress
from deltareg.delta.base_manifest import base_identity, base_view
from deltareg.delta.kind import BaseView, Tensors
from deltareg.delta.quantised.fit import packed_problems
from deltareg.digest import Digest
from deltareg.errors import BaseMismatch, DeltaregError, InvalidInput, NotFound
from deltareg.identity.manifest import Manifest
from deltareg.identity.whole_base import part_differences, tell_differences
from deltareg.wire import BaseInfo

_PLACES = "places"
_PLACES_FORM = TypeAdapter(dict[str, list[str]])


@dataclass(frozen=True, slots=True)
class KnownBase:
    """A base that the server knows, with its bytes when they are at hand.

    Attributes:
        name: Its name on the server; empty for one that no server knows.
        view: What a kind may see of it.
        tensors: Its tensors; None when its bytes are not on this machine.
        folder: The open folder that they are in; whoever asked closes it.
        trained_on: The variant of it that was meant, if it was one.
        identity: The whole of it, which tells it from others with the same tensors; empty where the
            server is of the release before and knows of none.
        info: What the server says of it; None where nobody asked it.
    """

    name: str
    view: BaseView
    tensors: Tensors | None = None
    folder: BaseFolder | None = None
    trained_on: str = ""
    identity: str = ""
    info: BaseInfo | None = None

    def close(self) -> None:
        """Close the folder, if there is one."""
        if self.folder is not None:
            self.folder.folder.close()


def resolve_base(api: Api, cache: Cache, text: str, *, progress: Progress = SILENT) -> KnownBase:
    """Find the base that `--base` means: a folder, or a name on the server.

    Raises:
        NotFound: There is no such base.
        Refused: There is none, and a folder of that name that is no base.
        BaseMismatch: The folder is a base that the server does not know.
    """
    place = Path(text)
    if means_folder(text):
        return _from_folder(api, cache, place, progress)
    try:
        info = api.get(base_path(text), BaseInfo)
    except (InvalidInput, NotFound):
        if place.exists():
            return _from_folder(api, cache, place, progress)  # which says what it lacks
        raise
    return _load_known_base(api, cache, info, progress)


def identity_of(manifest: Manifest) -> Digest:
    """Give the identity of a base by its manifest."""
    return base_identity(manifest).whole.identity


def told_identity(info: BaseInfo, manifest: Manifest) -> str:
    """Give the identity of a base for the server; empty for one that knows of none."""
    return str(identity_of(manifest)) if info.identity else ""


def find_base(
    cache: Cache, root: Digest, *, record: Manifest | None = None, progress: Progress = SILENT
) -> BaseFolder | None:
    """Find a folder on this machine that holds a base, by its fingerprint.

    Args:
        cache: Where to look, and what remembers where else.
        root: Of its tensors: enough for whoever reads nothing but these.
        record: Its manifest, for whoever takes more of it: the folder has to be that very base, and
            is given as the registry has it.
        progress: Told of what is hashed.
    """
    identity = None if record is None else identity_of(record)
    for place in _places(cache, [one for one in (identity, root) if one], root):
        if not place.is_dir():
            continue
        try:
            folder = open_base(place, cache, progress=progress)
        except DeltaregError:  # not a base at all (any more): look on
            continue
        is_it = identity in {None, folder.identity.whole.identity}
        if folder.identity.root == root and is_it:
            remember_base(cache, root, place)
            return folder if record is None else as_recorded(folder, record)
        folder.folder.close()
    return None


def need_base(cache: Cache, record: Manifest, name: str, given: Path, *, progress: Progress = SILENT) -> BaseFolder:
    """Open the folder that the user names and refuse any other base, by the manifest of that one.

    Raises:
        BaseMismatch: It is another base.
        InvalidInput: Its weights are packed.
    """
    folder = open_base(given, cache, progress=progress)
    wanted = base_identity(record)
    root = wanted.root
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
    if folder.identity.whole.identity != wanted.whole.identity:
        differs = tell_differences(part_differences(record, folder.manifest, same_tensors=True))
        folder.folder.close()
        raise BaseMismatch(
            f"{given} is not {name}: {differs}", fix=f"name the folder that holds {name}, or leave --base out"
        )
    remember_base(cache, root, given)
    return as_recorded(folder, record)


def remember_base(cache: Cache, root: Digest, path: Path) -> None:
    """Note where a base lies, so that later commands find it."""
    here = str(path.absolute())
    if remembered_places(cache).get(str(root), [])[:1] == [here]:
        return

    def add(before: bytes | None) -> bytes:
        places = _read_places(before)
        others = [place for place in places.get(str(root), []) if place != here]
        places[str(root)] = [here, *others][:8]
        return json.dumps(places).encode()

    cache.change_note(_PLACES, add)


def _load_known_base(api: Api, cache: Cache, info: BaseInfo, progress: Progress) -> KnownBase:
    """Give a registered base with its bytes; of a variant its root, which deltas are held against.

    So what is trained on packed weights is accounted for by names and shapes of whole ones.
    """
    trained_on = "" if info.variant_of is None else info.name
    if info.variant_of is not None:
        info = api.get(base_path(info.variant_of.name), BaseInfo)
    manifest = base_manifest(api, cache, info)
    view = base_view(manifest)
    folder = find_base(cache, view.root, progress=progress)
    tensors = None if folder is None else folder.tensors
    return KnownBase(info.name, view, tensors, folder, trained_on, told_identity(info, manifest), info)


def _from_folder(api: Api, cache: Cache, path: Path, progress: Progress) -> KnownBase:
    folder = open_base(path, cache, progress=progress)
    try:
        info = known_as(api, cache, folder)
    except BaseException:
        folder.folder.close()
        raise
    remember_base(cache, folder.identity.root, path)
    if info.variant_of is not None:
        folder.folder.close()
        return _load_known_base(api, cache, info, progress)
    manifest = base_manifest(api, cache, info)
    view, identity = base_view(manifest), told_identity(info, manifest)
    return KnownBase(info.name, view, folder.tensors, folder, identity=identity, info=info)


def _places(cache: Cache, kept: Iterable[Digest], root: Digest) -> Iterator[Path]:
    found = (cache.find_folder("bases", digest) for digest in kept)
    yield from (place for place in found if place is not None)
    for place in remembered_places(cache).get(str(root), []):
        yield Path(place)
    yield from hub_snapshots()


def remembered_places(cache: Cache) -> dict[str, list[str]]:
    """List, by the root of a base, the folders that were pushed or registered from here."""
    return _read_places(cache.note(_PLACES))


def _read_places(raw: bytes | None) -> dict[str, list[str]]:
    try:
        return _PLACES_FORM.validate_json(raw or b"{}")
    except ValidationError:  # damaged: the folders are found again when they are named
        return {}
