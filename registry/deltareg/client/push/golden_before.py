"""What a line has already of the very files that are pushed, with golden outputs or without.

Two machines that record the outputs of one delta differ in the last digits, and a machine without
the base records none: the same delta would be three versions. So what is kept comes first. A version on
another base does not count, and neither does one that failed by outputs that name no base: these may be
another base's, as earlier releases recorded them.
"""

from collections.abc import Iterable
from dataclasses import dataclass, replace

from deltareg.client.asking.resolving import fetch_manifest, resolve
from deltareg.client.bases.bases import KnownBase
from deltareg.client.context import Context
from deltareg.client.packs.pack_reader import PackReader
from deltareg.client.progress import SILENT
from deltareg.client.pull.fetching import fetch_storage
from deltareg.client.push.line_before import LineBefore
from deltareg.codec import OrderedPool
from deltareg.codec.rebuild import PieceRebuilder
from deltareg.errors import Blocked, Corrupt, IntegrityFailure, NotFound, Refused
from deltareg.identity.manifest import Manifest, ManifestFile
from deltareg.identity.needed_chunks import needed_chunks
from deltareg.refs import Ref
from deltareg.suites.golden import GoldenOrigin
from deltareg.suites.golden_file import GOLDEN_FILE, MOST_BYTES, decode
from deltareg.wire import VersionInfo

_UNREADABLE = (Blocked, Corrupt, IntegrityFailure, NotFound, Refused)
"""What is raised of a version that is deleted, or damaged."""


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


def find_same(context: Context, before: LineBefore, manifest: Manifest, base: KnownBase) -> VersionInfo | None:
    """Return the version of the line that a push would be, on that base; None where it would be a new one.

    Args:
        context: The client's surroundings.
        before: The line that is pushed to.
        manifest: What is pushed.
        base: The base that it is pushed onto.
    """
    own = str(manifest.digest)
    found: VersionInfo | None = next((version for version in before.versions.items if version.digest == own), None)
    if found is None and before.versions.next_cursor:
        try:
            found = resolve(context, Ref.parse(f"{before.line}@{own}"), bare="newest")
        except _UNREADABLE:
            return None
    return found if found is not None and _is_on(found, base) and not found.is_deleted else None


def find_golden(
    context: Context, before: LineBefore, files: Iterable[ManifestFile], base: KnownBase
) -> EarlierGolden | None:
    """Find a version of the line that has these files and golden outputs, and give those.

    Args:
        context: The client's surroundings.
        before: The line that is pushed to.
        files: What is pushed; it has no golden outputs.
        base: The base that it is pushed onto.
    """
    own = {file.path: file for file in files}
    total = sum(file.size_bytes for file in own.values())
    for version in before.versions.items:
        if not total < version.logical_bytes <= total + MOST_BYTES or not _is_on(version, base):
            continue
        try:
            found = _golden_of(context, version, own)
        except _UNREADABLE:
            continue
        if found is not None and counts_for(found.origin, base, verdict=version.verdict):
            return found
    return None


def counts_for(origin: GoldenOrigin, base: KnownBase, *, verdict: str | None) -> bool:
    """Whether golden outputs that a version carries count for its base.

    Args:
        origin: Where they come from.
        base: The base of the version.
        verdict: The version's.
    """
    if origin.base:
        return origin.base == str(base.view.root)
    return origin.how != "by_library" or verdict != "fail"


def _is_on(version: VersionInfo, base: KnownBase) -> bool:
    is_equal = bool(base.identity) and version.base.identity == base.identity
    return version.base.name == base.name or is_equal


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
