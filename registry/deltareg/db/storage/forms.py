"""Stored forms of versions beside the served ones, and the packs that they hold."""

from collections.abc import Iterable, Sequence
from typing import Any, Final

import sqlalchemy as sa

from deltareg.db.sql.clock import now_us
from deltareg.db.sql.fetch import fetch_all, fetch_known, fetch_one
from deltareg.db.sql.together import CombinedQuery, QueryPart
from deltareg.db.storage.proof_rows import FormRow, ServedFormRow, ServedNowRow
from deltareg.db.tables import form_packs, forms, packs, principals, versions


def add_form(conn: sa.Connection, version_id: int, pack_ids: Iterable[int], **values: object) -> int:
    """Insert a form with its packs, which the caller has locked; return its row id."""
    added = sa.insert(forms).values(version_id=version_id, **values).returning(forms.c.id)
    form_id = int(conn.execute(added).scalar_one())
    rows = [{"form_id": form_id, "pack_id": pack_id} for pack_id in sorted(set(pack_ids))]
    if rows:
        conn.execute(sa.insert(form_packs), rows)
    return form_id


def forms_of(conn: sa.Connection, version_id: int, *, state: str | None = None) -> Sequence[FormRow]:
    """List the forms of a version, newest first."""
    query = _select().where(forms.c.version_id == version_id).order_by(forms.c.id.desc())
    return fetch_all(conn, query if state is None else query.where(forms.c.state == state), FormRow)


def history_of(conn: sa.Connection, version_id: int) -> tuple[ServedNowRow, list[FormRow]]:
    """Return the served form of a version, and all others, newest first."""
    result = _HISTORY.run(conn, version_id=version_id)
    return result.all(_SERVED)[0], result.all(_FORMS)


def form_by_id(conn: sa.Connection, form_id: int, *, lock: bool = False) -> FormRow | None:
    """Find a form."""
    query = _select().where(forms.c.id == form_id)
    return fetch_one(conn, query.with_for_update(of=forms) if lock else query, FormRow)


def forms_with(conn: sa.Connection, pack_id: int) -> Sequence[FormRow]:
    """List the forms that hold a pack."""
    holding = sa.select(form_packs.c.form_id).where(form_packs.c.pack_id == pack_id)
    return fetch_all(conn, _select().where(forms.c.id.in_(holding)).order_by(forms.c.id), FormRow)


def packed_map(conn: sa.Connection, form_id: int) -> bytes:
    """Return the storage map of a form as its row stores it, packed against the manifest."""
    query = sa.select(forms.c.storage_map).where(forms.c.id == form_id)
    return bytes(conn.execute(query).scalar_one())


def packs_of_form(conn: sa.Connection, form_id: int) -> dict[str, int]:
    """Return the row ids, by digest, of the packs that a form holds."""
    query = (
        sa.select(packs.c.digest, packs.c.id)
        .join(form_packs, form_packs.c.pack_id == packs.c.id)
        .where(form_packs.c.form_id == form_id)
    )
    return {row.digest: row.id for row in conn.execute(query)}


def served_form(conn: sa.Connection, version_id: int) -> ServedFormRow:
    """Return the served form of a version, with its storage map as the row stores it."""
    is_proven = sa.and_(versions.c.corrupt_at.is_(None), versions.c.proven_revision == versions.c.storage_revision)
    query = sa.select(
        versions.c.storage_map,
        versions.c.stored_bytes,
        versions.c.storage_revision,
        sa.case((is_proven, versions.c.proven_at)).label("proven_at"),
    )
    return fetch_known(conn, query.where(versions.c.id == version_id), ServedFormRow)


def is_sound(conn: sa.Connection, form_id: int) -> bool:
    """Whether a form still holds its packs, and none of them is known to be damaged.

    The packs are locked, so this stays true until the transaction ends.
    """
    form_pack_rows = (
        sa.select(packs.c.bad_at, packs.c.state)
        .join(form_packs, form_packs.c.pack_id == packs.c.id)
        .where(form_packs.c.form_id == form_id)
        .order_by(packs.c.id)
        .with_for_update(read=True, of=packs)
    )
    rows = conn.execute(form_pack_rows).all()
    return bool(rows) and all(row.bad_at is None and row.state == "live" for row in rows)


def set_form(conn: sa.Connection, form_id: int, **values: object) -> None:
    """Update the columns of a form."""
    conn.execute(sa.update(forms).where(forms.c.id == form_id).values(**values))


def old_forms(conn: sa.Connection, *, keep_us: int) -> list[int]:
    """List former forms, and proposed ones that nobody has proven, from at least `keep_us` ago."""
    query = sa.select(forms.c.id).where(is_old(keep_us)).order_by(forms.c.id)
    return list(conn.execute(query).scalars())


def is_old(keep_us: int | sa.ColumnElement[int]) -> sa.ColumnElement[bool]:
    """Whether a form has been kept beside the served one for at least `keep_us`."""
    return sa.and_(is_kept(), forms.c.created_at <= now_us() - keep_us)


def is_kept() -> sa.ColumnElement[bool]:
    """Whether a form is kept beside the served one: a former one, or one to go back to."""
    unproven = sa.and_(forms.c.state == "proposed", forms.c.why != "push")
    return sa.or_(forms.c.state == "former", unproven)


def end_form(conn: sa.Connection, form_id: int, *, state: str) -> None:
    """Set the final state of a form, and release its packs."""
    conn.execute(sa.delete(form_packs).where(form_packs.c.form_id == form_id))
    conn.execute(sa.update(forms).where(forms.c.id == form_id).values(state=state, ended_at=now_us()))


def let_go(conn: sa.Connection, version_id: int) -> None:
    """Release the packs of all forms of a version that is released."""
    for row in forms_of(conn, version_id):
        if row.state in {"proposed", "former"}:
            end_form(conn, row.id, state="released")


def _select() -> sa.Select[*tuple[Any, ...]]:
    columns = [column for column in forms.c if column.name != "storage_map"]
    return sa.select(*columns, principals.c.name.label("sender")).outerjoin(
        principals, principals.c.id == forms.c.sent_by
    )


_VERSION: sa.BindParameter[int] = sa.bindparam("version_id", type_=sa.BigInteger)
_IS_SENDER: Final = principals.c.id == sa.func.coalesce(versions.c.stored_by, versions.c.created_by)
_SERVED: Final = QueryPart(
    sa.select(versions.c.stored_bytes, versions.c.storage_revision, principals.c.name.label("sender"))
    .outerjoin(principals, _IS_SENDER)
    .where(versions.c.id == _VERSION),
    ServedNowRow,
)
_FORMS: Final = QueryPart(_select().where(forms.c.version_id == _VERSION), FormRow, order=(forms.c.id.desc(),))
_HISTORY: Final = CombinedQuery(_SERVED, _FORMS)
