"""The subject of a proof: a version or a base, and where its pieces belong."""

from dataclasses import dataclass

import sqlalchemy as sa

from deltareg.db.bases import bases as base_queries
from deltareg.db.lines import versions as version_queries
from deltareg.db.storage.shares import PackHolder
from deltareg.service.authority.resources import Base, Resource
from deltareg.service.describe import line_of, ref_of
from deltareg.service.events import Action
from deltareg.service.registry import BASES, namespace_scope


@dataclass(frozen=True, slots=True)
class ProofSubject:
    """A version or a base whose bytes are proven.

    Attributes:
        held: Its row.
        name: Its name in the audit trail.
        on: The resource that rights on it apply to.
        scope: The scope in which its pieces are offered.
        reference_root: The root of the base that they may be encoded against; empty for none.
    """

    held: PackHolder
    name: str
    on: Resource
    scope: str
    reference_root: str

    @property
    def proved(self) -> Action:
        """The action of a proof."""
        return Action.BASE_PROVE if self.held.is_base else Action.VERSION_PROVE

    @property
    def lied(self) -> Action:
        """The action of finding it corrupt."""
        return Action.BASE_CORRUPT if self.held.is_base else Action.VERSION_CORRUPT

    @property
    def doubted(self) -> Action:
        """The action of a proof that no longer counts."""
        return Action.BASE_DOUBT if self.held.is_base else Action.VERSION_DOUBT

    @property
    def healed(self) -> Action:
        """The action of bytes that replace corrupt ones."""
        return Action.BASE_HEAL if self.held.is_base else Action.VERSION_HEAL


def subject_of(conn: sa.Connection, held: PackHolder) -> ProofSubject:
    """Return the subject of a proof."""
    if held.is_base:
        base = base_queries.base_rows(conn, base_id=held.row_id, limit=1, also_deleted=True)[0]
        on = Base(base.name)
        scope = BASES if on.namespace is None else namespace_scope(on.namespace)
        return ProofSubject(held, f"base/{base.name}", on, scope, base.bottom_root or "")
    version = version_queries.version_by_id(conn, held.row_id)
    return ProofSubject(held, ref_of(version), line_of(version), namespace_scope(version.namespace), version.base_root)
