"""Renaming a namespace; its lines, bases, members and tokens stay in it, and its former name leads on."""

import sqlalchemy as sa

from deltareg.db.lines import aliases as queries
from deltareg.db.lines import deltas as delta_queries
from deltareg.db.lines import named_elsewhere
from deltareg.db.lines import versions as version_queries
from deltareg.db.session import with_retry
from deltareg.db.storage.scopes import rename_scope
from deltareg.errors import Conflict, Forbidden
from deltareg.refs import parse_name
from deltareg.service.access.founding import check_founder, check_free
from deltareg.service.access.members import check_seen
from deltareg.service.authority.grants import Right
from deltareg.service.authority.resources import EVERYTHING, Namespace
from deltareg.service.events import Action
from deltareg.service.names.lines import reindex
from deltareg.service.registry import Caller, Registry, namespace_scope
from deltareg.wire import NameChange, Rename


def rename_namespace(registry: Registry, caller: Caller, name: str, request: Rename) -> NameChange:
    """Give a namespace another name; the former one leads on to it.

    Raises:
        Forbidden: The caller does not own it, or its token is not for a namespace of the new name.
        NotFound: The caller sees no such namespace.
        Conflict: Another namespace has that name, or it leads on to one.
        InvalidInput: The name is reserved.
    """
    caller.require(Right.ADMIN, on=Namespace(name))
    to = parse_name(request.to, "namespace")
    check_free(to)
    if to != name:
        check_founder(caller, to)
    if to != name and not caller.may_found(to) and not caller.may(Right.PUSH, on=EVERYTHING):
        raise Forbidden(f"this token is not for {to}", fix="use one that is not limited")

    def transaction(conn: sa.Connection) -> NameChange:
        queries.take_turn(conn)
        namespace_id = check_seen(conn, caller, name)
        if name == to:
            return NameChange(name=to)
        taken = Conflict(f"the name {to} is taken", fix="choose another one")
        if delta_queries.namespace_id(conn, to) is not None:
            raise taken
        if queries.alias_of_namespace(conn, to) not in {None, namespace_id}:
            raise taken
        queries.drop_namespace_alias(conn, to)
        versions = version_queries.all_of_namespace(conn, namespace_id)
        # First what is being sent, by the same locks as a push that ends meanwhile.
        named_elsewhere.rename_namespace(conn, name, to)
        if not queries.name_namespace(conn, namespace_id, before=name, after=to, by=caller.principal_id):
            raise taken
        rename_scope(conn, namespace_scope(name), namespace_scope(to))
        named_elsewhere.rename_bases_within(conn, name, to, by=caller.principal_id)
        reindex(conn, versions)
        before, after = {"name": name}, {"name": to}
        caller.record(conn, Action.NAMESPACE_RENAME, f"namespace/{to}", on=Namespace(to), before=before, after=after)
        return NameChange(name=to, before=name)

    return with_retry(registry.engine, transaction)
