"""Push: recognise, account, encode against the base, send what is missing, commit."""

import shlex
import time
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from deltareg.client.bases.bases import KnownBase
from deltareg.client.context import Context
from deltareg.client.fold.version_base import store_if_new
from deltareg.client.folders.folder import Folder, open_delta
from deltareg.client.folders.hashing import FolderDigests, FolderHashing
from deltareg.client.folders.known_folders import remember_pushed
from deltareg.client.packs.stored_pieces import stored_of
from deltareg.client.packs.transfer import piece_sources, references, send_pieces
from deltareg.client.push.golden_of_push import UNSEEN, GoldenChoice, GoldenOutcome, PushedDelta, take_golden
from deltareg.client.push.line_before import LineBefore
from deltareg.client.push.push_target import PushBases, find_push_target
from deltareg.client.push.version_before import earlier_at_hand
from deltareg.client.results.reports import PushReport
from deltareg.client.trust.kept_signature import files_of, send_signed
from deltareg.delta.delta_manifest import Assessment, assess, build_delta_manifest
from deltareg.delta.examine import examine
from deltareg.delta.quantised.fit import packed_problems
from deltareg.digest import Digest
from deltareg.errors import InvalidInput, Problem, Refused, UploadClosed
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
        trained_on: The base that it was trained on, or a variant of it, whatever its own files say.
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
    trained_on: str | None = None


@dataclass(frozen=True, slots=True)
class PreparedDelta:
    """A delta that its base accepts, ready to be sent.

    Attributes:
        folder: The opened folder that it lies in.
        base: The base, as the server knows it.
        manifest: What the version will be.
        raw: The manifest, encoded.
        before: The line that it is pushed to.
        base_claim: What its files say of its base, where the publisher insists on another.
    """

    folder: Folder
    base: KnownBase
    manifest: Manifest
    raw: bytes
    before: LineBefore
    base_claim: str | None = None

    @property
    def digest(self) -> Digest:
        """The digest of its manifest."""
        return Manifest.digest_of(self.raw)


def push(context: Context, path: Path, line: LineRef, *, base: str | None, options: PushOptions) -> PushReport:
    """Push a folder as a new version of a line; the same push again gives the same version.

    Without a base it is the one that the folder's own files name. The folder is only read.

    Raises:
        Refused: The folder is not a delta of this base, or names another one; nothing was sent.
    """
    with PushBases(context) as bases:
        return push_onto(bases, path, line, base=base, options=options)


def push_onto(bases: PushBases, path: Path, line: LineRef, *, base: str | None, options: PushOptions) -> PushReport:
    """Push a folder as `push` does, onto a base that may be known by now."""
    started, context = time.monotonic(), bases.context
    if options.sign is not None:
        options.sign.check()
    with (
        open_delta(path, convention=options.convention) as folder,
        _hashing(context, folder) as hashing,  # which does not wait for what the server says
    ):
        target = find_push_target(bases, folder, line, base=base, trained_on=options.trained_on)
        onto = target.onto
        assessment = _accept(folder, onto.base, options)
        if store_if_new(context, onto):
            assessment = _accept(folder, onto.base, options)
        parents = [context.api.get("/resolve", VersionDetail, ref=parent) for parent in options.parents]

        manifest_now = _ManifestNow(folder, assessment, onto.base, parents, hashing)
        paused = time.monotonic()
        before = LineBefore(context, line)
        delta = PushedDelta(folder, onto.base, before, assessment.kind.source.library, manifest_now)
        golden = take_golden(context, delta, options.golden)
        started += time.monotonic() - paused  # a library that runs a model sends nothing
        manifest = manifest_now()
        signature = _sign(folder, manifest, options.sign)
        prepared = PreparedDelta(folder, onto.base, manifest, manifest.encode(), before, target.base_claim)
        sent = _send_patiently(context, prepared, options, parents)
        version, uploaded = sent.version, sent.uploaded_bytes
        remember_pushed(context.cache, prepared.digest, prepared.raw, folder)
        left_out = list(folder.left_out)
    # From now on it is a base like any other, for the next push as well.
    base_uploaded_bytes, onto.version, onto.uploaded_bytes = onto.uploaded_bytes, None, None
    signed = None
    if options.sign is not None:
        signed = send_signed(context, version, "signature", signature, public=options.sign.public())
    return PushReport(
        version=version,
        created=version.created,
        uploaded_bytes=uploaded,
        seconds=time.monotonic() - started,
        left_out=left_out,
        warnings=[
            *(p for p in assessment.account.problems if p.severity == "warning"),
            *_kept_message(version, options.message),
        ],
        base_uploaded_bytes=base_uploaded_bytes,
        signature=signed,
        golden=golden.described,
        golden_missing=golden.missing,
        notes=[*target.notes, *_golden_notes(version, golden, options), *sent.notes],
    )


def _golden_notes(version: VersionInfo, golden: GoldenOutcome, options: PushOptions) -> list[str]:
    """Say what became of other outputs, and once a line what goes unseen without any of the training."""
    is_first = version.created and version.version == 1
    is_unaware = is_first and not golden.shows_damage and not options.golden.is_left_out
    return [*([golden.note] if golden.note else []), *([UNSEEN] if is_unaware else [])]


def _kept_message(version: VersionInfo, message: str) -> list[Problem]:
    """Warn where bytes that were there already keep the message that they came with."""
    if not message or message == version.message:
        return []
    return [
        Problem(
            "conflict",
            f"{version.ref} was there and keeps its message, {version.message!r};"
            f" to replace it: deltareg edit {version.ref} -m {shlex.quote(message)}",
            severity="warning",
        )
    ]


def _sign(folder: Folder, manifest: Manifest, sign: "SigningCredentials | None") -> bytes:
    """Sign before anything is sent: what cannot be signed is then not pushed unsigned."""
    if sign is None:
        return b""
    from deltareg.signing.making import sign_files  # few sign

    return sign_files(folder.source.absolute().name, files_of(manifest), sign)


def _accept(folder: Folder, base: KnownBase, options: PushOptions) -> Assessment:
    """Recognise and account, then look at the data; what is wrong is told before any byte goes."""
    assessment = assess(folder.files, folder.tensors, base.view, kind=options.kind)
    if assessment.errors:
        raise Refused([*packed_problems(base.view, base.name), *assessment.account.problems])
    found = examine(assessment.account, folder.tensors, base.tensors, folder.files)
    if any(problem.severity == "error" for problem in found):
        raise Refused(found)
    return assessment


def _hashing(context: Context, folder: Folder) -> FolderHashing:
    """Hash while the folder is looked at."""
    total = sum(file.size_bytes for file in folder.contents.values())
    return FolderHashing(folder, meter=context.progress.task("hashing", total))


class _ManifestNow:
    """Builds the manifest of what a folder holds by now, anew only where that is something else."""

    def __init__(
        self,
        folder: Folder,
        assessment: Assessment,
        base: KnownBase,
        parents: Sequence[VersionDetail],
        hashing: FolderHashing,
    ) -> None:
        self._folder, self._assessment, self._base = folder, assessment, base
        self._parents = [Digest.parse(parent.digest) for parent in parents]
        self._hashing = hashing
        self._built: tuple[FolderDigests, Manifest] | None = None

    def __call__(self) -> Manifest:
        hashed = self._hashing.finish()
        if self._built is None or self._built[0] is not hashed:
            manifest = build_delta_manifest(
                self._assessment,
                delta=self._folder.files,
                files=hashed.files,
                digests=hashed.digests,
                base=self._base.view,
                parents=self._parents,
            )
            self._built = hashed, manifest
        return self._built[1]


def _send_patiently(
    context: Context, delta: PreparedDelta, options: PushOptions, parents: Sequence[VersionDetail]
) -> "_Sent":
    """Send, and start over when the server gave the upload up meanwhile (a collection, say)."""
    request = request_of(
        UploadOpen,
        subject="delta",
        target=str(delta.before.line),
        manifest=delta.raw.decode(),
        message=options.message,
        semver=options.semver,
        labels=dict(options.labels),
        base=delta.base.name,
        base_identity=delta.base.identity,
        trained_on=delta.base.trained_on,
        base_claim=delta.base_claim,
        parents=[parent.ref for parent in parents],
    )
    for attempt in range(_TRIES):
        try:
            return _send(context, delta, request, options.idempotency_key, is_again=attempt > 0)
        except UploadClosed:
            if attempt == _TRIES - 1:
                raise
            delta.before.forget()
    raise AssertionError("unreachable: the last attempt returns or raises")


def _open(context: Context, request: UploadOpen) -> UploadInfo:
    """Open the upload; servers of releases before have no field for parents' names or a denied claim."""
    try:
        return context.api.post("/uploads", request, UploadInfo)
    except InvalidInput as error:
        if "body.parents" not in error.message and "body.base_claim" not in error.message:
            raise
        bare = request.model_copy(update={"base_claim": None})
        if "body.parents" in error.message:
            bare = bare.model_copy(update={"parents": []})
        return context.api.post("/uploads", bare, UploadInfo)


def _send(
    context: Context, delta: PreparedDelta, request: UploadOpen, idempotency_key: str | None, *, is_again: bool
) -> "_Sent":
    upload = _open(context, request)
    if upload.version is not None:
        return _Sent(upload.version)
    base, folder, manifest = delta.base, delta.folder, delta.manifest
    pairs = {} if base.tensors is None else references(folder.tensors, base.view, base.tensors)
    stored = stored_of(upload)
    with earlier_at_hand(delta.before, manifest, delta.digest, is_proven=is_again) as earlier:
        before = {} if earlier is None else earlier.references(manifest, stored)
        sources = piece_sources(folder, manifest, pairs, before)
        sent = send_pieces(context, upload, manifest, sources, stored)
    complete = UploadComplete(storage_map=sent.storage.encode().decode(), if_newest=context.config.newest_for_others)
    folder.check_unchanged()
    # With a key, a completion whose answer was lost is answered again as the first time.
    key = idempotency_key or uuid.uuid4().hex
    done = context.api.post(f"/uploads/{upload.id}:complete", complete, UploadInfo, headers={"Idempotency-Key": key})
    if done.version is None:
        raise UploadClosed("the upload was given up meanwhile", fix="run the same push again")
    return _Sent(done.version, sent.uploaded_bytes, done.notes)


@dataclass(frozen=True, slots=True)
class _Sent:
    """The version that a push became, the bytes that it took, and what the server notes about it."""

    version: VersionInfo
    uploaded_bytes: int = 0
    notes: Sequence[str] = ()
