"""Push: recognise, account, encode against the base, send what is missing, commit."""

import time
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from deltareg.client.bases.bases import KnownBase
from deltareg.client.bases.named import named_base
from deltareg.client.context import Context
from deltareg.client.fold.version_base import find_push_base, store_if_new
from deltareg.client.folders.folder import Folder, open_folder
from deltareg.client.folders.hashing import FolderHashing
from deltareg.client.folders.known_folders import remember_version
from deltareg.client.folders.near_misses import check_is_whole
from deltareg.client.packs.stored_pieces import stored_of
from deltareg.client.packs.transfer import piece_sources, references, send_pieces
from deltareg.client.push.golden_before import find_golden
from deltareg.client.push.golden_of_push import GoldenChoice, take_golden
from deltareg.client.push.version_before import earlier_at_hand
from deltareg.client.results.reports import PushReport
from deltareg.client.trust.kept_signature import files_of, send_signed
from deltareg.delta.delta_manifest import Assessment, assess, build_delta_manifest
from deltareg.delta.examine import examine
from deltareg.delta.quantised.fit import packed_problems
from deltareg.digest import Digest
from deltareg.errors import InvalidInput, Refused, UploadClosed
from deltareg.identity.manifest import Manifest
from deltareg.refs import LineRef
from deltareg.wire import UploadComplete, UploadInfo, UploadOpen, VersionDetail, VersionInfo, request_of

if TYPE_CHECKING:
    from deltareg.signing.making import SigningCredentials

_TRIES = 8


@dataclass(frozen=True, slots=True)
class PushOptions:
    """What a push may say beside what it carries.

    Attributes:
        kind: A kind's name to insist on, or `auto`.
        convention: `absolute` or `additive`, for values that do not say so themselves.
        parents: Refs of the versions that this one was made from.
        message: For people.
        semver: A label such as `1.4.0`.
        labels: More labels.
        idempotency_key: Sent along, so that a repeated push is answered alike.
        golden: What to do about outputs that the delta has to give again.
        sign: What to sign the files with; None for no signature.
    """

    kind: str = "auto"
    convention: str = ""
    parents: Sequence[str] = ()
    message: str = ""
    semver: str | None = None
    labels: Mapping[str, str] = field(default_factory=dict[str, str])
    idempotency_key: str | None = None
    golden: GoldenChoice = field(default_factory=GoldenChoice)
    sign: "SigningCredentials | None" = None


def push(context: Context, path: Path, line: LineRef, *, base: str | None, options: PushOptions) -> PushReport:
    """Push a folder as a new version of a line; the same push again gives the same version.

    Without a base it is the one that the folder's own config names.

    Raises:
        Refused: The folder is not a delta of this base; nothing was sent.
    """
    started = time.monotonic()
    check_is_whole(path)
    if options.sign is not None:
        options.sign.check()
    with (
        open_folder(path, convention=options.convention) as folder,
        _hashing(context, folder) as hashing,  # which does not wait for what the server says
    ):
        wanted = find_push_base(context, base or named_base(context, path))
        known = wanted.known
        try:
            assessment = _accept(folder, known, options)
            stored = store_if_new(context, wanted)
            known = stored.known
            if known is not wanted.known:
                assessment = _accept(folder, known, options)
            asked = time.monotonic()
            golden = take_golden(
                folder,
                known,
                options.golden,
                path=path,
                library=assessment.kind.source.library,
                find_before=lambda: find_golden(context, line, hashing.finish().files),
            )
            started += time.monotonic() - asked  # a library that runs a model sends nothing
            parents = [context.api.get("/resolve", VersionDetail, ref=parent) for parent in options.parents]
            manifest = _manifest(folder, assessment, known, parents, hashing)
            signature = _signature(path, manifest, options.sign)
            version, uploaded = _send_patiently(context, folder, manifest, known, line, options, parents)
            remember_version(context.cache, manifest.digest, folder.path, folder.states())
            left_out = list(folder.left_out)
        finally:
            known.close()
    signed = None
    if options.sign is not None:
        public = options.sign.public()
        signed = send_signed(context, version, "signature", signature, public=public)
    warnings = [p for p in assessment.account.problems if p.severity == "warning"]
    seconds = time.monotonic() - started
    return PushReport(
        version,
        version.created,
        uploaded,
        seconds,
        left_out,
        warnings,
        stored.uploaded_bytes,
        signed,
        golden.told,
        golden.missing,
    )


def _signature(path: Path, manifest: Manifest, sign: "SigningCredentials | None") -> bytes:
    """Sign before anything is sent: what cannot be signed is then not pushed unsigned."""
    if sign is None:
        return b""
    from deltareg.signing.making import sign_files  # few sign

    return sign_files(path.absolute().name, files_of(manifest), sign)


def _accept(folder: Folder, known: KnownBase, options: PushOptions) -> Assessment:
    """Recognise and account, then look at the data; what is wrong is told before any byte goes."""
    assessment = assess(folder.files, folder.tensors, known.view, kind=options.kind)
    if assessment.errors:
        raise Refused([*packed_problems(known.view, known.name), *assessment.account.problems])
    found = examine(assessment.account, folder.tensors, known.tensors, folder.files)
    if any(problem.severity == "error" for problem in found):
        raise Refused(found)
    return assessment


def _hashing(context: Context, folder: Folder) -> FolderHashing:
    """Hash while the folder is looked at."""
    total = sum(file.size_bytes for file in folder.contents.values())
    return FolderHashing(folder, meter=context.progress.task("hashing", total))


def _manifest(
    folder: Folder, assessment: Assessment, known: KnownBase, parents: Sequence[VersionDetail], hashing: FolderHashing
) -> Manifest:
    hashed = hashing.finish()
    return build_delta_manifest(
        assessment,
        delta=folder.files,
        files=hashed.files,
        digests=hashed.digests,
        base=known.view,
        parents=[Digest.parse(parent.digest) for parent in parents],
    )


def _send_patiently(
    context: Context,
    folder: Folder,
    manifest: Manifest,
    known: KnownBase,
    line: LineRef,
    options: PushOptions,
    parents: Sequence[VersionDetail],
) -> tuple[VersionInfo, int]:
    """Send, and start over when the server gave the upload up meanwhile (a collection, say)."""
    request = request_of(
        UploadOpen,
        subject="delta",
        target=str(line),
        manifest=manifest.encode().decode(),
        message=options.message,
        semver=options.semver,
        labels=dict(options.labels),
        base=known.name,
        base_identity=known.identity,
        trained_on=known.trained_on,
        parents=[parent.ref for parent in parents],
    )
    for attempt in range(_TRIES):
        try:
            return _send(context, folder, manifest, known, request, options.idempotency_key, is_again=attempt > 0)
        except UploadClosed:
            if attempt == _TRIES - 1:
                raise
    raise AssertionError("unreachable: the last attempt returns or raises")


def _open(context: Context, request: UploadOpen) -> UploadInfo:
    """Open the upload; a server of the release before has no field for the parents' names."""
    try:
        return context.api.post("/uploads", request, UploadInfo)
    except InvalidInput as error:
        if not request.parents or "body.parents" not in error.message:
            raise
        bare = request.model_copy(update={"parents": []})
        return context.api.post("/uploads", bare, UploadInfo)


def _send(
    context: Context,
    folder: Folder,
    manifest: Manifest,
    known: KnownBase,
    request: UploadOpen,
    idempotency_key: str | None,
    *,
    is_again: bool,
) -> tuple[VersionInfo, int]:
    upload = _open(context, request)
    if upload.version is not None:
        return upload.version, 0
    pairs = {} if known.tensors is None else references(folder.tensors, known.view, known.tensors)
    stored = stored_of(upload)
    line = LineRef.parse(request.target)
    with earlier_at_hand(context, line, manifest, is_proven=is_again) as earlier:
        before = {} if earlier is None else earlier.references(manifest, stored)
        sources = piece_sources(folder, manifest, pairs, before)
        sent = send_pieces(context, upload, manifest, sources, stored)
    complete = UploadComplete(storage_map=sent.storage.encode().decode())
    folder.check_unchanged()
    # With a key, a completion whose answer was lost is answered again as the first time.
    key = idempotency_key or uuid.uuid4().hex
    done = context.api.post(f"/uploads/{upload.id}:complete", complete, UploadInfo, headers={"Idempotency-Key": key})
    if done.version is None:
        raise UploadClosed("the upload was given up meanwhile", fix="run the same push again")
    return done.version, sent.uploaded_bytes
