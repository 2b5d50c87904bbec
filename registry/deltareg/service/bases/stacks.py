"""A version that becomes a base: whether it may, and whether the claimed result can be true.

Its tensors are uploaded like those of any base and compared with the version and the base below it
(`deltareg.delta.stack`). The server reads headers and digests, and folds nothing.
"""

from dataclasses import dataclass

import sqlalchemy as sa

from deltareg.db.bases import bases as base_queries
from deltareg.db.bases import stacks as queries
from deltareg.db.bases.rows import BaseRow
from deltareg.db.lines import versions as version_queries
from deltareg.db.lines.version_rows import VersionRow
from deltareg.db.session import read
from deltareg.db.sql.row_protocols import present
from deltareg.db.storage import packs as pack_queries
from deltareg.delta.base_manifest import CONFIG_FILE, base_view
from deltareg.delta.delta_manifest import assess
from deltareg.delta.kind import DeltaFiles
from deltareg.delta.shapes import header_tensors
from deltareg.delta.stack import Stacking, check_stackable
from deltareg.digest import Digest
from deltareg.errors import Blocked, Conflict, InvalidInput, NotFound, Refused
from deltareg.identity.fingerprint import TensorRecord
from deltareg.identity.manifest import Manifest
from deltareg.identity.storage_map import StorageMap
from deltareg.refs import Ref
from deltareg.service.describe import ref_of
from deltareg.service.lines.revoked import revoked_below
from deltareg.service.readback import Readback
from deltareg.service.registry import Caller, Registry, namespace_scope
from deltareg.service.resolve import find_version

FINETUNED_FROM_RULE = "1"
"""Version of the rule by which a folded version is a fine-tune of the base below it."""


@dataclass(frozen=True, slots=True)
class StackFoundation:
    """What becomes a base: a version and what it is folded into.

    Attributes:
        version: The version.
        below: Its base.
        depth: How many versions are folded, itself included.
        bottom_id: The base at the foot of the stack.
        bottom_root: The root of that base; stored bytes may be encoded against its tensors.
    """

    version: VersionRow
    below: BaseRow
    depth: int
    bottom_id: int
    bottom_root: str


def is_version_base(target: str) -> bool:
    """Whether the target of an upload is a version folded into its base."""
    return ":" in target


def parse_version_base(target: str) -> Ref:
    """Parse the target of an upload that makes a version a base.

    Raises:
        InvalidInput: The target names no version by its number.
    """
    ref = Ref.parse(target)
    if ref.version is None or str(ref) != target or ref.host:
        raise InvalidInput(f"not a version: {target[:120]!r}", fix="write ns/name:v3")
    return ref


def find_ground(conn: sa.Connection, caller: Caller, target: str) -> StackFoundation:
    """Find a version that is to become a base, and what it stands on.

    Raises:
        NotFound: The version does not exist, or is deleted.
        InvalidInput: The version cannot be folded, or the stack would be too high.
        Blocked: The version, or what it stands on, is revoked.
    """
    version = find_version(conn, caller, parse_version_base(target), bare="newest")
    if version.deleted_at is not None:
        raise NotFound(f"{target} is deleted", fix="name another version")
    below = base_queries.base_of(conn, version)
    if below is None:
        raise NotFound(f"the base of {target} is not here")
    depth = (below.depth or 0) + 1
    lower = revoked_below(conn, version)
    if lower:
        raise Blocked(f"{target} {lower}", fix="use a version that has nothing of it")
    is_revoked = version.revoked_at is not None
    check_stackable(target, foldable=version.foldable, depth=depth, is_revoked=is_revoked)
    if below.version_id is None:
        return StackFoundation(version, below, depth, below.id, below.root)
    return StackFoundation(version, below, depth, present(below.bottom_id), present(below.bottom_root))


def bottom_records(conn: sa.Connection, ground: StackFoundation) -> dict[str, TensorRecord]:
    """Return the tensors of the base at the foot, by name."""
    raw = base_queries.base_content(conn, ground.bottom_id).manifest
    return Manifest.decode(raw).records()


def check_result(registry: Registry, ground: StackFoundation, result: Manifest) -> str:
    """Check a claimed result against the version and its base; return its recipe.

    Raises:
        Refused: Folding cannot give this result.
    """
    with read(registry.engine) as conn:
        below = Manifest.decode(base_queries.base_content(conn, ground.below.id).manifest)
        content = version_queries.content(conn, ground.version.id)
    delta, view = Manifest.decode(content.manifest), base_view(below)
    try:
        files = _files_of(registry, ground.version, delta)
    except NotFound:  # stored in another way meanwhile, perhaps, and the old packs are collected
        files = _files_of(registry, ground.version, delta)
    assessment = assess(files, header_tensors(files), view)
    if assessment.errors:
        raise Refused(assessment.errors)
    own = files.documents.get(CONFIG_FILE)
    stacking = Stacking(assessment.account, delta, below, view, own)
    problems = stacking.problems(result)
    if problems:
        raise Refused(problems)
    return stacking.recipe()


def record_stack(conn: sa.Connection, ground: StackFoundation, base_id: int, *, recipe: str) -> None:
    """Record which version a new base is, with its recipe.

    Raises:
        Conflict: The version was deleted meanwhile.
    """
    version = ground.version
    if version.id not in pack_queries.lock_versions(conn, [version.id]):
        raise Conflict(f"{ref_of(version)} was deleted meanwhile", fix="name another version")
    queries.record_version_base(
        conn, base_id, version_id=version.id, bottom_id=ground.bottom_id, depth=ground.depth, recipe=recipe
    )
    base_queries.add_relation(
        conn, base_id, other_root=ground.below.root, relation="finetuned_from", rule_version=FINETUNED_FROM_RULE
    )


def _files_of(registry: Registry, version: VersionRow, manifest: Manifest) -> DeltaFiles:
    """Read the headers and documents of a version from where its storage map places them now."""
    with read(registry.engine) as conn:
        raw = version_queries.content(conn, version.id).storage_map
        storage = StorageMap.decode(raw)
        scope = namespace_scope(version.namespace)
        locations = pack_queries.physical_keys(conn, scope, (str(p.digest) for p in storage.packs))
    keys = {Digest.parse(digest): key for digest, (key, _) in locations.items()}
    if len(keys) < len(storage.packs):
        raise NotFound(f"the bytes of {ref_of(version)} are gone", fix="deltareg fsck --repair")
    return Readback(registry.store, keys, storage).delta_files(manifest)
