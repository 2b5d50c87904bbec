"""A bundle: what a mirror brings, as a folder that travels to a network without a way out.

    bundle.json              the lines with their versions, the bases, and where all came from; written last
    documents/<digest>.*     manifests and storage maps
    packs/<sha256>           packs
    signed/<digest>.json     what was signed about a version

Every pack is held against its digest as it is read, and the target reads and proves what it gets.
"""

import hashlib
import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any, cast

from pydantic import TypeAdapter, ValidationError

from deltareg.client.mirror.source import MirrorDocuments, MirrorSource
from deltareg.digest import Digest
from deltareg.documents.json_values import parse_json
from deltareg.errors import IntegrityFailure, InvalidInput
from deltareg.identity.storage_map import StorageMap
from deltareg.wire import BaseInfo, ReferrerAdd, VersionInfo

FORMAT = "deltareg-bundle-1"
_VERSIONS = TypeAdapter(dict[str, list[VersionInfo]])
_BASES = TypeAdapter(dict[str, BaseInfo])
_SIGNED = TypeAdapter(list[ReferrerAdd])


def write_bundle(source: MirrorSource, folder: Path) -> int:
    """Write a bundle, or bring one up to date; return how many versions it has.

    What is there is not fetched again, so a bundle that was cut short goes on.
    """
    for part in ("documents", "packs", "signed"):
        (folder / part).mkdir(parents=True, exist_ok=True)
    lines: dict[str, list[VersionInfo]] = {}
    bases: dict[str, BaseInfo] = {}
    for line in source.lines():
        lines[line] = [one for one in source.versions(line) if one.proof != "corrupt"]
        for version in lines[line]:
            _keep(folder, version.digest, source.documents(version), source, of=version.ref)
            signed = _SIGNED.dump_json(list(source.evidence(version)))
            _write(folder / "signed" / f"{_hex(version.digest)}.json", signed)
            if version.base.name not in bases:
                base = bases[version.base.name] = source.base(version.base.name)
                _keep(folder, base.manifest_digest, source.base_documents(base), source, of=f"base:{base.name}")
    document = {
        "format": FORMAT,
        "where": source.where,
        "lines": _VERSIONS.dump_python(lines, mode="json"),
        "bases": _BASES.dump_python(bases, mode="json"),
    }
    _write(folder / "bundle.json", json.dumps(document).encode())
    return sum(map(len, lines.values()))


class BundleSource:
    """A bundle as a source."""

    def __init__(self, folder: Path) -> None:
        """Open a bundle.

        Raises:
            InvalidInput: The folder holds none.
        """
        self._folder = folder
        try:
            document = cast("dict[str, Any]", parse_json((folder / "bundle.json").read_bytes()))
            if document["format"] != FORMAT:
                raise InvalidInput(f"{folder} is a bundle of another release", fix="update this side, too")
            self._where = str(document["where"])
            self._lines = _VERSIONS.validate_python(document["lines"])
            self._bases = _BASES.validate_python(document["bases"])
        except (OSError, ValueError, KeyError, TypeError, ValidationError) as error:
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

    def base(self, name: str) -> BaseInfo:
        """Show a base."""
        return self._bases[name]

    def base_documents(self, base: BaseInfo) -> MirrorDocuments:
        """Return the documents of a base."""
        return self._documents(base.manifest_digest)

    def pack(self, digest: str, *, of: str) -> bytes:
        """Return a pack, its digest checked."""
        data = self._read("packs", Digest.parse(digest).hex)
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

    def _read(self, part: str, name: str) -> bytes:
        try:
            return (self._folder / part / name).read_bytes()
        except OSError as error:
            raise IntegrityFailure(f"{part}/{name} is missing in the bundle", fix="bring the bundle again") from error


def _keep(folder: Path, digest: str, documents: MirrorDocuments, source: MirrorSource, *, of: str) -> None:
    name = _hex(digest)
    _write(folder / "documents" / f"{name}.manifest", documents.manifest)
    _write(folder / "documents" / f"{name}.storage", documents.storage)
    for pack in StorageMap.decode(documents.storage).packs if documents.storage else ():
        path = folder / "packs" / pack.digest.hex
        if not path.exists():
            _write(path, source.pack(str(pack.digest), of=of))


def _write(path: Path, data: bytes) -> None:
    """Write a file whole or not at all."""
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    draft.write_bytes(data)
    draft.replace(path)


def _hex(digest: str) -> str:
    return Digest.parse(digest).hex
