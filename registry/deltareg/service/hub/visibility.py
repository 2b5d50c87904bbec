"""The visibility that hub clients ask of a repository: here it belongs to the namespace.

Where nothing else is in the namespace, an owner who asks it of the repository asks it of both. Otherwise
it would change for other things as well, and is refused.
"""

import sqlalchemy as sa

from deltareg.db.access import namespaces
from deltareg.db.session import read, with_retry
from deltareg.errors import Conflict, InvalidInput
from deltareg.refs import LineRef
from deltareg.service.access.founding import require_push
from deltareg.service.access.namespaces import change_namespace_in, create_namespace
from deltareg.service.authority.grants import Right
from deltareg.service.authority.resources import Namespace
from deltareg.service.registry import Caller, Registry
from deltareg.wire import NamespaceChange, NamespaceCreate
from deltareg.words import Visibility


def make_visible(registry: Registry, caller: Caller, line: LineRef, *, is_private: bool | None) -> str:
    """Make a repository that is created as private as a client asks, or check that it is.

    Args:
        registry: The database and the store.
        caller: Who asks.
        line: The line, which need not exist yet.
        is_private: Whether it is to be private; None if the client says nothing of it.

    Returns:
        What is to be said of it; empty if all is as it was asked for.

    Raises:
        Forbidden: The caller may not push there.
        InvalidInput: It is to be private, and others read what else is in the namespace.
    """
    _check_push(registry, caller, line)
    if is_private is None:
        return ""
    visibility = _find_visibility(registry, caller, line.namespace)
    if visibility is None and is_private:
        try:
            create_namespace(registry, caller, NamespaceCreate(name=line.namespace, visibility="private"))
        except Conflict:  # somebody created it meanwhile
            return make_visible(registry, caller, line, is_private=is_private)
        return _tell_change(line.namespace, "private")
    if is_private:
        return _change_visibility(registry, caller, line, "private")
    return "" if visibility == "public" else _tell(line.namespace, visibility or "internal")


def change_visibility(registry: Registry, caller: Caller, line: LineRef, *, is_private: bool | None) -> str:
    """Change whether a repository is private, or check that it is as a client asks.

    The arguments are those of `make_visible`.

    Raises:
        Forbidden: The caller may not push there.
        InvalidInput: It would change for other things in the namespace, or the caller is no owner of it.
    """
    if is_private is not False:
        return make_visible(registry, caller, line, is_private=is_private)
    _check_push(registry, caller, line)
    return _change_visibility(registry, caller, line, "public")


def _change_visibility(registry: Registry, caller: Caller, line: LineRef, wanted: Visibility) -> str:
    def transaction(conn: sa.Connection) -> str:
        row = namespaces.namespace_row(conn, line.namespace, lock=True) if caller.sees(place) else None
        if row is not None and row.visibility == wanted:
            return ""
        is_alone = row is not None and not namespaces.has_others(conn, row.id, line.namespace, line.name)
        if not is_alone or not caller.may(Right.ADMIN, on=place):
            raise _refusal(line.namespace, "internal" if row is None else row.visibility, wanted)
        change_namespace_in(conn, caller, line.namespace, NamespaceChange(visibility=wanted))
        return _tell_change(line.namespace, wanted)

    place = Namespace(line.namespace)
    return with_retry(registry.engine, transaction)


def _check_push(registry: Registry, caller: Caller, line: LineRef) -> None:
    # To found is to look and to lock.
    with_retry(registry.engine, lambda conn: require_push(conn, caller, on=line))


def _refusal(namespace: str, visibility: Visibility, wanted: Visibility) -> InvalidInput:
    change = f"deltareg namespace visibility {namespace} {wanted}"
    if wanted == "private":
        return InvalidInput(
            f"visibility belongs to the namespace here, and {namespace} is {visibility}: others read all in it",
            fix="leave private out; or name a namespace that is new or private; or make this one private, with all"
            f" in it: {change}",
        )
    return InvalidInput(
        f"visibility belongs to the namespace here, and {_tell(namespace, visibility)}",
        fix=f"{change}, which is for all that is in it",
    )


def _tell_change(namespace: str, visibility: Visibility) -> str:
    who = "its members alone" if visibility == "private" else "everybody"
    return f"{namespace} is a {visibility} namespace now: all in it is for {who}"


def _tell(namespace: str, visibility: Visibility) -> str:
    who = "its members alone read it" if visibility == "private" else "who has a token here reads it"
    return f"{namespace} is {visibility}: {who}"


def _find_visibility(registry: Registry, caller: Caller, namespace: str) -> Visibility | None:
    if not caller.sees(Namespace(namespace)):
        return None
    with read(registry.engine) as conn:
        row = namespaces.namespace_row(conn, namespace)
    return None if row is None else row.visibility
