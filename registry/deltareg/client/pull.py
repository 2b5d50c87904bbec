"""Pull: resolve, fetch what is missing, rebuild every file byte for byte, move it into place."""

import hashlib
import os
import shutil
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from deltareg.client.base_folder import BaseFolder, open_base
from deltareg.client.bases import base_manifest, find_base
from deltareg.client.context import Context
from deltareg.client.fetch import PackReader, write_files
from deltareg.client.reports import PullReport
from deltareg.digest import Digest
from deltareg.errors import Conflict, IntegrityFailure
from deltareg.kind import Tensor
from deltareg.manifest import Manifest
from deltareg.refs import Ref
from deltareg.storage_map import StorageMap
from deltareg.wire import BaseInfo, VersionDetail

_FOLDER_MODE = 0o755


@dataclass(frozen=True, slots=True)
class Pulled:
    """A version on this machine.

    Attributes:
        version: What was resolved.
        manifest: What it is.
        path: The folder that holds its files.
        fetched_bytes: Bytes that came over the network.
        cached_bytes: Bytes that the cache had.
    """

    version: VersionDetail
    manifest: Manifest
    path: Path
    fetched_bytes: int
    cached_bytes: int


def pull(context: Context, ref: Ref, to: Path | None) -> PullReport:
    """Write a version's files into a folder, or into the cache when no folder is named.

    Raises:
        Conflict: The folder exists and holds something else.
        IntegrityFailure: A byte is not what was pushed.
    """
    started = time.monotonic()
    version = resolve(context, ref, bare="prod")
    manifest = fetch_manifest(context, version)
    if to is not None and _holds(to, manifest):
        seconds = time.monotonic() - started
        size = manifest.logical_bytes
        return PullReport(version.ref, to, version.digest, 0, size, seconds)
    if to is not None and to.exists() and (not to.is_dir() or any(to.iterdir())):
        raise Conflict(
            f"{to} exists and holds something else than {version.ref}",
            fix="name another folder with --to, or empty this one",
        )
    pulled = fetch(context, version, manifest, to=to)
    if pulled.fetched_bytes:
        context.cache.prune(max_bytes=context.config.cache_max_bytes, keep=pulled.path)
    return PullReport(
        version.ref, pulled.path, version.digest, pulled.fetched_bytes, pulled.cached_bytes,
        time.monotonic() - started,
    )  # fmt: skip


def resolve(context: Context, ref: Ref, *, bare: str) -> VersionDetail:
    """Ask the server which version a reference means."""
    return context.api.get("/resolve", VersionDetail, ref=str(ref), bare=bare)


def fetch(
    context: Context, version: VersionDetail, manifest: Manifest, *, to: Path | None = None
) -> Pulled:
    """Bring a version to this machine: into `to`, or as a snapshot of the cache."""
    digest = Digest.parse(version.digest)
    if to is None:
        kept = context.cache.find_folder("snapshots", digest)
        if kept is not None:
            return Pulled(version, manifest, kept, 0, manifest.logical_bytes)
    target = context.cache.folder_path("snapshots", digest) if to is None else to
    path = version_path(Ref.parse(version.ref))
    storage = StorageMap.decode(context.api.send("GET", f"{path}/storage").content)
    base = _reference_base(context, version, storage, manifest)
    try:
        references = _tensors_by_digest(base, storage)
        concurrency = context.config.concurrency
        with PackReader(context, storage, of=version.ref, concurrency=concurrency) as packs:
            _write(context, target, manifest, storage, packs, references, version.ref)
            fetched, cached = packs.fetched_bytes, packs.cached_bytes
    finally:
        if base is not None:
            base.folder.close()
    return Pulled(version, manifest, target, fetched, cached)


def fetch_manifest(context: Context, version: VersionDetail) -> Manifest:
    """Give the manifest of a version, from the cache when it is there.

    Raises:
        IntegrityFailure: The server gave another one.
    """
    digest = Digest.parse(version.digest)
    raw = context.cache.manifest(digest)
    if raw is None:
        path = version_path(Ref.parse(version.ref))
        raw = context.api.send("GET", f"{path}/manifest").content
        if Manifest.digest_of(raw) != digest:
            raise IntegrityFailure(f"the manifest of {version.ref} is not what its digest says")
        context.cache.keep_manifest(digest, raw)
    return Manifest.decode(raw)


def fetch_base(context: Context, info: BaseInfo) -> BaseFolder:
    """Open a base on this machine, or bring it into the cache from the server.

    Raises:
        NotFound: It is registered without its bytes, and no folder here holds it.
    """
    root = Digest.parse(info.root)
    found = find_base(context.cache, root, location=info.location, progress=context.progress)
    if found is not None:
        return found
    manifest = base_manifest(context.api, context.cache, info)
    raw = context.api.send("GET", f"/bases/{info.name}/storage").content
    storage = StorageMap.decode(raw)
    target = context.cache.folder_path("bases", root)
    of = f"base:{info.name}"
    with PackReader(context, storage, of=of, concurrency=context.config.concurrency) as packs:
        _write(context, target, manifest, storage, packs, {}, f"base {info.name}")
    return open_base(target, context.cache, progress=context.progress)


def version_path(ref: Ref) -> str:
    """Give the API path of a version that is named by its number."""
    return f"/deltas/{ref.line.namespace}/{ref.line.name}/versions/{ref.version}"


def place(draft: Path, target: Path) -> None:
    """Move a whole folder into place; what another process put there meanwhile is as good."""
    _sync(draft)
    target.parent.mkdir(parents=True, exist_ok=True)
    draft.chmod(_FOLDER_MODE)
    if target.is_dir() and not any(target.iterdir()):
        target.rmdir()
    try:
        draft.rename(target)
    except FileExistsError:
        shutil.rmtree(draft)
    except OSError as error:
        if not target.is_dir():
            raise
        if not any(target.iterdir()):
            raise Conflict(f"cannot move the files to {target}: {error.strerror}") from error
        shutil.rmtree(draft)


def _write(
    context: Context,
    target: Path,
    manifest: Manifest,
    storage: StorageMap,
    packs: PackReader,
    references: Mapping[Digest, Tensor],
    label: str,
) -> None:
    """Build the folder beside its place and move it there when it is whole."""
    target.parent.mkdir(parents=True, exist_ok=True)
    draft = target.parent / f".{target.name}.{os.getpid()}-{time.monotonic_ns()}"
    draft.mkdir()
    meter = context.progress.task(f"pulling {label}", manifest.logical_bytes)
    try:
        write_files(draft, manifest, storage, packs, references=references, meter=meter)
        place(draft, target)
    finally:
        meter.close()
        shutil.rmtree(draft, ignore_errors=True)


def _reference_base(
    context: Context, version: VersionDetail, storage: StorageMap, manifest: Manifest
) -> BaseFolder | None:
    wanted = {piece.reference for piece in storage.pieces.values()} - {None}
    if not wanted:
        return None
    page = context.api.get(f"/bases/{version.base.name}", BaseInfo)
    base = fetch_base(context, page)
    if base.identity.root != manifest.base:
        raise IntegrityFailure(f"the base {page.name} is not the one that {version.ref} is for")
    return base


def _tensors_by_digest(base: BaseFolder | None, storage: StorageMap) -> dict[Digest, Tensor]:
    if base is None:
        return {}
    wanted = {piece.reference for piece in storage.pieces.values()}
    tensors = base.tensors
    return {
        record.digest: tensors[name]
        for name, record in base.view.tensors.items()
        if record.digest in wanted
    }


def _holds(to: Path, manifest: Manifest) -> bool:
    """Whether a folder holds exactly these files with these digests already."""
    if not to.is_dir():
        return False
    found = {path.relative_to(to).as_posix() for path in to.rglob("*") if path.is_file()}
    if found != {file.path for file in manifest.files}:
        return False
    for file in manifest.files:
        path = to / file.path
        if path.stat().st_size != file.size_bytes:
            return False
        with path.open("rb") as data:
            if hashlib.file_digest(data, "sha256").hexdigest() != file.digest.hex:
                return False
    return True


def _sync(folder: Path) -> None:
    """Make a finished folder durable before it gets its name."""
    for path in _files(folder):
        descriptor = os.open(path, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def _files(folder: Path) -> Iterable[Path]:
    return (path for path in folder.rglob("*") if path.is_file())
