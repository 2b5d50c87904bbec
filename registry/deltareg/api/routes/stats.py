"""Statistics of what is stored and what was saved."""

from typing import Annotated

from fastapi import Depends

from deltareg.api.auth import By, InRegistry
from deltareg.api.closed import closed_router
from deltareg.errors import InvalidInput
from deltareg.refs import LineRef, Ref, parse_name
from deltareg.service.upkeep import stats as service
from deltareg.wire import StorageReport

router = closed_router("stats", prefix="/stats")


async def part_of(
    by: By, namespace: str | None = None, line: str | None = None, ref: str | None = None
) -> str | LineRef | Ref | None:
    """Return the part that the query names; None for everything."""
    if sum(part is not None for part in (namespace, line, ref)) > 1:
        raise InvalidInput("namespace, line and ref cannot go together", fix="name one of them")
    if namespace is not None:
        return by.current_namespace(parse_name(namespace, "namespace"))
    if line is not None:
        return by.current_line(LineRef.parse(line))
    return None if ref is None else by.current_ref(Ref.parse(ref))


PartOf = Annotated[str | LineRef | Ref | None, Depends(part_of)]


@router.get("/storage")
def show_storage(registry: InRegistry, by: By, of: PartOf, limit: int = 50) -> StorageReport:
    """Say what is stored and what was saved, of everything, a namespace, a line or a version.

    Of parts and kinds the `limit` largest are listed, and the others as one row.
    """
    return service.show_storage(registry, by, of, limit=limit)
