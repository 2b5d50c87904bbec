"""Several versions with what a pull of them takes, where that is little: one question instead of four a version."""

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass

import sqlalchemy as sa

from deltareg.db.lines import versions as queries
from deltareg.db.session import read
from deltareg.db.storage import blobs as pack_queries
from deltareg.db.storage.shares import PackHolder
from deltareg.digest import Digest
from deltareg.errors import BlobMissing, Corrupt, IntegrityFailure, InvalidInput, Unavailable
from deltareg.identity.manifest import Manifest
from deltareg.identity.needed_chunks import needed_chunks
from deltareg.identity.pack_spans import ByteSpan, coalesce, is_nearly_whole, span_of
from deltareg.identity.storage_map import StorageMap
from deltareg.refs import Ref
from deltareg.service.corrupt import refuse_corrupt
from deltareg.service.describe import describe_detail
from deltareg.service.lines.pulls import note_pull
from deltareg.service.lines.veil import veiled_detail
from deltareg.service.registry import Caller, Registry
from deltareg.service.resolve import Bare, resolve_version
from deltareg.wire import VersionDetail
from deltareg.wire.bundles import BUNDLED_MOST, BundleHead, BundlePart, write_bundle

DOCUMENTS_BYTES = 512 << 10
"""The most that a manifest and a storage map take to come along; of 1,000 tensors they are larger."""
PACKS_BYTES = 1 << 20
"""The most that the packs of all versions of a bundle take: what is larger comes by ranges, from the store itself."""


@dataclass(frozen=True, slots=True)
class _Stretch:
    """Bytes of a pack: where they lie in the store, and from where to where in the pack."""

    digest: Digest
    key: str
    span: ByteSpan
    is_whole: bool


@dataclass(slots=True)
class _Bundled:
    """A version of the bundle: what is told of it, and what comes along."""

    id: int
    detail: VersionDetail
    documents: tuple[bytes, ...] = ()
    stretches: tuple["_Stretch", ...] = ()


def bundle_versions(
    registry: Registry, caller: Caller, refs: Sequence[Ref], *, bare: Bare, have: Collection[str]
) -> bytes:
    """Return versions with their manifests, storage maps and packs, as far as these are small.

    Whatever a pull would be refused, such as the bytes of a version that is corrupt or deleted, is
    left out here; asked for by itself, it says why.

    Args:
        registry: The registry.
        caller: Who asks; it must be allowed to read each line.
        refs: What is asked for.
        bare: What `ns/name` alone means.
        have: Digests of versions whose files the caller has; of these nothing comes along.

    Raises:
        NotFound: A reference leads nowhere.
        InvalidInput: There are too many.
    """
    if len(refs) > BUNDLED_MOST:
        raise InvalidInput(f"{len(refs)} versions are more than one bundle holds", fix=f"ask for {BUNDLED_MOST}")
    left_bytes = PACKS_BYTES
    bundled: list[_Bundled] = []
    along: set[_Stretch] = set()
    with read(registry.engine) as conn:
        for ref in refs:
            one = _bundle(conn, caller, ref, bare=bare, have=have)
            one.stretches = tuple(stretch for stretch in one.stretches if stretch not in along)
            size_bytes = sum(stretch.span.size_bytes for stretch in one.stretches)
            if size_bytes > left_bytes:
                one.stretches = ()
            else:
                left_bytes -= size_bytes
                along.update(one.stretches)
            bundled.append(one)
    parts: list[BundlePart] = []
    contents: list[bytes] = []
    for number, one in enumerate(bundled):
        for part, content in _contents(registry, one, number):
            parts.append(part)
            contents.append(content)
        if any(part.version == number and part.kind == "pack" for part in parts):
            note_pull(registry, caller, one.id)
    return write_bundle(BundleHead(versions=[one.detail for one in bundled], parts=parts), contents)


def _bundle(conn: sa.Connection, caller: Caller, ref: Ref, *, bare: Bare, have: Collection[str]) -> _Bundled:
    rows = resolve_version(conn, caller, ref, bare=bare)
    one = _Bundled(rows[0].id, veiled_detail(caller, describe_detail(conn, rows)))
    if one.detail.is_deleted or one.detail.digest in have:
        return one
    try:
        refuse_corrupt(conn, caller, PackHolder(one.id), one.detail.ref)
    except Corrupt:
        return one
    stored = queries.content(conn, one.id)
    if len(stored.manifest) + len(stored.storage_map) > DOCUMENTS_BYTES:
        return one
    one.documents = stored.manifest, stored.storage_map
    wanted = _wanted_spans(stored.manifest, stored.storage_map)
    if sum(span.size_bytes for spans in wanted.values() for span in spans) <= PACKS_BYTES:
        one.stretches = tuple(_stretches(conn, one.id, wanted))
    return one


def _wanted_spans(manifest: bytes, storage_map: bytes) -> dict[Digest, list[ByteSpan]]:
    """Return the spans of packs that a pull fetches, as it would ask for them itself."""
    storage = StorageMap.decode(storage_map)
    spans: dict[Digest, set[ByteSpan]] = {}
    for chunk in needed_chunks(Manifest.decode(manifest), storage):
        spans.setdefault(chunk.pack, set()).add(span_of(chunk))
    sizes = {pack.digest: pack.size_bytes for pack in storage.packs}
    wanted: dict[Digest, list[ByteSpan]] = {}
    for digest, some in spans.items():
        stretches = list(coalesce(some))
        is_whole = is_nearly_whole(sum(stretch.size_bytes for stretch in stretches), sizes[digest])
        wanted[digest] = [ByteSpan(0, sizes[digest])] if is_whole else stretches
    return wanted


def _stretches(conn: sa.Connection, version_id: int, wanted: Mapping[Digest, Sequence[ByteSpan]]) -> Iterator[_Stretch]:
    for digest, spans in wanted.items():
        pack = pack_queries.pack_of_version(conn, version_id, str(digest))
        if pack is not None:
            key, size = pack
            yield from (_Stretch(digest, key, span, span == ByteSpan(0, size)) for span in spans)


def _contents(registry: Registry, one: _Bundled, number: int) -> Iterator[tuple[BundlePart, bytes]]:
    """Yield the parts of a version with their bytes; what the store cannot give now is left out."""
    if one.documents:
        manifest, storage_map = one.documents
        yield BundlePart(kind="manifest", version=number, size_bytes=len(manifest)), manifest
        yield BundlePart(kind="storage", version=number, size_bytes=len(storage_map)), storage_map
    for stretch in one.stretches:
        span = stretch.span
        try:
            content = b"".join(registry.readable.read(stretch.key, span.begin, span.end))
        except (BlobMissing, IntegrityFailure, Unavailable):
            continue
        begin = None if stretch.is_whole else span.begin
        yield (
            BundlePart(
                kind="pack", version=number, digest=str(stretch.digest), begin=begin, size_bytes=span.size_bytes
            ),
            content,
        )
