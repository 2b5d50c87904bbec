"""Diff: what differs between two versions; for LoRA, from the factors alone."""

from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

from deltareg.base_manifest import base_view
from deltareg.client.bases import base_manifest, base_path, find_base
from deltareg.client.context import Context
from deltareg.client.folder import open_folder
from deltareg.client.pull import Pulled, fetch, fetch_manifest, resolve
from deltareg.client.reports import DiffReport
from deltareg.compare import (
    WeightDifference,
    field_changes,
    file_changes,
    tensor_changes,
    weight_differences,
)
from deltareg.delta_manifest import assess
from deltareg.digest import Digest
from deltareg.kind import BaseView, Effect, Tensors
from deltareg.refs import Ref
from deltareg.wire import BaseInfo, VersionDetail

_OTHER_BASE = "the two are for different bases, so what they do to weights is not compared"
_NOT_FOLDABLE = "at least one of the two acts on activations, so weights are not compared"
_NO_BASE = "the base is not on this machine; weights that need it are listed without numbers"


def diff(context: Context, a: Ref, b: Ref, *, top: int) -> DiffReport:
    """Compare two versions.

    Args:
        context: The client's surroundings.
        a: The one before; a bare `ns/name` means the newest version.
        b: The one after.
        top: How many modules to keep, those that differ most first.
    """
    one, two = resolve(context, a, bare="newest"), resolve(context, b, bare="newest")
    before, after = fetch_manifest(context, one), fetch_manifest(context, two)
    modules: list[WeightDifference] = []
    if one.base.root != two.base.root:
        note = _OTHER_BASE
    elif not (one.foldable and two.foldable):
        note = _NOT_FOLDABLE
    else:
        pulled = fetch(context, one, before), fetch(context, two, after)
        modules, note = _modules(context, one, pulled)
    return DiffReport(
        one, two, file_changes(before, after), field_changes(before, after),
        tensor_changes(before, after), modules[:top], note,
    )  # fmt: skip


def _modules(
    context: Context, version: VersionDetail, pulled: tuple[Pulled, Pulled]
) -> tuple[list[WeightDifference], str]:
    info = context.api.get(base_path(version.base.name), BaseInfo)
    view = base_view(base_manifest(context.api, context.cache, info))
    root = Digest.parse(info.root)
    base = find_base(context.cache, root, location=info.location, progress=context.progress)
    try:
        tensors = None if base is None else base.tensors
        found = _compare(view, tensors, pulled)
    finally:
        if base is not None:
            base.folder.close()
    is_partial = any(module.relative_norm is None for module in found)
    found.sort(key=lambda m: (-(m.relative_norm or 0.0), m.module))
    return found, _NO_BASE if is_partial else ""


def _compare(
    view: BaseView, base: Tensors | None, pulled: tuple[Pulled, Pulled]
) -> list[WeightDifference]:
    with (
        _effects(pulled[0].path, view, pulled[0].version) as a,
        _effects(pulled[1].path, view, pulled[1].version) as b,
    ):
        return list(weight_differences(a, b, base))


@contextmanager
def _effects(path: Path, view: BaseView, version: VersionDetail) -> Generator[list[Effect]]:
    convention = str(version.config.get("convention", ""))
    with open_folder(path, convention=convention) as folder:
        yield list(assess(folder.files, folder.tensors, view).account.effects)
