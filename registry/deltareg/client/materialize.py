"""Materialize: base + delta = a full model, streamed a block of rows at a time.

The result has the base's file names and shards. Weights that the delta does not touch are copied;
others are folded in float32 and rounded once (`deltareg.fold`).
"""

import json
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import cast

from deltareg.array import from_f32, to_f32, view
from deltareg.client.base_folder import BaseFolder
from deltareg.client.bases import base_path, need_base, remember_base
from deltareg.client.cache import Cache, out_of_space
from deltareg.client.context import Context
from deltareg.client.fetch import write_checked
from deltareg.client.folder import Folder, open_folder
from deltareg.client.placing import is_free, placed
from deltareg.client.progress import Meter
from deltareg.client.pull import fetch, fetch_base, fetch_manifest, resolve
from deltareg.client.reports import PullReport
from deltareg.client.weights_file import Slot, write_header
from deltareg.delta_manifest import assess
from deltareg.digest import Digest, open_tensor_hasher
from deltareg.errors import Conflict, IntegrityFailure, InvalidInput
from deltareg.fingerprint import TensorRecord, fingerprint
from deltareg.fold import BLOCK_ROWS, RECIPE, Folding
from deltareg.formula import Tensor
from deltareg.refs import Ref
from deltareg.stack import BESIDE_WEIGHTS, stacked_config
from deltareg.tensors import FLOAT_DTYPES, ITEM_BYTES, SafetensorsHeader
from deltareg.wire import BaseInfo, VersionDetail

_DTYPES = {"keep": None, "bf16": "BF16", "f16": "F16", "f32": "F32"}
_CONFIG_DTYPES = {"BF16": "bfloat16", "F16": "float16", "F32": "float32"}
_INDEX = ".safetensors.index.json"
_CONFIG = "config.json"


@dataclass(frozen=True, slots=True)
class _Job:
    """One materialization under way."""

    base: BaseFolder
    delta: Folder
    folding: Folding
    dtype: str | None
    meter: Meter
    records: list[TensorRecord]


def materialize(
    context: Context,
    ref: Ref,
    out: Path,
    *,
    base: Path | None,
    dtype: str,
    expect: str | None,
) -> PullReport:
    """Fold a version into its base and write the full model.

    Raises:
        InvalidInput: The delta cannot be folded, or the dtype is none of keep, bf16, f16, f32.
        BaseMismatch: `base` is not the base that the delta was made for.
        IntegrityFailure: The result's root is not the expected one.
    """
    started = time.monotonic()
    if dtype not in _DTYPES:
        raise InvalidInput(f"no dtype {dtype!r}", fix=f"use {', '.join(_DTYPES)}")
    if not is_free(out):
        raise Conflict(f"{out} exists and is not empty", fix="name another folder with --out")
    version = resolve(context, ref, bare="prod")
    if not version.foldable:
        raise InvalidInput(
            f"{version.ref} ({version.kind}) cannot be folded into weights",
            fix="attach it to the running base instead",
        )
    options = FoldOptions(base=base, dtype=_DTYPES[dtype], expect=expect)
    made = fold_version(context, version, out, options)
    if options.dtype is None:
        note_fold(context.cache, version, made.root)
        remember_base(context.cache, made.root, out)
    return PullReport(
        version.ref, out, version.digest, made.fetched_bytes, made.cached_bytes,
        time.monotonic() - started, root=str(made.root), recipe=_recipe(),
    )  # fmt: skip


@dataclass(frozen=True, slots=True)
class FoldOptions:
    """How a version is folded.

    Attributes:
        base: The folder of the base; found by its root when it is None.
        dtype: In which floats are written; None keeps each as it is.
        expect: The root that the result must have.
    """

    base: Path | None = None
    dtype: str | None = None
    expect: str | None = None


@dataclass(frozen=True, slots=True)
class Folded:
    """What folding wrote: its root, and how many bytes had to come for it."""

    root: Digest
    fetched_bytes: int
    cached_bytes: int


def fold_version(
    context: Context, version: VersionDetail, out: Path, options: FoldOptions | None = None
) -> Folded:
    """Fold a version into its base, which may itself be a version, and write the full model.

    Raises:
        BaseMismatch: The base named is not the one that the delta was made for.
        IntegrityFailure: The result's root is not the expected one.
    """
    options = options or FoldOptions()
    root = Digest.parse(version.base.root)
    folder = (
        fetch_base(context, context.api.get(base_path(version.base.name), BaseInfo))
        if options.base is None
        else need_base(
            context.cache, root, version.base.name, options.base, progress=context.progress
        )
    )
    with folder:
        pulled = fetch(context, version, fetch_manifest(context, version))
        meter = context.progress.task(f"folding {version.ref}", folder.manifest.logical_bytes)
        try:
            with open_folder(pulled.path, convention=_convention(version.config)) as delta:
                found = _write(folder, delta, out, options.dtype, meter, options.expect)
        finally:
            meter.close()
    return Folded(found, pulled.fetched_bytes, pulled.cached_bytes)


def note_fold(cache: Cache, version: VersionDetail, root: Digest) -> None:
    """Note the root that folding a version gave here; the folder may be found by it later."""
    cache.keep_note(_fold_note(version), str(root).encode())


def folded_root(cache: Cache, version: VersionDetail) -> Digest | None:
    """Give the root that folding a version gave here before."""
    raw = cache.note(_fold_note(version))
    try:
        return None if raw is None else Digest.parse(raw.decode())
    except (InvalidInput, UnicodeDecodeError):  # damaged: it is found out again
        return None


def _fold_note(version: VersionDetail) -> str:
    return f"fold-{Digest.parse(version.digest).hex}"


def _recipe() -> str:
    return f"{RECIPE.library}, {RECIPE.block_rows} rows at a time, in {RECIPE.dtype}"


def _convention(config: Mapping[str, object]) -> str:
    return str(config.get("convention", ""))


def _write(
    base: BaseFolder, delta: Folder, out: Path, dtype: str | None, meter: Meter, expect: str | None
) -> Digest:
    assessment = assess(delta.files, delta.tensors, base.view)
    if assessment.errors:
        raise IntegrityFailure(f"the stored delta is refused now: {assessment.errors[0].message}")
    folding = Folding(assessment.account.effects, base.tensors)
    job = _Job(base, delta, folding, dtype, meter, [])
    with placed(out) as draft, out_of_space(draft):
        _write_weights(job, draft)
        _copy_rest(job, draft)
        root = fingerprint(job.records)
        if expect is not None and expect != str(root):
            raise IntegrityFailure(
                f"the result has the root {root}, not {expect}",
                fix="check base and version; folds of other machines may differ in last bits",
            )
    return root


def _write_weights(job: _Job, draft: Path) -> None:
    headers = job.base.folder.files.headers
    untied = [t for t in job.folding.changed if t not in job.base.view.tensors]
    extra = [*sorted(untied), *sorted(job.folding.additions)]
    added: dict[str, str] = {}
    for path, header in headers.items():
        is_last = path == max(headers)
        names = [*header.tensors, *(extra if is_last else [])]
        added |= dict.fromkeys(extra if is_last else [], path)
        slots = [_slot(job, header, name) for name in names]
        target = draft / path
        target.parent.mkdir(parents=True, exist_ok=True)
        body = _body(job, slots, header.metadata)
        write_checked(target, body, expected=None, meter=job.meter)
    _write_index(job, draft, added)


def _slot(job: _Job, header: SafetensorsHeader, name: str) -> Slot:
    if name in job.folding.changed:
        dtype, shape = job.folding.dtype(name), job.folding.shape(name)
    elif name in job.folding.additions:
        tensor = job.folding.additions[name]
        dtype, shape = tensor.dtype, tensor.shape
    else:
        info = header.tensors[name]
        dtype, shape = info.dtype, info.shape
    if job.dtype is not None and dtype in FLOAT_DTYPES:
        dtype = job.dtype
    return Slot(name, dtype, shape)


def _body(job: _Job, slots: list[Slot], metadata: Mapping[str, str]) -> Iterator[bytes]:
    yield write_header(slots, metadata)
    for slot in slots:
        hasher = open_tensor_hasher(slot.dtype, slot.shape)
        for block in _rows(job, slot):
            hasher.update(block)
            yield block
        digest = Digest("blake3", hasher.hexdigest())
        job.records.append(TensorRecord(slot.name, slot.dtype, slot.shape, digest))


def _rows(job: _Job, slot: Slot) -> Iterator[bytes]:
    """Give a tensor's bytes by blocks of rows: folded, added or as the base has it."""
    folding, name = job.folding, slot.name
    if name in folding.changed:
        if slot.dtype == folding.dtype(name):
            yield from folding.rows(name)
        else:
            yield from (from_f32(block, slot.dtype).tobytes() for block in folding.blocks(name))
        return
    tensor = folding.additions.get(name) or job.base.tensors[name]
    yield from _cast(tensor, slot.dtype)


def _cast(tensor: Tensor, dtype: str) -> Iterator[bytes]:
    height = tensor.shape[0] if tensor.shape else 1
    for start in range(0, height, BLOCK_ROWS):
        stop = min(start + BLOCK_ROWS, height)
        block = tensor.read(start, stop)
        if tensor.dtype == dtype:
            yield bytes(block)
            continue
        shape = (stop - start, *tensor.shape[1:]) if tensor.shape else ()
        yield from_f32(to_f32(view(block, tensor.dtype, shape), tensor.dtype), dtype).tobytes()


def _write_index(job: _Job, draft: Path, added: Mapping[str, str]) -> None:
    """Write the index of a sharded model again when tensors or sizes differ from the base's."""
    for name, document in job.base.folder.documents.items():
        if not name.endswith(_INDEX):
            continue
        places = _mapping(document.get("weight_map"))
        total = sum(prod(r.shape) * ITEM_BYTES[r.dtype] for r in job.records)
        content = {**document, "metadata": {"total_size": total}, "weight_map": {**places, **added}}
        (draft / name).write_text(json.dumps(content, indent=2) + "\n")


def _copy_rest(job: _Job, draft: Path) -> None:
    """Copy what is beside the weights; the delta's own tokenizer and config win."""
    for name, file in job.base.folder.contents.items():
        if file.header is None and not name.endswith(_INDEX):
            target = draft / name
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(file.data)
    for name, file in job.delta.contents.items():
        if file.header is None and name in BESIDE_WEIGHTS:
            (draft / name).write_bytes(file.data)
    path = draft / _CONFIG
    config = _mapping(json.loads(path.read_bytes())) if path.exists() else {}
    changed = stacked_config(job.folding, config, None)
    if job.dtype is not None:
        key = "torch_dtype" if "torch_dtype" in config else "dtype"
        changed[key] = _CONFIG_DTYPES[job.dtype]
    if config and changed != config:
        path.write_text(json.dumps(changed, indent=2) + "\n")


def _mapping(value: object) -> dict[str, object]:
    return cast("dict[str, object]", value) if isinstance(value, dict) else {}
