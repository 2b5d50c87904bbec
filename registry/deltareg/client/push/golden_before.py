"""Golden outputs that a line has already of the very files that are pushed.

Two machines that record the outputs of one delta differ in the last digits, and a machine without
the base records none: the same delta would be three versions. So what is kept comes first.
"""

from collections.abc import Iterable
from dataclasses import dataclass, replace

from deltareg.client.asking.lines import line_path
from deltareg.client.asking.resolving import fetch_manifest
from deltareg.client.context import Context
from deltareg.client.packs.pack_reader import PackReader
from deltareg.client.progress import SILENT
from deltareg.client.pull.fetching import fetch_storage
from deltareg.codec import OrderedPool
from deltareg.codec.rebuild import PieceRebuilder
from deltareg.errors import Blocked, Corrupt, IntegrityFailure, NotFound, Refused
from deltareg.identity.manifest import Manifest, ManifestFile
from deltareg.identity.needed_chunks import needed_chunks
from deltareg.refs import LineRef
from deltareg.suites.golden import GoldenOrigin
from deltareg.suites.golden_file import GOLDEN_FILE, MOST_BYTES, decode
from deltareg.wire import Page, VersionInfo

_LOOKED_AT = 50


@dataclass(frozen=True, slots=True)
class EarlierGolden:
    """Golden outputs of a version, as they are kept.

    Attributes:
        ref: The version.
        raw: The file.
        origin: Where they come from.
    """

    ref: str
    raw: bytes
    origin: GoldenOrigin


def find_golden(context: Context, line: LineRef, files: Iterable[ManifestFile]) -> EarlierGolden | None:
    """Find a version of the line that has these files and golden outputs, and give those.

    Args:
        context: The client's surroundings.
        line: The line that is pushed to.
        files: What is pushed; it has no golden outputs.
    """
    own = {file.path: file for file in files}
    total = sum(file.size_bytes for file in own.values())
    try:
        path = f"{line_path(line)}/versions"
        page = context.api.get(path, Page[VersionInfo], limit=_LOOKED_AT)
    except NotFound:  # the line begins with this push
        return None
    for version in page.items:
        if not total < version.logical_bytes <= total + MOST_BYTES:
            continue
        try:
            found = _golden_of(context, version, own)
        except (Blocked, Corrupt, IntegrityFailure, NotFound, Refused):  # deleted, or damaged
            continue
        if found is not None:
            return found
    return None


def _golden_of(context: Context, version: VersionInfo, own: dict[str, ManifestFile]) -> EarlierGolden | None:
    manifest = fetch_manifest(context, version)
    others = {file.path: file for file in manifest.files}
    golden = others.pop(GOLDEN_FILE, None)
    if golden is None or others != own:
        return None
    raw = _bytes_of(context, version, manifest, golden)
    return EarlierGolden(version.ref, raw, decode(raw).origin)


def _bytes_of(context: Context, version: VersionInfo, manifest: Manifest, file: ManifestFile) -> bytes:
    """Fetch one file; that is no tensor, so no base is needed for it."""
    storage = fetch_storage(context, version)
    alone = replace(manifest, files=(file,), tensors=())
    packs = PackReader(
        context,
        storage,
        needed_chunks(alone, storage),
        of=version.ref,
        concurrency=1,
        moved=SILENT.task("golden outputs", None).count_moved,
    )
    with packs, OrderedPool(1) as pool:
        return b"".join(PieceRebuilder(storage, packs.read, {}, pool)([file.part]))
