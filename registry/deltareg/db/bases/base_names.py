"""The other names of bases, by one statement for any number of them."""

from collections.abc import Iterable, Sequence
from typing import Final

import sqlalchemy as sa

from deltareg.db.bases.base_identities import is_deleted
from deltareg.db.bases.bases import select_relations
from deltareg.db.bases.rows import AliasRow, CalledRow, HubIdRow, OwnRelationRow, OwnVariantRow
from deltareg.db.bases.variants import select_hub_ids
from deltareg.db.sql.among import among, write_ids
from deltareg.db.sql.fetch import fetch_all
from deltareg.db.sql.together import CombinedQuery, CombinedResult, QueryPart
from deltareg.db.tables import base_aliases, base_hub_ids, base_identities, base_relations, base_variants, bases

_IDS: sa.BindParameter[str] = sa.bindparam("ids", type_=sa.Text)
RELATIONS: Final = QueryPart(
    select_relations().add_columns(base_relations.c.base_id).where(among(base_relations.c.base_id, _IDS)),
    OwnRelationRow,
    order=(base_relations.c.id,),
)
VARIANTS: Final = QueryPart(
    sa.select(base_variants.c.root_id, bases.c.name, bases.c.root, base_identities.c.identity)
    .select_from(bases)
    .join(base_variants, base_variants.c.base_id == bases.c.id)
    .outerjoin(base_identities, base_identities.c.base_id == bases.c.id)
    .where(among(base_variants.c.root_id, _IDS), ~is_deleted()),
    OwnVariantRow,
    order=(bases.c.name,),
)
ALIASES: Final = QueryPart(
    sa.select(base_aliases.c.base_id, base_aliases.c.name).where(among(base_aliases.c.base_id, _IDS)),
    AliasRow,
    order=(base_aliases.c.name,),
)
HUB_IDS: Final = QueryPart(
    select_hub_ids().where(among(base_hub_ids.c.base_id, _IDS)),
    HubIdRow,
    order=(base_hub_ids.c.hub_id, base_hub_ids.c.revision),
)
_NAMES: Final = CombinedQuery(RELATIONS, VARIANTS, ALIASES, HUB_IDS)


def all_names(conn: sa.Connection) -> Sequence[CalledRow]:
    """List all names of bases: their own, former ones, and hub ids."""
    own = sa.select(bases.c.name.label("base"), bases.c.name.label("called"))
    former = sa.select(bases.c.name, base_aliases.c.name).join(base_aliases, base_aliases.c.base_id == bases.c.id)
    of_hub = sa.select(bases.c.name, base_hub_ids.c.hub_id).join(base_hub_ids, base_hub_ids.c.base_id == bases.c.id)
    return fetch_all(conn, sa.union(own, former, of_hub), CalledRow)


def names_of(conn: sa.Connection, base_ids: Iterable[int]) -> CombinedResult:
    """Fetch the relations, variants, aliases and hub ids of some bases."""
    return _NAMES.run(conn, ids=write_ids(base_ids))
