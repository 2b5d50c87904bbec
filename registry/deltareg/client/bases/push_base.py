"""Pushes a base with its bytes, or registers it without them."""

from pathlib import Path

from deltareg.client.bases.bases import remember_base
from deltareg.client.bases.hub import hub_folder, hub_id_of
from deltareg.client.context import Context
from deltareg.client.folders.base_folder import BaseFolder, open_base
from deltareg.client.packs.transfer import piece_sources, send_pieces
from deltareg.client.results.reports import Fingerprint
from deltareg.delta.layouts.peft.marks import marks
from deltareg.errors import InvalidInput, UploadClosed
from deltareg.identity.base_claims import BaseClaim
from deltareg.refs import parse_base
from deltareg.wire import BaseForm, BaseInfo, UploadComplete, UploadInfo, UploadOpen, request_of

_TRIES = 8


def push_base(context: Context, path: Path, name: str, *, form: BaseForm | None = None) -> BaseInfo:
    """Push a base with its bytes; one that the server already has is only looked up.

    Raises:
        Refused: The name belongs to another base.
        InvalidInput: The folder holds an adapter.
    """
    name = _parse_name(path, name)
    path = _place(path)
    with open_base(path, context.cache, progress=context.progress) as base:
        _check(base)
        for attempt in range(_TRIES):
            try:
                info = _send(context, base, name, form or BaseForm())
                break
            except UploadClosed:
                if attempt == _TRIES - 1:
                    raise
        else:
            raise AssertionError("unreachable: the last attempt breaks or raises")
        remember_base(context.cache, base.identity.root, path)
        return info


def register_base(context: Context, path: Path, name: str, *, form: BaseForm | None = None) -> BaseInfo:
    """Register a base by its fingerprint; its bytes stay where they are.

    Raises:
        Refused: The name belongs to another base.
        InvalidInput: The folder holds an adapter.
    """
    name = _parse_name(path, name)
    path = _place(path)
    with open_base(path, context.cache, progress=context.progress) as base:
        _check(base)
        request = _request(base, name, form or BaseForm(), register_only=True)
        upload = context.api.post("/uploads", request, UploadInfo)
        remember_base(context.cache, base.identity.root, path)
        if upload.base is not None:
            return upload.base
        return context.api.post(f"/uploads/{upload.id}:register-base", None, BaseInfo)


def fingerprint(context: Context, path: Path) -> Fingerprint:
    """Fingerprint a local base without asking a server."""
    with open_base(_place(path), context.cache, progress=context.progress) as base:
        return Fingerprint(
            root=base.identity.root,
            tensors=len(base.view.tensors),
            size_bytes=base.manifest.logical_bytes,
            model_type=str(base.manifest.config.get("model_type", "")),
            config_digest=base.identity.config,
            tokenizer_digest=base.identity.tokenizer,
            identity=base.identity.whole.identity,
            parts=base.identity.whole.parts,
        )


def _parse_name(path: Path, name: str) -> str:
    """Parse the name of a new base; an id of the hub in its place is no name."""
    try:
        return parse_base(name)
    except InvalidInput as error:
        hub_id = BaseClaim("", name).hub_id
        if "/" not in hub_id:
            raise
        own = hub_id.rpartition("/")[2].lower()
        raise InvalidInput(
            error.message, fix=f"name it, with its id on the hub: deltareg base push {path} {own} --hub-id {name}"
        ) from error


def _check(base: BaseFolder) -> None:
    """Refuse a folder that holds a delta: no delta could ever be pushed onto it."""
    files = base.folder.contents
    if "config.json" in files or not ("adapter_config.json" in files or marks(base.view.tensors)):
        return
    raise InvalidInput(
        f"{base.path} holds an adapter, not a base", fix=f"deltareg push {base.path} NS/NAME --base NAME"
    )


def _place(path: Path) -> Path:
    """Return the folder that is meant: the path itself, or a model in the hub's cache by its id."""
    return path if path.exists() else hub_folder(str(path)) or path


def _request(base: BaseFolder, name: str, form: BaseForm, *, register_only: bool) -> UploadOpen:
    hub_id = hub_id_of(base.path)
    hub_ids = list(dict.fromkeys([*form.hub_ids, *([hub_id] if hub_id else [])]))
    return request_of(
        UploadOpen,
        subject="base",
        target=name,
        manifest=base.manifest.encode().decode(),
        location=str(base.path.absolute()),
        register_only=register_only,
        form=form.model_copy(update={"hub_ids": hub_ids}).model_dump(),
    )


def _send(context: Context, base: BaseFolder, name: str, form: BaseForm) -> BaseInfo:
    request = _request(base, name, form, register_only=False)
    upload = context.api.post("/uploads", request, UploadInfo)
    if upload.base is not None:
        return upload.base
    sources = piece_sources(base.folder, base.manifest, {})
    uploaded = send_pieces(context, upload, base.manifest, sources)
    base.folder.check_unchanged()
    complete = UploadComplete(storage_map=uploaded.storage.encode().decode())
    info = context.api.post(f"/uploads/{upload.id}:complete-base", complete, BaseInfo)
    return info.model_copy(update={"uploaded_bytes": uploaded.uploaded_bytes})
