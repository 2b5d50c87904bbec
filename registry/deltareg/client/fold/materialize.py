"""Materialize: base + delta = a full model; finds, fetches and checks both first."""

import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from deltareg.client.asking.resolving import base_path, fetch_manifest, resolve_live
from deltareg.client.bases.bases import need_base, remember_base
from deltareg.client.bases.which import base_manifest
from deltareg.client.cache.cache import Cache
from deltareg.client.context import Context
from deltareg.client.disk.whole_folder import is_free
from deltareg.client.fold.fold_folder import FoldableDelta, fold_folder
from deltareg.client.folders.base_folder import BaseFolder, open_base, whole_beside
from deltareg.client.folders.folder import open_folder
from deltareg.client.progress import Meter
from deltareg.client.pull.base_fetching import fetch_base_counted
from deltareg.client.pull.fetching import fetch, read_stored, trim
from deltareg.client.pull.installed import InstalledVersion, noted_fold, noted_installed, remember_installed
from deltareg.client.pull.stored_source import Held
from deltareg.client.results.pull_report import MaterializeReport
from deltareg.codec import ReadRange
from deltareg.delta.fold import RECIPE
from deltareg.delta.kinds import holds_results
from deltareg.digest import Digest
from deltareg.errors import BaseMismatch, Conflict, IntegrityFailure, InvalidInput, NotFound, Refused
from deltareg.identity.manifest import Manifest
from deltareg.refs import Ref
from deltareg.wire import BaseInfo, VersionDetail

_EXPECT = "write blake3: and 64 hex digits, the fingerprint that materialize prints"
_DTYPES = {"keep": None, "bf16": "BF16", "f16": "F16", "f32": "F32"}


def materialize(
    context: Context, ref: Ref, out: Path, *, base: Path | None, dtype: str, expect: str | None
) -> MaterializeReport:
    """Fold a version into its base and write the full model.

    A folder that already holds exactly that, every file as written, is left as it is.

    Raises:
        InvalidInput: The delta cannot be folded, or the dtype is not one of keep, bf16, f16, f32.
        Conflict: The folder holds something else.
        BaseMismatch: `base` is not the base that the delta was made for.
        IntegrityFailure: The result's root is not the expected one.
    """
    started = time.monotonic()
    if dtype not in _DTYPES:
        raise InvalidInput(f"no dtype {dtype!r}", fix=f"use {', '.join(_DTYPES)}")
    if expect is not None and Digest.parse(expect).algorithm != "blake3":
        raise InvalidInput(f"{expect[:19]}… is no fingerprint of weights", fix=_EXPECT)
    there = None if is_free(out) else noted_fold(context.cache, out)
    if not is_free(out) and (there is None or dtype != "keep"):
        raise Conflict(f"{out} exists and is not empty", fix=_fix(context, out, ref))
    version = resolve_live(context, ref, bare="prod")
    if there is not None:
        root = _root_there(context, version, out, there, expect=expect)
        return _report(version, out, FoldOutcome(root, 0, 0), started)
    if not version.foldable:
        raise InvalidInput(
            f"{version.ref} ({version.kind}) cannot be folded into weights", fix="attach it to the running base instead"
        )
    options = FoldOptions(base=_folder_meant(context, version, base), dtype=_DTYPES[dtype], expect=expect)
    outcome = fold_version(context, version, out, options)
    if options.dtype is None:
        note_fold(context.cache, version, outcome.root, out)
        remember_base(context.cache, outcome.root, out)
        remember_installed(context.cache, out, version, root=str(outcome.root))
    trim(context)
    return _report(version, out, outcome, started)


def _report(version: VersionDetail, out: Path, made: "FoldOutcome", started: float) -> MaterializeReport:
    return MaterializeReport(
        version.ref,
        out,
        version.digest,
        made.fetched_bytes,
        made.cached_bytes,
        time.monotonic() - started,
        root=str(made.root),
        recipe=_recipe(),
        revocation=version.revocation,
        trained_on=version.trained_on,
    )


def _folder_meant(context: Context, version: VersionDetail, base: Path | None) -> Path | None:
    """Return the folder that `--base` names; None for the name of the version's own base, which is found.

    Raises:
        BaseMismatch: It is the name of another base.
        NotFound: It is neither a folder nor the name of a base.
    """
    if base is None or base.exists():
        return base
    try:
        info = context.api.get(base_path(str(base)), BaseInfo)
    except (InvalidInput, NotFound) as error:
        raise NotFound(
            f"{base} is no folder, and no base here has that name",
            fix=f"leave --base out, or name {version.base.name} or its folder",
        ) from error
    is_equal = bool(info.identity) and info.identity == version.base.identity
    if info.name != version.base.name and not is_equal:
        raise BaseMismatch(
            f"{version.ref} is for {version.base.name}, not for {info.name}",
            fix=f"leave --base out, or name {version.base.name}",
        )
    return None


def _root_there(
    context: Context, version: VersionDetail, out: Path, noted: InstalledVersion, *, expect: str | None
) -> Digest:
    """Return the root of a folder that holds a version folded before, every file as written.

    Raises:
        Conflict: The folder holds another version, or was written to since.
        IntegrityFailure: Its root is not the expected one.
    """
    root = _root_of(context, out)
    if not noted.is_of(version) or str(root) != noted.root:
        raise Conflict(
            f"{out} exists and holds something else than {version.ref}", fix=_fix(context, out, Ref.parse(version.ref))
        )
    if expect is not None and expect != str(root):
        raise IntegrityFailure(
            f"{out} holds {version.ref} already, and its root is {root}, not {expect}",
            fix="check base and version; folds of other machines may differ in last bits",
        )
    return root


def _root_of(context: Context, folder: Path) -> Digest:
    """Fingerprint a folder; files that were not touched since the last time are not read."""
    with open_base(folder, context.cache, progress=context.progress) as base:
        return base.identity.root


def _fix(context: Context, out: Path, ref: Ref) -> str:
    installed = noted_installed(context.cache, out)
    if installed is None or not installed.root:
        return "name another folder with --out"
    return f"make it that version: deltareg update {out} --to {ref}; or name another folder"


@dataclass(frozen=True, slots=True)
class FoldOptions:
    """How a version is folded.

    Attributes:
        base: The folder of the base; None to find it by its root.
        dtype: The dtype to write floats in; None keeps that of each tensor.
        expect: The root that the result must have.
        held: Pieces of the version and of its base that are at hand and need not be fetched.
    """

    base: Path | None = None
    dtype: str | None = None
    expect: str | None = None
    held: Held = field(default_factory=dict[Digest, ReadRange], repr=False)


@dataclass(frozen=True, slots=True)
class FoldOutcome:
    """The result of folding: its root, and how many bytes were fetched for it."""

    root: Digest
    fetched_bytes: int
    cached_bytes: int


def fold_version(
    context: Context, version: VersionDetail, out: Path, options: FoldOptions | None = None
) -> FoldOutcome:
    """Fold a version into its base, which may itself be a version, and write the full model.

    Raises:
        BaseMismatch: The base named is not the one that the delta was made for.
        IntegrityFailure: The result's root is not the expected one.
    """
    options = options or FoldOptions()
    folder, came = _base_of(context, version, options)
    with folder:
        manifest = fetch_manifest(context, version)
        meter = context.progress.task(f"folding {version.ref}", folder.manifest.logical_bytes)

        def fold(delta: FoldableDelta) -> Digest:
            return _fold(folder, delta, out, options, meter)

        try:
            if _is_streamed(context, version, manifest, options):
                packs, root = read_stored(context, version, manifest, fold, meter=meter, held=options.held)
                return FoldOutcome(root, came + packs.fetched_bytes, packs.cached_bytes)
            pulled = fetch(context, version, manifest, held=options.held)
            with open_folder(pulled.path, convention=_convention(version.config)) as delta:
                return FoldOutcome(fold(delta), came + pulled.fetched_bytes, pulled.cached_bytes)
        finally:
            meter.close()


def _base_of(context: Context, version: VersionDetail, options: FoldOptions) -> tuple[BaseFolder, int]:
    """Open exactly the base of a version, and return how many bytes were fetched for it.

    Raises:
        BaseMismatch: The given folder holds another base.
        IntegrityFailure: The server has another base under its name.
    """
    info = context.api.get(base_path(version.base.name), BaseInfo)
    record = base_manifest(context.api, context.cache, info)
    identities = {"", version.base.identity}
    if info.root != version.base.root or (version.base.identity and info.identity not in identities):
        raise IntegrityFailure(f"{info.name} is not the base that {version.ref} was pushed for")
    if options.base is None:
        return fetch_base_counted(context, info, held=options.held)
    return need_base(context.cache, record, info.name, options.base, progress=context.progress), 0


def _is_streamed(context: Context, version: VersionDetail, manifest: Manifest, options: FoldOptions) -> bool:
    """Whether to write the result straight from packs, without a folder of the version."""
    snapshot = context.cache.find_folder("snapshots", Digest.parse(version.digest))
    return snapshot is None and holds_results(manifest.kind) and options.dtype is None


def note_fold(cache: Cache, version: VersionDetail, root: Digest, folder: Path) -> None:
    """Record the result of folding a version here, so that the folder can be found by it later."""
    identity = whole_beside(folder, root).identity
    cache.keep_note(_fold_note(version), f"{root} {identity}".encode())


def folded_before(cache: Cache, version: VersionDetail) -> tuple[Digest, Digest] | None:
    """Return root and identity of the result of folding a version here before; None if unknown."""
    raw = cache.note(_fold_note(version))
    try:
        root, identity = (b"" if raw is None else raw).decode().split(" ")
        return Digest.parse(root), Digest.parse(identity)
    except (InvalidInput, ValueError):  # none, or damaged: it is found out again
        return None


def _fold_note(version: VersionDetail) -> str:
    # The same delta on another base with the same tensors is the same version digest.
    base = version.base.identity or version.base.root
    return f"folded-{Digest.parse(version.digest).hex}-{Digest.parse(base).hex[:16]}"


def _recipe() -> str:
    return f"{RECIPE.library}, {RECIPE.block_rows} rows at a time, in {RECIPE.dtype}"


def _convention(config: Mapping[str, object]) -> str:
    return str(config.get("convention", ""))


def _fold(base: BaseFolder, delta: FoldableDelta, out: Path, options: FoldOptions, meter: Meter) -> Digest:
    try:
        return fold_folder(base, delta, out, dtype=options.dtype, expect=options.expect, meter=meter)
    except Refused as refused:
        raise IntegrityFailure(f"the stored delta is refused now: {refused}") from refused
