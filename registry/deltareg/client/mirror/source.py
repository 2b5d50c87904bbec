"""Where a mirror's versions come from: a registry over HTTP. A bundle answers the same questions from a folder."""

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Protocol, TypeVar

from deltareg.client.asking.resolving import base_path, version_path
from deltareg.client.context import Context
from deltareg.client.paging import walk
from deltareg.client.trust.kept_signature import fetch_signed, list_signed
from deltareg.client.trust.verified import envelope_of
from deltareg.errors import Conflict, Forbidden, IntegrityFailure, InvalidInput, NotFound
from deltareg.identity.manifest import Manifest
from deltareg.refs import LineRef, Ref, parse_name
from deltareg.signing.keys import PublicKey
from deltareg.wire import (
    Answer,
    BaseInfo,
    KeyInfo,
    LineInfo,
    Page,
    ReferrerAdd,
    VerdictInfo,
    VersionDetail,
    VersionInfo,
    request_of,
)

Item = TypeVar("Item", bound=Answer)


@dataclass(frozen=True, slots=True)
class MirrorDocuments:
    """What says what a version or a base is, and how it is stored.

    Attributes:
        manifest: Its manifest, as it is hashed.
        storage: Its storage map; empty for a base without bytes.
    """

    manifest: bytes
    storage: bytes


def check_manifest(raw: bytes, digest: str, *, of: str, where: str) -> Manifest:
    """Read the manifest that a source gave for a digest.

    Raises:
        IntegrityFailure: It is another one.
    """
    if str(Manifest.digest_of(raw)) != digest:
        raise IntegrityFailure(
            f"{where} gave another manifest than that of {of}, {digest[:19]}…", fix="ask who runs it; nothing was taken"
        )
    return Manifest.decode(raw)


def refuse_unsound(version: VersionInfo) -> None:
    """Refuse a version that no mirror brings.

    Raises:
        Conflict: Its source calls it revoked or corrupt.
    """
    if version.proof == "corrupt":
        raise Conflict("its bytes are corrupt there")
    if version.is_revoked:
        raise Conflict("it is revoked there")


def refuse_unshown(digests: Iterable[str], parents: Iterable[VersionInfo], *, where: str) -> None:
    """Refuse a version that was made from one that its source does not show.

    Raises:
        Conflict: The message names the digest, and from where it may be brought.
    """
    missing = sorted({*digests} - {parent.digest for parent in parents})
    if missing:
        raise Conflict(f"it was made from {missing[0]}, which {where} does not show; bring that version first")


class MirrorSource(Protocol):
    """What a registry gives to a mirror. Every call may raise what the client raises."""

    @property
    def where(self) -> str:
        """What people call it."""
        ...

    def lines(self) -> Sequence[str]:
        """List the lines that are mirrored."""
        ...

    def versions(self, line: str) -> Sequence[VersionInfo]:
        """List the versions of a line, oldest first; deleted ones are left out."""
        ...

    def documents(self, version: VersionInfo) -> MirrorDocuments:
        """Return the documents of a version."""
        ...

    def version(self, ref: str) -> VersionInfo:
        """Show a version, also one outside of what is mirrored.

        Raises:
            NotFound: There is none such, or it is not shown to this token.
        """
        ...

    def parents(self, version: VersionInfo, digests: Sequence[str]) -> Sequence[VersionInfo]:
        """List the versions that a version was made from, also those outside of what is mirrored.

        What the source does not have, or does not show, is left out.

        Args:
            version: The version.
            digests: What its manifest names.
        """
        ...

    def base(self, name: str) -> BaseInfo:
        """Show a base."""
        ...

    def base_documents(self, base: BaseInfo) -> MirrorDocuments:
        """Return the documents of a base."""
        ...

    def pack(self, digest: str, *, size_bytes: int, of: str) -> bytes:
        """Return a pack, its digest checked.

        Args:
            digest: Its digest.
            size_bytes: How long it is, as the storage map says.
            of: What needs it: `ns/name:v3` or `base:NAME`.
        """
        ...

    def evidence(self, version: VersionInfo) -> Sequence[ReferrerAdd]:
        """List what was signed about a version: signatures, attestations, and verdicts of its workers."""
        ...


class RegistrySource:
    """A registry as a source."""

    def __init__(self, context: Context, scope: Sequence[str] = ()) -> None:
        """Prepare; nothing is asked yet.

        Args:
            context: The surroundings of a client of that registry.
            scope: Namespaces and lines, `ns` or `ns/name`; all that the token may read if empty.
        """
        self._context, self._scope = context, scope
        self._keys: dict[str, KeyInfo] | None = None

    @property
    def where(self) -> str:
        """Its address."""
        return self._context.config.server

    def lines(self) -> Sequence[str]:
        """List the lines that are mirrored."""
        named = [text for text in self._scope if "/" in text]
        for text in named:
            LineRef.parse(text)
        spaces = [parse_name(text, "namespace") for text in self._scope if "/" not in text]
        paths = [f"/deltas/{space}" for space in spaces] or ([] if named else ["/deltas"])
        found = [info.ref for path in paths for info in self._walk(path, Page[LineInfo])]
        return sorted({*named, *found})

    def versions(self, line: str) -> Sequence[VersionInfo]:
        """List the versions of a line, oldest first."""
        return list(self._walk(f"/deltas/{line}/versions", Page[VersionInfo]))[::-1]

    def documents(self, version: VersionInfo) -> MirrorDocuments:
        """Return the documents of a version."""
        path = version_path(Ref.parse(version.ref))
        return MirrorDocuments(self._get(f"{path}/manifest"), self._get(f"{path}/storage"))

    def version(self, ref: str) -> VersionInfo:
        """Show a version."""
        return self._context.api.get(version_path(Ref.parse(ref)), VersionDetail)

    def parents(self, version: VersionInfo, digests: Sequence[str]) -> Sequence[VersionInfo]:
        """List the versions that a version was made from."""
        if not digests:
            return []
        found: list[VersionInfo] = []
        for ref in self._context.api.get(version_path(Ref.parse(version.ref)), VersionDetail).parents:
            with suppress(NotFound, Forbidden):
                found.append(self.version(ref))
        return found

    def base(self, name: str) -> BaseInfo:
        """Show a base."""
        try:
            return self._context.api.get(base_path(name), BaseInfo)
        except (InvalidInput, NotFound, Forbidden) as error:  # no name: that of a base that this token may not read
            raise NotFound(f"its base {name} is one that {self.where} does not show; bring that first") from error

    def base_documents(self, base: BaseInfo) -> MirrorDocuments:
        """Return the documents of a base."""
        path = base_path(base.name)
        return MirrorDocuments(self._get(f"{path}/manifest"), self._get(f"{path}/storage") if base.is_stored else b"")

    def pack(self, digest: str, *, size_bytes: int, of: str) -> bytes:
        """Return a pack, its digest checked."""
        api = self._context.api

        def once() -> bytes:
            with api.download(f"/blobs/{digest}", query={"of": of}) as answer:
                return b"".join(api.read(answer, most=size_bytes))

        data = self._context.api.patiently(once)
        if f"sha256:{hashlib.sha256(data).hexdigest()}" != digest:
            raise IntegrityFailure(
                f"{self.where} gave other bytes than {digest[:19]}…", fix="run deltareg fsck --read-data there"
            )
        return data

    def evidence(self, version: VersionInfo) -> Sequence[ReferrerAdd]:
        """List what was signed about a version."""
        return [*self._referrers(version), *self._verdicts(version)]

    def _referrers(self, version: VersionInfo) -> Iterator[ReferrerAdd]:
        for info in list_signed(self._context, version):
            if not info.revoked:
                kept = fetch_signed(self._context, version, info.digest)
                yield request_of(ReferrerAdd, form=info.form, body=kept.body, public=kept.public)

    def _verdicts(self, version: VersionInfo) -> Iterator[ReferrerAdd]:
        """Give the signed verdicts, as attestations of the worker that signed each."""
        for verdict in self._walk("/verdicts", Page[VerdictInfo], ref=version.ref):
            key = self._key(verdict.keyid) if verdict.keyid and not verdict.disputed else None
            if key is not None and key.state != "revoked":
                try:
                    body = envelope_of(self._context, verdict.id).decode()
                except NotFound:  # of a release that signed nothing
                    continue
                yield request_of(ReferrerAdd, form="attestation", body=body, public=PublicKey.parse(key.key).pem())

    def _key(self, keyid: str) -> KeyInfo | None:
        if self._keys is None:
            self._keys = {info.keyid: info for info in self._walk("/keys", Page[KeyInfo])}
        return self._keys.get(keyid)

    def _get(self, path: str) -> bytes:
        return self._context.api.send("GET", path).content

    def _walk(self, path: str, kind: type[Page[Item]], **query: str) -> Iterator[Item]:
        return walk(lambda cursor: self._context.api.get(path, kind, cursor=cursor, limit=100, **query))
