"""Pull: uses what is here already, fetches the rest, and keeps the cache within its limits."""

import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from deltareg.client.asking.bundles import HAD_MOST, BroughtVersion, ask_versions, lately_pulled
from deltareg.client.asking.resolving import fetch_manifest
from deltareg.client.context import Context
from deltareg.client.disk.whole_folder import is_free
from deltareg.client.pull.included import select_files
from deltareg.client.pull.installed import noted_installed, remember_installed
from deltareg.client.pull.intact import find_intact, holds, remember_held
from deltareg.client.results.proofs import FilesProof
from deltareg.client.results.pull_report import Attachment, PullReport
from deltareg.client.trust.kept_signature import keep_signature
from deltareg.digest import Digest
from deltareg.errors import Conflict, InvalidInput
from deltareg.identity.manifest import Manifest
from deltareg.refs import Ref
from deltareg.wire import VersionDetail

if TYPE_CHECKING:
    from deltareg.client.trust.signers import TrustedSigner


def pull(
    context: Context,
    ref: Ref,
    to: Path | None,
    *,
    include: Sequence[str] = (),
    is_temporary: bool = False,
    signers: "Sequence[TrustedSigner]" = (),
) -> PullReport:
    """Write a version's files into a folder, or into the cache if no folder is named.

    Args:
        context: The client's surroundings.
        ref: The version.
        to: The folder.
        include: Patterns of the files to pull; all without any. Updates of the folder keep to them.
        is_temporary: Whether the folder will be removed soon and need not be remembered.
        signers: Who must have signed the files; this is checked before anything is fetched.

    Raises:
        BadSignature: One of them has not signed.
        InvalidInput: A pattern matches no file, or no folder is named for a part of the files.
        Conflict: The folder exists and holds something else.
        IntegrityFailure: A byte is not what was pushed.
    """
    started = time.monotonic()
    if include and to is None:
        raise InvalidInput("a part of a version is pulled into a folder", fix="name one: --to DIR")
    brought = ask_versions(context, [ref], bare="prod", have=_had(context, ref, to), is_whole=not include)[0]
    return _put(context, brought, to, include=include, is_temporary=is_temporary, signers=signers, started=started)


def _had(context: Context, ref: Ref, to: Path | None) -> list[str]:
    """Return digests of versions that are probably here already, in the folder or in the cache, likeliest first."""
    note = noted_installed(context.cache, to) if to is not None and to.is_dir() else None
    return [*(() if note is None else (note.digest,)), *lately_pulled(context, ref)]


def _put(
    context: Context,
    brought: BroughtVersion,
    to: Path | None,
    *,
    include: Sequence[str],
    is_temporary: bool,
    signers: "Sequence[TrustedSigner]",
    started: float,
) -> PullReport:
    """Put the files of a version where they are wanted."""
    version = brought.version
    manifest = fetch_manifest(context, version)
    proofs = _require_signatures(context, version, manifest, signers)
    signed = proofs[0].body if proofs else ""
    chosen = select_files(manifest, include)
    here = _here(context, Digest.parse(version.digest), chosen, to)
    if here is not None:
        if to is not None:
            _remember(context, version, to, signed, include)
        counted = (brought.fetched_bytes, chosen.logical_bytes)
        return _report(context, version, manifest, here, counted=counted, started=started, proofs=proofs)
    # Looked at again: another pull may have brought it since.
    if to is not None and not is_free(to) and not holds(context.cache, to, chosen):
        raise Conflict(f"{to} exists and holds something else than {version.ref}", fix=_fix(context, to, version.ref))
    from deltareg.client.pull import fetching  # brings NumPy, which a pull of what is here spares

    is_noted = not is_temporary and not include
    pulled = fetching.fetch(context, version, chosen, to=to, is_noted=is_noted, storage=brought.storage)
    if to is not None and not is_temporary:
        remember_held(context.cache, to, chosen)
        _remember(context, version, to, signed, include)
    fetching.trim(context, keep={pulled.path})
    fresh_bytes = brought.fetched_bytes  # the cache has had them for a moment only
    byte_counts = (pulled.fetched_bytes + fresh_bytes, max(0, pulled.cached_bytes - fresh_bytes))
    return _report(context, version, manifest, pulled.path, counted=byte_counts, started=started, proofs=proofs)


def pull_several(
    context: Context,
    refs: Sequence[Ref],
    to: Path,
    *,
    include: Sequence[str] = (),
    signers: "Sequence[TrustedSigner]" = (),
) -> list[PullReport]:
    """Pull versions into folders of one folder, each named like its line; none if a reference fails.

    What several of them need is fetched once.

    Raises:
        InvalidInput: Two of them would lie in one folder.
        NotFound: A reference leads nowhere.
    """
    by_name: dict[str, Ref] = {}
    for ref in refs:
        other = by_name.setdefault(ref.line.name, ref)
        if other is not ref:
            raise InvalidInput(
                f"{other} and {ref} would both lie in {to / ref.line.name}",
                fix=f"pull one of them by itself: deltareg pull {ref} --to DIR",
            )
    started = time.monotonic()
    folders = [to / ref.line.name for ref in refs]
    have = [each for ref, folder in zip(refs, folders, strict=True) for each in _had(context, ref, folder)[:HAD_MOST]]
    asked = ask_versions(context, refs, bare="prod", have=have, is_whole=not include)
    reports: list[PullReport] = []
    for brought, folder in zip(asked, folders, strict=True):
        reports.append(
            _put(context, brought, folder, include=include, is_temporary=False, signers=signers, started=started)
        )
        started = time.monotonic()
    return reports


def _remember(context: Context, version: VersionDetail, to: Path, signed: str, include: Sequence[str]) -> None:
    """Note what a folder holds; a signature is of all files, and lies beside all of them only."""
    if not include:
        keep_signature(context, version, to, signed)
    remember_installed(context.cache, to, version, include=include)


def _require_signatures(
    context: Context, version: VersionDetail, manifest: Manifest, signers: "Sequence[TrustedSigner]"
) -> Sequence[FilesProof]:
    if not signers:
        return ()
    from deltareg.client.trust import signed_folders  # brings what verifies

    return signed_folders.require_signatures(context, version, manifest, signers)


def _report(
    context: Context,
    version: VersionDetail,
    manifest: Manifest,
    path: Path,
    *,
    counted: tuple[int, int],
    started: float,
    proofs: Sequence[FilesProof],
) -> PullReport:
    def put_on(model: object, include: Sequence[str]) -> Attachment:
        from deltareg.client.pull.attaching import attach  # brings NumPy

        return attach(context, version, path, model, include)

    return PullReport(
        version.ref,
        path,
        version.digest,
        *counted,
        time.monotonic() - started,
        manifest,
        put_on,
        revocation=version.revocation,
        deprecation=version.deprecation,
        signed_by=tuple(proof.signed_by for proof in proofs),
    )


def _fix(context: Context, to: Path, ref: str) -> str:
    if noted_installed(context.cache, to) is None:
        return "name another folder with --to, or empty this one"
    return f"make it that version: deltareg update {to} --to {ref}; or name another folder"


def _here(context: Context, digest: Digest, manifest: Manifest, to: Path | None) -> Path | None:
    """Return the folder where a version's files are wanted, if they are there already."""
    if to is None:
        return find_intact(context.cache, "snapshots", digest, manifest)
    return to if holds(context.cache, to, manifest) else None
