"""A version as a base: found, or folded here and stored, so that a delta can be pushed onto it.

The first push onto a version stores what folding gave; from then on it is a base like any other,
with the same bits for everybody, and nobody has to fold it again. Where these bytes are damaged,
the next push onto it folds it once more and brings them anew.
"""

from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from deltareg.client.asking.resolving import base_path, resolve
from deltareg.client.bases.bases import KnownBase, find_base, remember_base, resolve_base, told_identity
from deltareg.client.bases.hub import hub_folder
from deltareg.client.bases.which import base_manifest
from deltareg.client.context import Context
from deltareg.client.disk.kept_files import make_read_only
from deltareg.client.fold.materialize import fold_version, folded_before, note_fold
from deltareg.client.folders.base_folder import BaseFolder, open_base, whole_beside
from deltareg.client.folders.near_misses import means_folder
from deltareg.client.packs.transfer import piece_sources, references, send_pieces
from deltareg.client.pull.base_fetching import fetch_base_counted
from deltareg.client.pull.fetching import trim
from deltareg.codec import PieceSource
from deltareg.delta.base_manifest import base_view
from deltareg.delta.stack import check_stackable
from deltareg.errors import InvalidInput, NotFound, Refused, UploadClosed
from deltareg.refs import Ref
from deltareg.wire import BaseInfo, UploadComplete, UploadInfo, UploadOpen, VersionDetail, request_of

_TRIES = 8


@dataclass(slots=True)
class PushBase:
    """A base to push onto; as a context manager it closes the base's folder at the end.

    Attributes:
        base: The base; `store_if_new` may put in its place what the server stores of it.
        version: The version that it is, while the server does not know it as a base yet, or has
            damaged or false bytes of it.
        uploaded_bytes: Bytes sent so that the server knows it; None where it did before.
    """

    base: KnownBase
    version: VersionDetail | None = None
    uploaded_bytes: int | None = None

    def __enter__(self) -> Self:
        """Use it in a `with` block."""
        return self

    def __exit__(self, *_: object) -> None:
        """Close the base's folder, if there is one."""
        self.base.close()


def open_named_base(context: Context, text: str) -> KnownBase:
    """Find the base that `--base` means: a folder, for which no server is asked, a name, a version.

    Raises:
        NotFound: There is no such base or version.
    """
    if means_folder(text) and Path(text).is_dir():
        folder = open_base(Path(text), context.cache, progress=context.progress)
        return KnownBase(Path(text).name, folder.view, folder.tensors, folder)
    return find_push_base(context, text).base


def find_push_base(context: Context, text: str) -> PushBase:
    """Find what `--base` means: a folder, a base's name, a version, or a model of the hub's cache.

    A version that was not a base before is folded into the cache; nothing is sent.

    Raises:
        NotFound: There is no such base or version.
        InvalidInput: The version cannot be folded, or the stack would be too high.
        Blocked: The version is revoked.
    """
    try:
        return _push_base(context, text)
    except (InvalidInput, NotFound):
        place = None if Path(text).exists() else hub_folder(text)
        if place is None:
            raise
        return _push_base(context, str(place))


def _push_base(context: Context, text: str) -> PushBase:
    if Path(text).exists() or not ("/" in text or ":" in text):
        return PushBase(resolve_base(context.api, context.cache, text, progress=context.progress))
    if ":" not in text and "@" not in text:
        with suppress(InvalidInput, NotFound):  # no base's name: what else it may be is said below
            return PushBase(resolve_base(context.api, context.cache, text, progress=context.progress))
    version = _stackable(context, text)
    recorded = _load_recorded(context, version)
    if recorded is not None and not recorded.is_corrupt:
        return PushBase(recorded.base)
    if recorded is not None:
        recorded.base.close()
    folder = _fold(context, version)
    identity = str(folder.identity.whole.identity) if version.base.identity else ""
    base = KnownBase(version.ref, folder.view, folder.tensors, folder, identity=identity)
    return PushBase(base, version)


def store_if_new(context: Context, onto: PushBase) -> bool:
    """Store a version that becomes a base with this push, where the server has no good bytes of it.

    Somebody else may have stored another fold of it meanwhile, with other last bits. Theirs counts
    and takes the place of ours; True then: what was checked against ours has to be checked again.
    """
    if onto.version is None or onto.base.folder is None:
        return False
    try:
        onto.uploaded_bytes = store_version_base(context, onto.version, onto.base.folder)
    except Refused as refused:
        recorded = _load_recorded(context, onto.version)
        if refused.problem_code != "base_mismatch" or recorded is None or recorded.is_corrupt:
            raise
    else:
        if onto.uploaded_bytes is not None:
            return False
        recorded = _load_recorded(context, onto.version)
        if recorded is None:
            return False
    onto.base.close()
    onto.base = recorded.base
    return True


def _stackable(context: Context, text: str) -> VersionDetail:
    ref = _parse(text)
    version = resolve(context, ref, bare="newest")
    if version.is_deleted:
        raise NotFound(f"{version.ref} is deleted", fix=f"deltareg log {ref.line}")
    depth, revoked = max(len(version.stack), 1), version.is_revoked
    check_stackable(version.ref, foldable=version.foldable, depth=depth, is_revoked=revoked)
    return version


def _parse(text: str) -> Ref:
    try:
        ref = Ref.parse(text)
    except InvalidInput as error:
        raise InvalidInput(
            f"not a base: {text[:120]!r} is no folder, no base's name and no version",
            fix="deltareg base ls, or name a version: ns/name:v3",
        ) from error
    if ref.is_bare:
        raise InvalidInput(
            f"not a base: {text[:120]!r} is no folder, and as a delta it needs a version",
            fix=f"name one: {ref}:v3 or {ref}@prod",
        )
    return ref


@dataclass(frozen=True, slots=True)
class _Recorded:
    """A version that is a base already, with its bytes when they are at hand."""

    base: KnownBase
    is_corrupt: bool


def _load_recorded(context: Context, version: VersionDetail) -> _Recorded | None:
    try:
        info = context.api.get(base_path(version.ref), BaseInfo)
    except NotFound:
        return None
    manifest = base_manifest(context.api, context.cache, info)
    view = base_view(manifest)
    folder = find_base(context.cache, view.root, progress=context.progress)
    tensors = None if folder is None else folder.tensors
    identity = told_identity(info, manifest)
    base = KnownBase(info.name, view, tensors, folder, identity=identity)
    return _Recorded(base, is_corrupt=info.proof == "corrupt")


def _fold(context: Context, version: VersionDetail) -> BaseFolder:
    """Fold a version into the cache, unless its result is on this machine already."""
    cache = context.cache
    known = folded_before(cache, version)
    found = None if known is None else find_base(cache, known[0], progress=context.progress)
    if found is not None and known is not None:
        if found.identity.whole.identity == known[1]:
            return found
        found.folder.close()
    with cache.draft() as draft:
        root = fold_version(context, version, draft).root
        identity = whole_beside(draft, root).identity
        target = cache.folder_path("bases", identity)
        target.parent.mkdir(parents=True, exist_ok=True)
        if cache.find_folder("bases", identity) is None:
            make_read_only(draft)
            _move(draft, target)
    note_fold(cache, version, root, target)
    remember_base(cache, root, target)
    trim(context, keep={target})
    return open_base(target, cache, progress=context.progress)


def _move(draft: Path, target: Path) -> None:
    try:
        draft.rename(target)
    except OSError:
        if not target.is_dir():  # else another process made the same at the same time
            raise


def store_version_base(context: Context, version: VersionDetail, folder: BaseFolder) -> int | None:
    """Store a folder as what a version is as a base, and give the bytes that were sent.

    Args:
        context: The client's surroundings.
        version: The version.
        folder: What folding it gave.

    Returns:
        None when the server had it already.

    Raises:
        Refused: The server has another fold of it, or this cannot be one.
    """
    below = _info(context, version.base.name)
    bottom = below if below.bottom is None else _info(context, below.bottom.name)
    request = request_of(UploadOpen, subject="base", target=version.ref, manifest=folder.manifest.encode().decode())
    with fetch_base_counted(context, bottom, tensors_only=True)[0] as ground:
        pairs = references(folder.tensors, ground.view, ground.tensors)
        sources = piece_sources(folder.folder, folder.manifest, pairs)
        for attempt in range(_TRIES):
            try:
                return _send(context, request, folder, sources)
            except UploadClosed:
                if attempt == _TRIES - 1:
                    raise
    raise AssertionError("unreachable: the last attempt returns or raises")


def _send(context: Context, request: UploadOpen, folder: BaseFolder, sources: list[PieceSource]) -> int | None:
    upload = context.api.post("/uploads", request, UploadInfo)
    if upload.base is not None:
        return None
    sent = send_pieces(context, upload, folder.manifest, sources)
    folder.folder.check_unchanged()
    complete = UploadComplete(storage_map=sent.storage.encode().decode())
    context.api.post(f"/uploads/{upload.id}:complete-base", complete, BaseInfo)
    return sent.uploaded_bytes


def _info(context: Context, name: str) -> BaseInfo:
    return context.api.get(base_path(name), BaseInfo)
