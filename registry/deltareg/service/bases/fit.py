"""Whether a version would fit another base than its own, by the same accounting as a push.

Only headers and documents are read, no tensors. So the answer says that every tensor of the delta
would have its place; what the delta does there, only a verification can show.
"""

from collections.abc import Iterator, Sequence

import sqlalchemy as sa

from deltareg.db.bases import bases as base_queries
from deltareg.db.bases.rows import BaseRow
from deltareg.db.lines import versions as version_queries
from deltareg.db.session import read
from deltareg.db.storage.shares import PackHolder
from deltareg.delta.delta_manifest import Assessment, assess
from deltareg.delta.kind import ActivationHook, BaseCopy, BaseView, PrefixInsert, WeightUpdate
from deltareg.delta.maths.updates import Replacement, RowReplacement
from deltareg.delta.shapes import header_tensors
from deltareg.delta.updates_sparse import SparseElements
from deltareg.errors import BlobMissing, InvalidInput, NotFound, Problem, Refused
from deltareg.refs import Ref
from deltareg.service.authority.grants import Right
from deltareg.service.authority.resources import Base
from deltareg.service.corrupt import refuse_corrupt
from deltareg.service.deleted import refuse_deleted
from deltareg.service.describe import ref_of
from deltareg.service.digest_cache import decode_manifest, view_of_base
from deltareg.service.lines.cards import stored_as
from deltareg.service.registry import Caller, Registry
from deltareg.service.resolve import find_base, find_version
from deltareg.wire import FitInfo

_TOLD = 5


def show_fit(registry: Registry, caller: Caller, ref: Ref, base: str) -> FitInfo:
    """Return whether a version would fit another base, and if not, why.

    Raises:
        NotFound: There is no such version or base that the caller may see.
        InvalidInput: The base is a variant, or the version has no base.
        Blocked: The version is deleted.
        Corrupt: The stored bytes are not those of the version.
    """
    caller.require(Right.READ, on=ref.line)
    caller.require(Right.READ, on=Base(base))
    with read(registry.engine) as conn:
        row = find_version(conn, caller, ref, bare="newest")
        new, old = find_base(conn, caller, base), base_queries.base_of(conn, row)
        if old is None or new.scheme is not None:
            message = f"{base} is a variant" if old is not None else f"{ref_of(row)} is bound to none"
            raise InvalidInput(f"{message}: nothing is pushed for it", fix="name the base itself")
        refuse_deleted(row)
        refuse_corrupt(conn, caller, PackHolder(row.id), ref_of(row))
        before, after = _view(conn, old), _view(conn, new)
        documents = version_queries.content(conn, row.id)
        manifest = decode_manifest(row.manifest_digest, lambda: documents.manifest)
        readback = stored_as(conn, registry.store, row.namespace, documents.storage_map)
    try:
        files = readback.delta_files(manifest)
    except (BlobMissing, KeyError) as error:
        raise NotFound(f"the bytes of {ref_of(row)} are gone", fix="deltareg fsck --repair") from error
    try:
        assessment = assess(files, header_tensors(files), after, kind=manifest.kind)
    except Refused as refused:
        return _unfit(ref_of(row), new, refused.problems)
    if assessment.errors:
        return _unfit(ref_of(row), new, assessment.errors)
    return _fitting(ref_of(row), new, assessment, old=before, into=after)


def _view(conn: sa.Connection, base: BaseRow) -> BaseView:
    return view_of_base(base.manifest_digest, lambda: base_queries.base_content(conn, base.id).manifest)


def _unfit(ref: str, base: BaseRow, problems: Sequence[Problem]) -> FitInfo:
    errors = [each.message for each in problems if each.severity == "error"]
    more = [f"and {len(errors) - _TOLD} more"] if len(errors) > _TOLD else []
    return FitInfo(ref=ref, base=base.name, outcome="retrain", reasons=[*errors[:_TOLD], *more])


def _fitting(ref: str, base: BaseRow, found: Assessment, *, old: BaseView, into: BaseView) -> FitInfo:
    """Describe what to do with a version whose tensors all have their place."""
    touched = set(_find_touched(found, into))
    changed = [name for name in touched if _differs(name, old, into)]
    reasons: list[str] = []
    undone = {name for name in _find_replaced(found) if _differs(name, old, into)}
    if undone:
        reasons.append(
            f"its values are whole ones: they would undo what {base.name} changed in"
            f" {len(undone)} of {len(touched)} weights"
        )
    copies = [e.target for e in found.account.effects if isinstance(e, BaseCopy)]
    stale = [name for name in copies if _differs(name, old, into)]
    if stale:
        reasons.append(f"it carries copies of {len(stale)} weights that are other ones by now")
    return FitInfo(
        ref=ref,
        base=base.name,
        outcome="merge" if reasons else "verify",
        reasons=reasons,
        weights=len(touched),
        changed=len(changed),
    )


def _find_touched(found: Assessment, base: BaseView) -> Iterator[str]:
    """Yield the base's weights that a delta changes; all of them where it acts on activations."""
    for effect in found.account.effects:
        if isinstance(effect, WeightUpdate):
            yield effect.source
        elif isinstance(effect, ActivationHook | PrefixInsert):
            yield from base.tensors


def _find_replaced(found: Assessment) -> Iterator[str]:
    """Yield the base's weights, or parts of them, that a delta replaces with its own values."""
    for effect in found.account.effects:
        if isinstance(effect, WeightUpdate):
            update = effect.update
            is_absolute = isinstance(update, SparseElements) and update.is_absolute
            if isinstance(update, Replacement | RowReplacement) or is_absolute:
                yield effect.source


def _differs(name: str, old: BaseView, into: BaseView) -> bool:
    before, after = old.tensors.get(name), into.tensors.get(name)
    return before is None or after is None or before.digest != after.digest
