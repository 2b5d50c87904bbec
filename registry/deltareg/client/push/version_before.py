"""The version before the one that is pushed: its tensors may be better references than the base's.

They are used where they are at hand without a download, and where the map of that version says that
they are stored with few enough references below them.
"""

from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass

from deltareg.client.asking.resolving import fetch_manifest
from deltareg.client.context import Context
from deltareg.client.folders.folder import Folder
from deltareg.client.folders.known_folders import find_version_folder, is_remembered
from deltareg.client.packs.at_hand import open_files
from deltareg.client.packs.stored_pieces import ReusablePieces
from deltareg.client.packs.transfer import reader
from deltareg.client.pull.fetching import fetch_storage
from deltareg.client.push.line_before import LineBefore
from deltareg.codec import Reference
from deltareg.digest import Digest
from deltareg.errors import Blocked, Conflict, Corrupt, IntegrityFailure, NotFound, Refused, UploadClosed
from deltareg.identity.manifest import Manifest, ManifestTensor
from deltareg.identity.storage_map import DEPTH_MAX, StorageMap
from deltareg.wire import VersionInfo

# An older server says nothing of proofs.
_SOUND = {True: {"proven", None}, False: {"proven", "claimed", None}}
References = dict[tuple[str, str], Reference]


@dataclass(frozen=True, slots=True)
class EarlierVersion:
    """An earlier version of a line, with its bytes.

    Attributes:
        manifest: What it is.
        storage: How it is stored.
        folder: Its files, mapped.
    """

    manifest: Manifest
    storage: StorageMap
    folder: Folder

    def references(self, manifest: Manifest, stored: ReusablePieces) -> References:
        """Give, by file and name, the tensors that those of another version may be encoded against.

        Args:
            manifest: The other version.
            stored: Takes the places of those tensors.
        """
        own = {(t.file, t.name): t for t in self.manifest.tensors}
        by_name = {t.name: t for t in self.manifest.tensors}
        packs = {pack.digest: pack for pack in self.storage.packs}
        found: References = {}
        for tensor in manifest.tensors:
            place = (tensor.file, tensor.name)
            other = own.get(place) or by_name.get(tensor.name)
            if other is None or (other.dtype, other.shape) != (tensor.dtype, tensor.shape):
                continue
            chain = self.storage.chain(other.digest)
            if chain.piece.is_unchanged or not stored.add(chain, packs):
                continue
            if other.digest != tensor.digest and chain.depth < DEPTH_MAX:
                found[place] = Reference(other.piece, reader(self._data(other)))
        return found

    def _data(self, tensor: ManifestTensor) -> memoryview:
        return self.folder.contents[tensor.file].tensor(tensor.name).data


def earlier_version(
    line: LineBefore, manifest: Manifest, digest: Digest, *, before: int | None = None
) -> VersionInfo | None:
    """Find the version that a new one of the line follows: its parent there, else the newest alike.

    Args:
        line: The line.
        manifest: The new version.
        digest: The manifest's digest.
        before: Its number, when it has one already.
    """
    own, base = str(digest), str(manifest.base)
    rows = [v for v in line.versions.items if v.digest != own and (before is None or v.version < before)]
    parents = {str(parent) for parent in manifest.parents}
    declared = [version for version in rows if version.digest in parents]
    alike = [v for v in rows if v.base.root == base and v.kind == manifest.kind]
    return next(iter(declared + alike), None)


@contextmanager
def earlier_at_hand(
    line: LineBefore, manifest: Manifest, digest: Digest, *, is_proven: bool = False
) -> Generator[EarlierVersion | None, None, None]:
    """Open the version that a new one follows, if its files are on this machine.

    Of bytes that are claimed the registry lets only their sender build on; with `is_proven` none
    are tried that it may refuse.

    Raises:
        UploadClosed: At the end of the block: a file was written to or taken away meanwhile, and
            what was encoded against it does not count.
    """
    version = earlier_version(line, manifest, digest)
    is_sound = version is not None and version.proof in _SOUND[is_proven]
    found = _open(line.context, version) if version is not None and is_sound else None
    if found is None:
        yield None
        return
    try:
        yield found
        found.folder.check_unchanged()
    except Conflict as error:
        raise UploadClosed(error.message, fix="run the same push again") from error
    finally:
        found.folder.close()


def _open(context: Context, version: VersionInfo) -> EarlierVersion | None:
    digest = Digest.parse(version.digest)
    if not is_remembered(context.cache, digest):
        return None
    try:
        manifest = fetch_manifest(context, version)
        path = find_version_folder(context.cache, digest, manifest)
        if path is None:
            return None
        storage = fetch_storage(context, version)
    except (Blocked, Corrupt, IntegrityFailure, NotFound):  # deleted meanwhile, or to be healed
        return None
    try:
        return EarlierVersion(manifest, storage, open_files(path, manifest))
    except (OSError, Refused):  # somebody has just taken it away
        return None
