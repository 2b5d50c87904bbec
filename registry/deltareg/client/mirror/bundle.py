"""A bundle: what a mirror brings, as a folder that travels to a network without a way out.

    bundle.json              the lines with their versions, the bases, and where all came from; written last
    documents/<digest>.*     manifests and storage maps
    packs/<sha256>           packs
    signed/<digest>.json     what was signed about a version

Every pack is held against its digest as it is read, and the target reads and proves what it gets.
"""

import hashlib
import json
import stat
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from pydantic import TypeAdapter, ValidationError

from deltareg.client.http.bounds import ANSWER_BYTES
from deltareg.client.mirror.source import MirrorDocuments, MirrorSource, check_manifest, refuse_unshown, refuse_unsound
from deltareg.digest import Digest
from deltareg.documents.json_values import parse_json
from deltareg.errors import Blocked, Conflict, Forbidden, IntegrityFailure, InvalidInput, NotFound
from deltareg.host.shared_files import replace_file
from deltareg.identity.storage_map import StorageMap
from deltareg.refs import Ref
from deltareg.wire import BaseInfo, ReferrerAdd, VersionInfo

FORMAT = "deltareg-bundle-1"
_VERSIONS = TypeAdapter(dict[str, list[VersionInfo]])
_BASES = TypeAdapter(dict[str, BaseInfo])
_SIGNED = TypeAdapter(list[ReferrerAdd])


@dataclass(frozen=True, slots=True)
class BundleReport:
    """What a bundle has.

    Attributes:
        versions: How many versions.
        left: What did not come into it, and why.
    """

    versions: int
    left: list[str]


def write_bundle(source: MirrorSource, folder: Path) -> BundleReport:
    """Write a bundle, or bring one up to date.

    What its versions stand on comes along, also from outside of what is mirrored. What is there is not fetched again,
    so a bundle that was cut short goes on.
    """
    for part in ("documents", "packs", "signed"):
        (folder / part).mkdir(parents=True, exist_ok=True)
    writer = _Writer(source, folder)
    for line in source.lines():
        for version in source.versions(line):
            writer.take(version)
    document = {
        "format": FORMAT,
        "where": source.where,
        "lines": _VERSIONS.dump_python(writer.lines(), mode="json"),
        "bases": _BASES.dump_python(writer.bases, mode="json"),
    }
    _write(folder / "bundle.json", json.dumps(document).encode())
    return BundleReport(len(writer.versions), writer.left)


class _Writer:
    """What a bundle has got so far."""

    def __init__(self, source: MirrorSource, folder: Path) -> None:
        self._source, self._folder = source, folder
        self._tried: dict[str, str] = {}  # by name: why it did not come; empty if it did
        self.versions: list[VersionInfo] = []
        self.bases: dict[str, BaseInfo] = {}

    @property
    def left(self) -> list[str]:
        """What did not come, and why."""
        return [f"{ref}: {why}" for ref, why in self._tried.items() if why]

    def lines(self) -> dict[str, list[VersionInfo]]:
        """Return the versions by their lines, oldest first."""
        lines: dict[str, list[VersionInfo]] = {line: [] for line in self._source.lines()}
        for version in sorted(self.versions, key=lambda one: one.version):
            lines.setdefault(f"{version.namespace}/{version.name}", []).append(version)
        return lines

    def take(self, version: VersionInfo) -> str:
        """Take a version with all that it stands on; return why it did not come, empty if it did."""
        if version.ref not in self._tried:
            self._tried[version.ref] = "it stands on itself there"
            try:
                if not version.is_revoked:  # of one that is, the name comes, so that it is revoked at the target, too
                    self._keep_version(version)
                why = ""
            except (Blocked, Conflict, Forbidden, NotFound) as error:
                why = error.message
            self._tried[version.ref] = why
            if not why:
                signed = _SIGNED.dump_json(list(self._source.evidence(version)))
                _write(self._folder / "signed" / f"{_hex(version.digest)}.json", signed)
                self.versions.append(version)
        return self._tried[version.ref]

    def _keep_version(self, version: VersionInfo) -> None:
        refuse_unsound(version)
        documents = self._source.documents(version)
        manifest = check_manifest(documents.manifest, version.digest, of=version.ref, where=self._source.where)
        digests = [str(parent) for parent in manifest.parents]
        parents = self._source.parents(version, digests)
        for parent in parents:
            self._keep_below(parent)
        refuse_unshown(digests, parents, where=self._source.where)
        base = self.bases.get(version.base.name) or self._source.base(version.base.name)
        if base.version is not None:
            self._keep_below(self._source.version(base.version))
        if version.base.name not in self.bases:
            name = f"base:{base.name}"
            base_documents = self._source.base_documents(base)
            check_manifest(base_documents.manifest, base.manifest_digest, of=name, where=self._source.where)
            _keep(self._folder, base.manifest_digest, base_documents, self._source, of=name)
            self.bases[version.base.name] = base
        _keep(self._folder, version.digest, documents, self._source, of=version.ref)

    def _keep_below(self, below: VersionInfo) -> None:
        why = self.take(below) or ("it is revoked there" if below.is_revoked else "")
        if why:
            raise Conflict(f"it stands on {below.ref} ({below.digest}), which did not come: {why}")


class BundleSource:
    """A bundle as a source."""

    def __init__(self, folder: Path) -> None:
        """Open a bundle.

        Raises:
            InvalidInput: The folder holds none.
        """
        self._folder = folder
        try:
            document = cast("dict[str, Any]", parse_json(self._read(".", "bundle.json")))
            if document["format"] != FORMAT:
                raise InvalidInput(f"{folder} is a bundle of another release", fix="update this side, too")
            self._where = str(document["where"])
            self._lines = _VERSIONS.validate_python(document["lines"])
            self._bases = _BASES.validate_python(document["bases"])
        except (IntegrityFailure, ValueError, KeyError, TypeError, ValidationError) as error:
            raise InvalidInput(f"{folder} is no bundle", fix="write one: deltareg mirror save FOLDER") from error

    @property
    def where(self) -> str:
        """Where it came from."""
        return self._where

    def lines(self) -> Sequence[str]:
        """List its lines."""
        return sorted(self._lines)

    def versions(self, line: str) -> Sequence[VersionInfo]:
        """List the versions of a line, oldest first."""
        return self._lines.get(line, [])

    def documents(self, version: VersionInfo) -> MirrorDocuments:
        """Return the documents of a version."""
        return self._documents(version.digest)

    def version(self, ref: str) -> VersionInfo:
        """Show a version."""
        for version in self.versions(str(Ref.parse(ref).line)):
            if version.ref == ref:
                return version
        raise NotFound(f"{ref} is not in the bundle")

    def parents(self, version: VersionInfo, digests: Sequence[str]) -> Sequence[VersionInfo]:
        """List the versions that a version was made from."""
        own = [one for line in self._lines.values() for one in line if one.namespace == version.namespace]
        own.sort(key=lambda one: one.name != version.name)
        found = {one.digest: one for one in reversed(own)}
        return [found[digest] for digest in digests if digest in found]

    def base(self, name: str) -> BaseInfo:
        """Show a base."""
        if name not in self._bases:
            raise NotFound(f"the base {name} is not in the bundle")
        return self._bases[name]

    def base_documents(self, base: BaseInfo) -> MirrorDocuments:
        """Return the documents of a base."""
        return self._documents(base.manifest_digest)

    def pack(self, digest: str, *, size_bytes: int, of: str) -> bytes:
        """Return a pack, its digest checked."""
        data = self._read("packs", Digest.parse(digest).hex, most=size_bytes)
        if f"sha256:{hashlib.sha256(data).hexdigest()}" != digest:
            raise IntegrityFailure(f"{digest[:19]}… of {of} is damaged in the bundle", fix="bring the bundle again")
        return data

    def evidence(self, version: VersionInfo) -> Sequence[ReferrerAdd]:
        """List what was signed about a version."""
        raw = self._read("signed", f"{_hex(version.digest)}.json")
        try:
            return _SIGNED.validate_json(raw)
        except ValidationError as error:
            raise IntegrityFailure(
                f"what was signed about {version.ref} is damaged in the bundle", fix="bring the bundle again"
            ) from error

    def _documents(self, digest: str) -> MirrorDocuments:
        name = _hex(digest)
        return MirrorDocuments(self._read("documents", f"{name}.manifest"), self._read("documents", f"{name}.storage"))

    def _read(self, part: str, name: str, *, most: int = ANSWER_BYTES) -> bytes:
        path = self._folder / part / name
        try:
            found = path.lstat()
            if not stat.S_ISREG(found.st_mode):
                raise IntegrityFailure(f"{part}/{name} is no plain file in the bundle", fix="bring the bundle again")
            if found.st_size > most:
                raise IntegrityFailure(
                    f"{part}/{name} of the bundle is longer than it says", fix="bring the bundle again"
                )
            return path.read_bytes()
        except OSError as error:
            raise IntegrityFailure(f"{part}/{name} is missing in the bundle", fix="bring the bundle again") from error


def _keep(folder: Path, digest: str, documents: MirrorDocuments, source: MirrorSource, *, of: str) -> None:
    name = _hex(digest)
    _write(folder / "documents" / f"{name}.manifest", documents.manifest)
    _write(folder / "documents" / f"{name}.storage", documents.storage)
    for pack in StorageMap.decode(documents.storage).packs if documents.storage else ():
        path = folder / "packs" / pack.digest.hex
        if not path.exists():
            _write(path, source.pack(str(pack.digest), size_bytes=pack.size_bytes, of=of))


def _write(path: Path, data: bytes) -> None:
    """Write a file whole or not at all."""
    replace_file(path, data)


def _hex(digest: str) -> str:
    return Digest.parse(digest).hex
