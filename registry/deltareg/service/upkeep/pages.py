"""Reading all rows of a table in pages, each in its own transaction."""

from collections.abc import Callable, Iterator, Sequence
from typing import Protocol, TypeVar

import sqlalchemy as sa

from deltareg.db.session import read

_BATCH = 200


class _Numbered(Protocol):
    @property
    def id(self) -> int: ...


RowT = TypeVar("RowT", bound=_Numbered)


def page_rows(engine: sa.Engine, query: Callable[..., Sequence[RowT]]) -> Iterator[RowT]:
    """Yield all rows of a query that takes `after`, the id of the last row seen, and `limit`."""
    after = 0
    while True:
        with read(engine) as conn:
            rows = query(conn, after=after, limit=_BATCH)
        if not rows:
            return
        yield from rows
        after = rows[-1].id
