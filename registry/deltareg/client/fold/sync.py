"""Locks what references mean now, and makes folders match a lock.

Each folder is written beside its place and takes it in one step, so that a killed run leaves the
old one or the new one, and two simultaneous runs have the same result.
"""

import shutil
from collections.abc import Sequence
from contextlib import nullcontext, suppress
from pathlib import Path

from deltareg.client.asking.resolving import base_path, fetch_manifest, resolve, resolve_live
from deltareg.client.context import Context
from deltareg.client.disk.whole_folder import is_free, place_folder
from deltareg.client.fold.update import update
from deltareg.client.pull.included import select_files
from deltareg.client.pull.intact import find_intact, holds, remember_held
from deltareg.client.pull.lock_file import Lock, LockedBase, LockedDelta, folder_of, read_lock, write_lock
from deltareg.client.pull.pull import pull
from deltareg.client.results.lock_reports import LockedFolder, LockReport, SyncedFolder, SyncReport
from deltareg.digest import Digest
from deltareg.errors import Blocked, Conflict, Forbidden, InvalidInput, NotFound, Unavailable
from deltareg.host.shared_files import hold_folder
from deltareg.identity.manifest import Manifest
from deltareg.refs import Ref
from deltareg.wire import BaseInfo, VersionDetail


def lock(
    context: Context,
    file: Path,
    *,
    add: Sequence[tuple[str, str]] = (),
    drop: Sequence[str] = (),
    include: Sequence[str] = (),
) -> LockReport:
    """Lock what references mean now: those that are locked already, and added ones.

    Args:
        context: The client's surroundings.
        file: The lock file; it is created if it does not exist and something is added.
        add: References, each with its folder; only these are resolved then, all others stay.
        drop: Folders to remove from the lock.
        include: Patterns of the files that added folders are to hold; all without any.

    Raises:
        NotFound: A reference leads nowhere, or there is no lock file and nothing is added.
        InvalidInput: A pattern matches no file.
        Blocked: A version is revoked or deleted.
    """
    home = file.absolute().parent
    with hold_folder(home) if home.is_dir() else nullcontext():  # two at once: the second sees what the first wrote
        return _lock_now(context, file, add=add, drop=drop, include=include)


def _lock_now(
    context: Context, file: Path, *, add: Sequence[tuple[str, str]], drop: Sequence[str], include: Sequence[str]
) -> LockReport:
    before = read_lock(file) if file.exists() or not add else Lock(context.config.server)
    locked_refs = {each.folder: each.asked for each in before.deltas}
    locked_deltas = {each.folder: each for each in before.deltas}
    added_refs = {folder_of(file, folder): ref for ref, folder in add}
    dropped = {folder_of(file, folder) for folder in drop}
    if dropped - locked_refs.keys():
        raise NotFound(f"{min(dropped - locked_refs.keys())} is not locked", fix=f"see {file}")
    fresh = added_refs or ({} if dropped else locked_refs)
    refs = {folder: ref for folder, ref in (locked_refs | added_refs).items() if folder not in dropped}
    deltas: list[LockedDelta] = []
    bases = {base.name: base for base in before.bases}
    for folder, ref in sorted(refs.items()):
        if folder not in fresh:
            deltas.append(locked_deltas[folder])
            continue
        version = _lockable(context, ref)
        bases[version.base.name] = _locked_base(context, version)
        before_patterns = locked_deltas[folder].include if folder in locked_deltas else []
        patterns = list(include) if folder in added_refs else before_patterns
        select_files(fetch_manifest(context, version), patterns)
        deltas.append(_lock_version(folder, ref, version, patterns))
    base_names = {each.base for each in deltas}
    now = Lock(context.config.server, deltas, [base for base in bases.values() if base.name in base_names])
    is_changed = write_lock(file, now)
    was = {folder: each.ref for folder, each in locked_deltas.items()}
    return LockReport(
        file,
        is_changed,
        [
            LockedFolder(each.folder, each.asked, each.ref, each.digest, was.get(each.folder, ""))
            for each in read_lock(file).deltas
        ],
    )


def sync(context: Context, file: Path, *, is_frozen: bool = False, is_plan: bool = False) -> SyncReport:
    """Make the folders of a lock file match it.

    Args:
        context: The client's surroundings.
        file: The lock file, which is not changed.
        is_frozen: Whether to change nothing if a folder, a version or a base differs from the lock;
            missing folders are fetched.
        is_plan: Whether to only report what would be done.

    Raises:
        Conflict: A folder holds something that was not put there by this program.
        IntegrityFailure: The fetched version is not the locked one.
    """
    lock_content = read_lock(file)
    plan = [_look(context, file, lock_content, each, is_frozen=is_frozen) for each in lock_content.deltas]
    is_drifted = any(each.step == "drift" for each in plan)
    if is_plan or is_drifted:
        return SyncReport(is_plan, plan)
    return SyncReport(
        is_plan=False,
        folders=[_apply_step(context, each, step) for each, step in zip(lock_content.deltas, plan, strict=True)],
    )


def _lockable(context: Context, text: str) -> VersionDetail:
    version = resolve_live(context, Ref.parse(text), bare="prod")
    if version.is_revoked:
        raise Blocked(f"{version.ref} is revoked", fix=f"lock another one: deltareg ls {text}")
    return version


def _lock_version(folder: str, asked: str, version: VersionDetail, include: list[str]) -> LockedDelta:
    return LockedDelta(
        folder=folder,
        asked=asked,
        ref=version.ref,
        digest=version.digest,
        kind=version.kind,
        base=version.base.name,
        include=include,
    )


def _locked_base(context: Context, version: VersionDetail) -> LockedBase:
    """Return what a lock says about a version's base, as far as the caller may read it."""
    name, root = version.base.name, version.base.root
    with suppress(NotFound, Forbidden, InvalidInput):
        info = context.api.get(base_path(name), BaseInfo)
        return LockedBase(name=name, identity=info.identity, root=info.root, parts=info.parts)
    return LockedBase(name=name, identity=version.base.identity, root=root)


def _look(context: Context, file: Path, lock: Lock, each: LockedDelta, *, is_frozen: bool) -> SyncedFolder:
    """Return what has to be done about a folder."""
    folder = file.parent / each.folder
    manifest = _manifest(context, each)
    is_held = holds(context.cache, folder, manifest)
    if is_frozen:
        why = _drift(context, lock, each)
        if not (why or is_held or is_free(folder)):
            why = "the folder holds something else"
        if why:
            return SyncedFolder(folder, each.ref, "drift", why)
    if is_held:
        return SyncedFolder(folder, each.ref, "kept")
    if is_free(folder):
        return SyncedFolder(folder, each.ref, "fetched", "the folder is not there")
    return SyncedFolder(folder, each.ref, "replaced", "the folder holds something else")


def _manifest(context: Context, each: LockedDelta) -> Manifest:
    """Return the manifest of what a folder is to hold."""
    return select_files(_whole_manifest(context, each), each.include)


def _whole_manifest(context: Context, each: LockedDelta) -> Manifest:
    """Return the manifest of a locked version; without a request if the cache has it."""
    raw = context.cache.manifest(Digest.parse(each.digest))
    if raw is not None:
        return Manifest.decode(raw)
    return fetch_manifest(context, resolve_live(context, each.exact, bare="newest"))


def _drift(context: Context, lock: Lock, each: LockedDelta) -> str:
    """Describe how the registry differs from the lock; empty if it does not."""
    try:
        version = resolve(context, each.exact, bare="newest")
    except NotFound:
        return f"{each.ref} is not in the registry any more, by its digest"
    if version.is_deleted:
        return f"{each.ref} is deleted"
    if version.is_revoked:
        return f"{each.ref} is revoked"
    was, now = lock.base_of(each), _locked_base(context, version)
    if was is None:
        return f"the lock says nothing of the base {each.base}"
    if (was.root, was.identity) == (now.root, now.identity):
        return ""
    parts = sorted(name for name in was.parts.keys() | now.parts.keys() if was.parts.get(name) != now.parts.get(name))
    return f"the base {each.base} is another one: {', '.join(parts) or 'its tensors'}"


def _apply_step(context: Context, each: LockedDelta, step: SyncedFolder) -> SyncedFolder:
    if step.step == "kept":
        return step
    fetched_bytes = _fetch_folder(context, each, step)
    return SyncedFolder(step.folder, step.ref, step.step, step.why, fetched_bytes)


def _fetch_folder(context: Context, each: LockedDelta, step: SyncedFolder) -> int:
    if step.step == "replaced":
        return update(context, step.folder, str(each.exact), is_plan=False, include=each.include).fetched_bytes
    try:
        return pull(context, each.exact, step.folder, include=each.include).fetched_bytes
    except Conflict:  # somebody else made it meanwhile
        if holds(context.cache, step.folder, _manifest(context, each)):
            return 0
        raise
    except Unavailable:
        if _copy_cached(context, each, step.folder):
            return 0
        raise


def _copy_cached(context: Context, each: LockedDelta, folder: Path) -> bool:
    """Fill a folder from the cache alone, if it has the whole version; return whether it did."""
    cached = find_intact(context.cache, "snapshots", Digest.parse(each.digest), _whole_manifest(context, each))
    if cached is None:
        return False
    manifest = _manifest(context, each)
    with place_folder(folder) as draft:
        for file in manifest.files:
            (draft / file.path).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(cached / file.path, draft / file.path)
    is_whole = holds(context.cache, folder, manifest)
    if is_whole:
        remember_held(context.cache, folder, manifest)
    return is_whole
