"""Diff: what differs between two versions, of the same kind or of different kinds."""

from deltareg.client.asking.resolving import base_path, fetch_manifest, resolve_live
from deltareg.client.bases.bases import find_base
from deltareg.client.bases.which import base_manifest
from deltareg.client.context import Context
from deltareg.client.progress import Progress
from deltareg.client.pull.fetching import PulledVersion, fetch, trim
from deltareg.client.pull.pulled_version import open_version
from deltareg.client.results.diff_report import DiffReport
from deltareg.delta.base_manifest import base_view
from deltareg.delta.compare import (
    OTHER_PLACES,
    WeightDifference,
    are_apart,
    changed_weights,
    differences,
    field_changes,
    file_changes,
    tensor_changes,
)
from deltareg.delta.kind import BaseView, Tensors
from deltareg.digest import Digest
from deltareg.identity.whole_base import part_differences, tell_differences
from deltareg.refs import Ref
from deltareg.wire import BaseInfo, VersionDetail

_OTHER_BASE = "the two are for different bases, so what they do to weights is not compared"
_NO_BASE = "the base is not on this machine; weights that need it are listed without numbers"


def diff(context: Context, a: Ref, b: Ref, *, top: int, has_numbers: bool = True) -> DiffReport:
    """Compare two versions.

    Args:
        context: The client's surroundings.
        a: The version before; a bare `ns/name` means its newest version.
        b: The version after.
        top: How many modules to report, those that differ most first.
        has_numbers: Whether to fetch both and compare what each does to every module.
    """
    one, two = resolve_live(context, a, bare="newest"), resolve_live(context, b, bare="newest")
    before, after = fetch_manifest(context, one), fetch_manifest(context, two)
    modules: list[WeightDifference] = []
    is_same_base = one.base.root == two.base.root
    note = "" if is_same_base or not has_numbers else _OTHER_BASE
    if is_same_base and has_numbers:
        pulled = fetch(context, one, before), fetch(context, two, after)
        modules, note = _modules(context, one, pulled)
        note = note or _beside_tensors(context, one, two)
        trim(context)
    return DiffReport(
        one,
        two,
        file_changes(before, after),
        field_changes(before, after),
        tensor_changes(before, after),
        modules[:top],
        note,
    )


def _modules(
    context: Context, version: VersionDetail, pulled: tuple[PulledVersion, PulledVersion]
) -> tuple[list[WeightDifference], str]:
    info = context.api.get(base_path(version.base.name), BaseInfo)
    view = base_view(base_manifest(context.api, context.cache, info))
    root = Digest.parse(info.root)
    base = find_base(context.cache, root, progress=context.progress)
    try:
        tensors = None if base is None else base.tensors
        differences = _compare(view, tensors, pulled, context.progress)
    finally:
        if base is not None:
            base.folder.close()
    return differences, _note(differences)


def _beside_tensors(context: Context, one: VersionDetail, two: VersionDetail) -> str:
    """Describe how the bases of two versions differ when their tensors are the same."""
    if one.base.identity == two.base.identity:
        return ""
    infos = [context.api.get(base_path(v.base.name), BaseInfo) for v in (one, two)]
    before, after = (base_manifest(context.api, context.cache, info) for info in infos)
    return f"the two are for {one.base.name} and {two.base.name}: " + tell_differences(part_differences(before, after))


def _compare(
    view: BaseView, base: Tensors | None, pulled: tuple[PulledVersion, PulledVersion], progress: Progress
) -> list[WeightDifference]:
    with open_version(pulled[0], view) as a, open_version(pulled[1], view) as b:
        tensors = a.folder.tensors, b.folder.tensors
        meter = progress.task("comparing", len(changed_weights(a.effects, b.effects)))
        try:
            return differences(a.effects, b.effects, tensors, base, count=meter.add)
        finally:
            meter.close()


def _note(found: list[WeightDifference]) -> str:
    if any(module.relative_norm is None for module in found):
        return _NO_BASE
    return OTHER_PLACES if are_apart(found) else ""
