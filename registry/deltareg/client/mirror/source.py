"""Where a mirror's versions come from: a registry over HTTP. A bundle answers the same questions from a folder."""

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol, TypeVar

from deltareg.client.asking.resolving import base_path, version_path
from deltareg.client.context import Context
from deltareg.client.paging import walk
from deltareg.client.trust.kept_signature import fetch_signed, list_signed
from deltareg.client.trust.verified import envelope_of
from deltareg.errors import IntegrityFailure, NotFound
from deltareg.refs import LineRef, Ref, parse_name
from deltareg.signing.keys import PublicKey
from deltareg.wire import Answer, BaseInfo, KeyInfo, LineInfo, Page, ReferrerAdd, VerdictInfo, VersionInfo, request_of

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

    def base(self, name: str) -> BaseInfo:
        """Show a base."""
        ...

    def base_documents(self, base: BaseInfo) -> MirrorDocuments:
        """Return the documents of a base."""
        ...

    def pack(self, digest: str, *, of: str) -> bytes:
        """Return a pack, its digest checked; `of` is what needs it: `ns/name:v3` or `base:NAME`."""
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

    def base(self, name: str) -> BaseInfo:
        """Show a base."""
        return self._context.api.get(base_path(name), BaseInfo)

    def base_documents(self, base: BaseInfo) -> MirrorDocuments:
        """Return the documents of a base."""
        path = base_path(base.name)
        return MirrorDocuments(self._get(f"{path}/manifest"), self._get(f"{path}/storage") if base.is_stored else b"")

    def pack(self, digest: str, *, of: str) -> bytes:
        """Return a pack, its digest checked."""

        def once() -> bytes:
            with self._context.api.download(f"/blobs/{digest}", query={"of": of}) as answer:
                return b"".join(answer.iter_bytes())

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
