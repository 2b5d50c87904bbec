"""The visibility that hub clients ask of a repository: here it belongs to the namespace."""

from deltareg.db.access import namespaces
from deltareg.db.session import read, with_retry
from deltareg.errors import Conflict, InvalidInput
from deltareg.refs import LineRef
from deltareg.service.access.founding import require_push
from deltareg.service.access.namespaces import create_namespace
from deltareg.service.authority.resources import Namespace
from deltareg.service.registry import Caller, Registry
from deltareg.wire import NamespaceCreate
from deltareg.words import Visibility


def meet_visibility(registry: Registry, caller: Caller, line: LineRef, *, is_private: bool | None) -> str:
    """Check that a line is as private as a client asks; a new private namespace is created so.

    Args:
        registry: The database and the store.
        caller: Who asks.
        line: The line, which need not exist yet.
        is_private: Whether it is to be private; None if the client says nothing of it.

    Returns:
        What is to be said of it; empty if all is as it was asked for.

    Raises:
        Forbidden: The caller may not push there.
        InvalidInput: It is to be private, and others read the namespace.
    """
    # To found is to look and to lock.
    with_retry(registry.engine, lambda conn: require_push(conn, caller, on=line))
    if is_private is None:
        return ""
    visibility = _find_visibility(registry, caller, line.namespace)
    if visibility is None and is_private:
        try:
            create_namespace(registry, caller, NamespaceCreate(name=line.namespace, visibility="private"))
        except Conflict:  # somebody created it meanwhile
            return meet_visibility(registry, caller, line, is_private=is_private)
        return f"{line.namespace} is a private namespace now: all in it is for its members alone"
    if is_private and visibility != "private":
        raise InvalidInput(
            f"visibility belongs to the namespace here, and {line.namespace} is {visibility}: others read all in it",
            fix=f"leave private out; or name a namespace that is new or private; or make this one private, with all"
            f" in it: deltareg namespace visibility {line.namespace} private",
        )
    if not is_private and visibility != "public":
        who = "its members alone read it" if visibility == "private" else "who has a token here reads it"
        return f"{line.namespace} is {visibility or 'internal'}: {who}"
    return ""


def _find_visibility(registry: Registry, caller: Caller, namespace: str) -> Visibility | None:
    if not caller.sees(Namespace(namespace)):
        return None
    with read(registry.engine) as conn:
        row = namespaces.namespace_row(conn, namespace)
    return None if row is None else row.visibility
