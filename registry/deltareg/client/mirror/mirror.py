"""Bringing one registry in step with another: what is missing, by digest, with what was signed about it.

Packs, storage maps and manifests travel as they are, so a version is the same one on both sides; its
target reads and proves it as it does any push. Nothing is kept on the way: run again, it goes on with what is
missing. Channels stay each registry's own, so its policy judges what came.
"""

import hashlib
import uuid
from collections.abc import Collection, Iterator
from dataclasses import dataclass, field
from typing import TypeVar

from deltareg.client.asking.resolving import version_path
from deltareg.client.context import Context
from deltareg.client.mirror.source import MirrorSource, RegistrySource, check_manifest, refuse_unshown, refuse_unsound
from deltareg.client.paging import walk
from deltareg.errors import BadSignature, Blocked, Conflict, DeltaregError, Forbidden, NotFound, Refused, UploadClosed
from deltareg.identity.storage_map import StorageMap
from deltareg.refs import LineRef, Ref
from deltareg.wire import (
    BaseForm,
    BaseInfo,
    Page,
    ReferrerAdd,
    ReferrerInfo,
    Revoke,
    UploadComplete,
    UploadInfo,
    UploadOpen,
    VersionDetail,
    VersionInfo,
    request_of,
)

_TRIES = 3
_LEAVES = (Blocked, Conflict, Forbidden, NotFound, Refused)
"""What keeps one version from coming, and no other."""
_Base = tuple[str, str]
Done = TypeVar("Done", UploadInfo, BaseInfo)


@dataclass(slots=True)
class MirrorReport:
    """What a run of a mirror did.

    Attributes:
        source: Where it came from.
        target: Where it went.
        brought: The versions that came, by their name at the target.
        there: How many versions were there.
        sent_bytes: The bytes of packs that were sent.
        evidence: How many signatures, attestations and verdicts came.
        conflicts: Names that mean something else on the other side. Both are kept.
        left: What did not come, and why.
    """

    source: str
    target: str
    brought: list[str] = field(default_factory=list[str])
    there: int = 0
    sent_bytes: int = 0
    evidence: int = 0
    conflicts: list[str] = field(default_factory=list[str])
    left: list[str] = field(default_factory=list[str])

    def to_dict(self) -> dict[str, object]:
        """Return it as plain values."""
        return {name: getattr(self, name) for name in self.__slots__}


def bring(context: Context, source: MirrorSource) -> MirrorReport:
    """Bring the registry of a client in step with a source.

    One version that cannot come keeps no other from coming, but for those that stand on it.

    Raises:
        Unavailable: One of the two does not answer; run it again.
    """
    run = _Run(context, source)
    for line in source.lines():
        run.bring_line(line)
    run.report.conflicts = list(dict.fromkeys(run.report.conflicts))
    return run.report


class _Run:
    """One run of a mirror."""

    def __init__(self, context: Context, source: MirrorSource) -> None:
        self._context, self._api, self._source = context, context.api, source
        self._bases: dict[_Base, str] | None = None
        self._here: dict[str, dict[str, VersionInfo]] = {}  # by line, then by digest: what the target has
        self._gone: dict[str, set[str]] = {}  # by line: what was deleted there
        self._begun: set[str] = set()  # by their names at the source
        self._seen: set[str] = set()
        self.report = MirrorReport(source.where, context.config.server)

    def bring_line(self, line: str) -> None:
        """Bring what is missing of a line."""
        line = str(LineRef.parse(line))  # the source says it, and it becomes part of an address
        for version in self._source.versions(line):
            try:
                self._bring_one(line, version)
            except _LEAVES as error:
                self._leave(version, error.message)

    def _bring_one(self, line: str, version: VersionInfo) -> VersionInfo:
        """Bring a version unless it is there; return it as the target has it."""
        here = self._at_target(line)
        own = here.get(version.digest)
        if own is None:
            if version.digest in self._list_deleted(line):
                raise Conflict("it was deleted here")
            own = here[version.digest] = self._bring_version(line, version, here)
            self.report.brought.append(own.ref)
        elif version.ref not in self._seen:
            self.report.there += 1
        if version.ref in self._seen:
            return own
        self._seen.add(version.ref)
        if own.version != version.version:
            other = next((one for one in here.values() if one.version == version.version), None)
            self._tell_conflict(version, own, other)
        self._bring_evidence(version, own)
        self._revoke(version, own)
        return own

    def _at_target(self, line: str) -> dict[str, VersionInfo]:
        """Return what the target has of a line, by digest."""
        if line not in self._here:
            self._here[line] = {version.digest: version for version in self._versions(line)}
        return self._here[line]

    def _list_deleted(self, line: str) -> set[str]:
        if line not in self._gone:
            numbers = {version.version for version in self._at_target(line).values()}
            self._gone[line] = self._find_deleted(line, numbers)
        return self._gone[line]

    def _bring_below(self, below: VersionInfo) -> str:
        """Bring what a version stands on, which need not be part of what is mirrored; return its name here.

        Raises:
            Conflict: It cannot come. The message says why.
        """
        try:
            return self._bring_one(str(Ref.parse(below.ref).line), below).ref
        except _LEAVES as error:
            raise Conflict(f"it stands on {below.ref} ({below.digest}), which did not come: {error.message}") from error

    def _versions(self, line: str) -> Iterator[VersionInfo]:
        path = f"/deltas/{line}/versions"
        try:
            yield from walk(lambda at: self._api.get(path, Page[VersionInfo], cursor=at, limit=100))
        except NotFound:  # the line begins with its first version
            return

    def _find_deleted(self, line: str, numbers: Collection[int]) -> set[str]:
        """Return what was deleted at the target, which does not come back by itself: the gaps in its numbers."""
        found: set[str] = set()
        number, newest = 0, max(numbers, default=0)
        while True:
            number += 1
            if number in numbers:
                continue
            try:
                version = self._api.get(f"/deltas/{line}/versions/{number}", VersionDetail)
            except NotFound:
                if number > newest:
                    return found
                continue
            found.add(version.digest)

    def _free_semver(self, version: VersionInfo, here: dict[str, VersionInfo]) -> str | None:
        """Return the semver of a version, unless another one has it at the target."""
        taken = next((one for one in here.values() if one.semver == version.semver), None)
        if version.semver is None or taken is None:
            return version.semver
        told = f"{version.ref}: {version.semver} is {taken.ref} here; it came without"
        self.report.conflicts.append(told)
        return None

    def _bring_version(self, line: str, version: VersionInfo, here: dict[str, VersionInfo]) -> VersionInfo:
        refuse_unsound(version)
        if version.ref in self._begun:
            raise Conflict("it stands on itself there")
        self._begun.add(version.ref)
        documents = self._source.documents(version)
        manifest = check_manifest(documents.manifest, version.digest, of=version.ref, where=self._source.where)
        digests = [str(parent) for parent in manifest.parents]
        shown = self._source.parents(version, digests)
        parents = [self._bring_below(parent) for parent in shown]
        base = self._bring_base(version)
        request = request_of(
            UploadOpen,
            subject="delta",
            target=line,
            manifest=documents.manifest.decode(),
            message=version.message,
            semver=self._free_semver(version, here),
            labels=version.labels,
            base=base,
            base_identity=version.base.identity,
            base_claim=version.base_claim or None,
            parents=parents,
        )
        try:
            return self._send_version(request, documents.storage, of=version.ref)
        except Refused:
            refuse_unshown(digests, shown, where=self._source.where)
            raise

    def _bring_base(self, version: VersionInfo) -> str:
        """Return the name of a version's base at the target, which gets it if it has none such."""
        if self._bases is None:
            path = "/bases"
            self._bases = {
                (info.root, info.manifest_digest): info.name
                for info in walk(lambda at: self._api.get(path, Page[BaseInfo], cursor=at, limit=100))
            }
        base = self._source.base(version.base.name)
        known = self._bases.get((base.root, base.manifest_digest))
        if known is None:
            known = self._bases[base.root, base.manifest_digest] = self._send_base(base)
        return known

    def _send_base(self, base: BaseInfo) -> str:
        target = base.name
        if base.version is not None:  # its name at the target is that of the version that it is
            target = self._bring_below(self._find_below(base))
        documents = self._source.base_documents(base)
        check_manifest(documents.manifest, base.manifest_digest, of=f"base:{base.name}", where=self._source.where)
        request = request_of(
            UploadOpen,
            subject="base",
            target=target,
            manifest=documents.manifest.decode(),
            register_only=not base.is_stored,
            form=request_of(BaseForm, hub_ids=base.hub_ids).model_dump(),
        )
        if not base.is_stored:
            upload = self._api.post("/uploads", request, UploadInfo)
            done = upload.base or self._api.post(f"/uploads/{upload.id}:register-base", None, BaseInfo)
            return done.name
        upload = self._send_packs(request, documents.storage, of=f"base:{base.name}")
        if upload.base is not None:
            return upload.base.name
        return self._end(upload, "complete-base", documents.storage, BaseInfo).name

    def _find_below(self, base: BaseInfo) -> VersionInfo:
        ref = base.version or ""
        try:
            return self._source.version(ref)
        except (NotFound, Forbidden) as error:
            where = self._source.where
            raise Conflict(f"it stands on {ref}, which {where} does not show; bring that version first") from error

    def _send_version(self, request: UploadOpen, storage: bytes, *, of: str) -> VersionInfo:
        """Send a version, again if the upload is given up meanwhile."""
        for _ in range(_TRIES):
            upload = self._send_packs(request, storage, of=of)
            if upload.version is not None:
                return upload.version
            try:
                done = self._end(upload, "complete", storage, UploadInfo)
            except UploadClosed:
                continue
            if done.version is not None:
                return done.version
        raise UploadClosed("the upload was given up meanwhile", fix="run the mirror again")

    def _send_packs(self, request: UploadOpen, storage: bytes, *, of: str) -> UploadInfo:
        """Open an upload and send the packs that it lacks, as they are stored at the source."""
        upload = self._api.post("/uploads", request, UploadInfo)
        if upload.version is not None or upload.base is not None:
            return upload
        has = {pack.digest for pack in [*upload.received, *upload.known_packs]}
        for number, pack in enumerate(StorageMap.decode(storage).packs):
            if str(pack.digest) in has:
                continue
            data = self._source.pack(str(pack.digest), size_bytes=pack.size_bytes, of=of)
            path = f"/uploads/{upload.id}/packs/{number}"
            self._api.upload(path, memoryview(data), digest=str(pack.digest), meter=_count_nothing)
            self.report.sent_bytes += len(data)
        return upload

    def _end(self, upload: UploadInfo, verb: str, storage: bytes, kind: type[Done]) -> Done:
        complete = UploadComplete(storage_map=storage.decode())
        headers = {"Idempotency-Key": uuid.uuid4().hex}
        return self._api.post(f"/uploads/{upload.id}:{verb}", complete, kind, headers=headers)

    def _bring_evidence(self, version: VersionInfo, own: VersionInfo) -> None:
        path = f"{version_path(Ref.parse(own.ref))}/referrers"
        offered = self._source.evidence(version)
        if not offered:
            return
        there = {info.digest for info in self._api.get(path, Page[ReferrerInfo]).items}
        ours = RegistrySource(self._context).evidence(own)  # its own verdicts do not come back to it
        there |= {_digest_of(one) for one in ours}
        for one in offered:
            if _digest_of(one) in there:
                continue
            try:
                self._api.post(path, one, ReferrerInfo)
                self.report.evidence += 1
            except (BadSignature, Conflict, DeltaregError) as error:
                if error.retryable:
                    raise
                self._leave(version, f"a thing signed about it: {error.message}")

    def _revoke(self, version: VersionInfo, own: VersionInfo) -> None:
        """Revoke here what is revoked there: what is unsafe there is unsafe here."""
        if version.revocation is None or own.is_revoked:
            return
        reason = f"revoked at {self._source.where}: {version.revocation.reason}"
        body = request_of(Revoke, reason=reason[:1_000], even_if_served=True)
        try:
            self._api.post(f"{version_path(Ref.parse(own.ref))}:revoke", body, VersionInfo)
        except (Forbidden, Conflict) as error:
            self.report.conflicts.append(f"{own.ref} is revoked there and not here: {error.message}")

    def _tell_conflict(self, version: VersionInfo, own: VersionInfo, other: VersionInfo | None) -> None:
        there = f"{other.digest[:19]}… here" if other is not None else "free here"
        self.report.conflicts.append(f"{version.ref} is {version.digest[:19]}… there and {there}; it is {own.ref} here")

    def _leave(self, version: VersionInfo, why: str) -> None:
        self.report.left.append(f"{version.ref}: {why}")


def _digest_of(one: ReferrerAdd) -> str:
    return f"sha256:{hashlib.sha256(one.body.encode()).hexdigest()}"


def _count_nothing(_size_bytes: int) -> None:
    pass
