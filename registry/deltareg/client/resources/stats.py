"""What is stored and what was saved."""

from deltareg.client.context import Context
from deltareg.refs import Ref, parse_name
from deltareg.wire import StorageReport


def storage(context: Context, of: str | None, *, limit: int) -> StorageReport:
    """Show what is stored of everything, or of a namespace, a line or a version by its reference.

    Raises:
        NotFound: There is none of that name.
    """
    query: dict[str, str] = {}
    if of is not None and "/" not in of:
        query = {"namespace": parse_name(of, "namespace")}
    elif of is not None:
        ref = Ref.parse(of)
        query = {"line": str(ref.line)} if ref.is_bare else {"ref": of}
    return context.api.get("/stats/storage", StorageReport, limit=limit, **query)
