"""Update: turns an installed version into another one and transfers only what differs.

Pieces that the folder holds are not fetched; of pieces that are stored against one of those, only
the difference is. All others are pulled as usual. A folded model holds tensors of its base, and those
that the delta had in their final form; what the base lacks on this machine is made whole from them.
The new folder is written beside the old one and takes its place in one step.
"""

import time
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from deltareg.client.asking.resolving import base_path, fetch_manifest, resolve, resolve_live
from deltareg.client.bases.bases import find_base
from deltareg.client.bases.which import base_manifest
from deltareg.client.context import Context
from deltareg.client.disk.whole_folder import replace_folder
from deltareg.client.fold.materialize import FoldOptions, fold_version, note_fold
from deltareg.client.folders.base_folder import open_base
from deltareg.client.folders.known_folders import file_states, remember_version
from deltareg.client.packs.at_hand import pieces_in, with_at_hand
from deltareg.client.packs.pack_reader import lacking_bytes
from deltareg.client.pull.fetching import PulledVersion, fetch, fetch_storage, trim
from deltareg.client.pull.included import select_files
from deltareg.client.pull.installed import (
    InstalledVersion,
    find_installed,
    line_of,
    noted_installed,
    noted_next,
    remember_installed,
    remember_next,
)
from deltareg.client.pull.intact import files_in, holds, remember_held
from deltareg.client.pull.stored_source import Held
from deltareg.client.results.update_report import UpdateReport
from deltareg.client.trust.kept_signature import keep_signature
from deltareg.digest import Digest
from deltareg.errors import Conflict, IntegrityFailure, InvalidInput, NotFound
from deltareg.identity.manifest import Manifest
from deltareg.identity.needed_chunks import needed_chunks
from deltareg.identity.storage_map import StorageMap
from deltareg.refs import Ref
from deltareg.wire import BaseInfo, VersionDetail
from deltareg.words import UpdatePlan

_SHOWN = 3


@dataclass(frozen=True, slots=True)
class _FolderUpdate:
    """A folder, the version in it, and the version that it is to hold, or the part of it."""

    context: Context
    folder: Path
    installed: InstalledVersion
    version: VersionDetail
    manifest: Manifest
    include: Sequence[str]

    @property
    def is_done(self) -> bool:
        """Whether the folder was made from just what it is to hold."""
        return self.installed.is_of(self.version) and self.installed.include == list(self.include)


def update(
    context: Context, folder: Path, to: str, *, is_plan: bool, include: Sequence[str] | None = None
) -> UpdateReport:
    """Replace the version in a folder by another one.

    Args:
        context: The client's surroundings.
        folder: The folder that a version was pulled or materialized to.
        to: A reference; `@prod` or `:v3` alone is of the installed version's line.
        is_plan: Only report what would be transferred.
        include: Patterns of the files that it is to hold; by default those that it was pulled with.

    Raises:
        InvalidInput: It is unknown what the folder holds, or a pattern matches no file.
        Conflict: The folder holds other files, which would be lost.
    """
    started = time.monotonic()
    job = _job(context, folder, to, include)
    is_intact = _is_intact(job)
    report = partial(_report, job, was_written_to=not is_intact, is_plan=is_plan)
    if is_intact and job.is_done:
        return report("none", 0, 0, seconds=time.monotonic() - started)
    with _open_pieces(job, is_intact=is_intact) as pieces:
        fetched, full = _travels(job, pieces)
        plan: UpdatePlan = "patch" if fetched < full else "full"
        if not is_plan:
            fetched = _replace_by_fold(job, pieces) if job.installed.root else _replace_by_pull(job, pieces)
    trim(context)
    return report(plan, fetched, full, seconds=time.monotonic() - started)


def _job(context: Context, folder: Path, to: str, include: Sequence[str] | None) -> _FolderUpdate:
    is_of_line = to.startswith(("@", ":"))
    if not is_of_line and "/" not in to:
        raise InvalidInput(f"not a reference: {to!r}", fix="write :v3, @prod or ns/name:v3")
    if not folder.is_dir():
        whole = f"ns/name{to}" if is_of_line else to
        raise NotFound(f"there is no folder {folder}", fix=f"deltareg pull {whole} --to {folder}")
    installed = _find_noted(context, folder)
    if is_of_line:
        if installed is None:
            raise InvalidInput(f"nothing is known of what {folder} holds", fix=f"name the line: --to ns/name{to}")
        to = f"{line_of(installed)}{to}"
    ref = Ref.parse(to)
    installed = installed or find_installed(context, folder, ref.line)
    version = resolve_live(context, ref, bare="prod")
    patterns = installed.include if include is None else include
    manifest = select_files(fetch_manifest(context, version), patterns)
    return _FolderUpdate(context, folder, installed, version, manifest, patterns)


def _find_noted(context: Context, folder: Path) -> InstalledVersion | None:
    """Return what is noted of a folder; where a kill came before that was noted, what it was about to hold."""
    installed, following = noted_installed(context.cache, folder), noted_next(context.cache, folder)
    if installed is None or following is None or following == installed:
        return installed
    here = files_in(folder)
    if here == set(installed.files) != set(following.files):
        return installed
    is_following = here == set(following.files) and _is_made_from(context, folder, following)
    return following if is_following else installed


def _is_made_from(context: Context, folder: Path, installed: InstalledVersion) -> bool:
    """Whether the content of a folder is that of a note."""
    if installed.root:
        with open_base(folder, context.cache, progress=context.progress) as base:
            return str(base.identity.root) == installed.root
    raw = context.cache.manifest(Digest.parse(installed.digest))
    return raw is not None and holds(context.cache, folder, select_files(Manifest.decode(raw), installed.include))


def _is_intact(job: _FolderUpdate) -> bool:
    """Whether the folder holds exactly what it was made from.

    Raises:
        Conflict: The folder holds other files as well, which their owner may want.
    """
    others = sorted(files_in(job.folder) - set(job.installed.files))
    if others:
        raise Conflict(
            f"{job.folder} holds files that are not of {job.installed.ref}: {', '.join(others[:_SHOWN])}",
            fix="move them elsewhere, then again",
        )
    if not job.installed.root:
        return holds(job.context.cache, job.folder, _before(job))
    return _is_made_from(job.context, job.folder, job.installed)


@contextmanager
def _open_pieces(job: _FolderUpdate, *, is_intact: bool) -> Generator[Held, None, None]:
    """Yield the pieces that the folder holds; none if it was written to."""
    if not is_intact:
        yield {}
        return
    with pieces_in(job.folder, _describe_folder(job)) as pieces:
        yield pieces


def _describe_folder(job: _FolderUpdate) -> Manifest:
    """Return the manifest of what the folder holds: a version, or a model that is like a base."""
    if not job.installed.root:
        return _before(job)
    with open_base(job.folder, job.context.cache, progress=job.context.progress) as base:
        return base.manifest


def _before(job: _FolderUpdate) -> Manifest:
    """Return the manifest of the installed version, which may have been deleted since."""
    digest = Digest.parse(job.installed.digest)
    raw = job.context.cache.manifest(digest)
    if raw is not None:
        return select_files(Manifest.decode(raw), job.installed.include)
    version = resolve(job.context, Ref.parse(job.installed.ref), bare="newest")
    return select_files(fetch_manifest(job.context, version), job.installed.include)


def _travels(job: _FolderUpdate, held: Held) -> tuple[int, int]:
    """Return the bytes that would be transferred, and those that would be without the folder."""
    storage = fetch_storage(job.context, job.version)
    full = _lacking(job, storage, storage.outside, {})
    if not held:
        return full, full
    rest = with_at_hand(storage, held)
    return _lacking(job, rest, rest.outside - held.keys(), held), full


def _lacking(job: _FolderUpdate, storage: StorageMap, outside: frozenset[Digest], held: Held) -> int:
    """Count the bytes that the cache lacks of a version, and of its base if that is needed."""
    cache = job.context.cache
    total = lacking_bytes(cache, storage, needed_chunks(job.manifest, storage))
    if not outside and not job.installed.root:
        return total
    info = job.context.api.get(base_path(job.version.base.name), BaseInfo)
    record = base_manifest(job.context.api, cache, info)
    base = find_base(cache, Digest.parse(info.root), record=record if job.installed.root else None)
    if base is not None:
        base.folder.close()
        return total
    raw = job.context.api.send("GET", f"{base_path(info.name)}/storage").content
    whole = with_at_hand(StorageMap.decode(raw), held if job.installed.root else {})
    return total + lacking_bytes(cache, whole, needed_chunks(record, whole))


def _replace_by_pull(job: _FolderUpdate, held: Held) -> int:
    with replace_folder(job.folder) as draft:
        try:
            pulled = _fetch_into(job, draft, held)
        except IntegrityFailure:  # the folder was written to and does not show it: without it, then
            if not held:
                raise
            pulled = _fetch_into(job, draft, {})
        remember_next(job.context.cache, job.folder, draft, job.version, include=job.include)
    remember_held(job.context.cache, job.folder, job.manifest)
    if not job.include:  # else the folder is not all of the version
        states = file_states(job.folder, job.manifest)
        remember_version(job.context.cache, Digest.parse(job.version.digest), job.folder, states)
        keep_signature(job.context, job.version, job.folder)
    remember_installed(job.context.cache, job.folder, job.version, include=job.include)
    return pulled.fetched_bytes


def _fetch_into(job: _FolderUpdate, draft: Path, held: Held) -> PulledVersion:
    return fetch(job.context, job.version, job.manifest, to=draft, held=held, is_noted=False)


def _replace_by_fold(job: _FolderUpdate, held: Held) -> int:
    with replace_folder(job.folder) as draft:
        try:
            outcome = fold_version(job.context, job.version, draft, FoldOptions(held=held))
        except IntegrityFailure:  # as above
            if not held:
                raise
            outcome = fold_version(job.context, job.version, draft)
        remember_next(job.context.cache, job.folder, draft, job.version, root=str(outcome.root))
    note_fold(job.context.cache, job.version, outcome.root, job.folder)
    remember_installed(job.context.cache, job.folder, job.version, root=str(outcome.root))
    return outcome.fetched_bytes


def _report(
    job: _FolderUpdate,
    plan: UpdatePlan,
    fetched: int,
    full: int,
    *,
    seconds: float,
    was_written_to: bool,
    is_plan: bool,
) -> UpdateReport:
    return UpdateReport(
        ref=job.version.ref,
        from_ref=job.installed.ref,
        path=job.folder,
        digest=job.version.digest,
        plan=plan,
        fetched_bytes=fetched,
        full_bytes=full,
        seconds=seconds,
        is_plan=is_plan,
        was_written_to=was_written_to,
        revocation=job.version.revocation,
        deprecation=job.version.deprecation,
    )
