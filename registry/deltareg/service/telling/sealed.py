"""What is sealed in the database under the key that servers share: looked at, and sealed anew."""

from collections.abc import Iterator
from dataclasses import dataclass

import sqlalchemy as sa

from deltareg.db.access import sealed as queries
from deltareg.db.access.sealed import SealedRow
from deltareg.db.session import read, with_retry
from deltareg.errors import Misconfigured
from deltareg.service.access.server_keys import about_key
from deltareg.service.access.sign_in.beginning import SEALED_FOR
from deltareg.service.registry import Registry
from deltareg.service.telling.signature import about_address, about_secret
from deltareg.signing.secret_box import SecretBox


@dataclass(frozen=True, slots=True)
class SealedCount:
    """How many sealed things there are, and how many of them this server cannot open."""

    total: int
    closed: int
    former: int


def count_sealed(registry: Registry) -> SealedCount:
    """Open everything that is sealed, and count.

    `former` counts what a former key opens, that stands behind the first in the file.
    """
    total = closed = former = 0
    with read(registry.engine) as conn:
        for row, about in _rows(conn):
            total += 1
            if registry.box is None or not _opens(registry.box, row.sealed, about):
                closed += 1
            elif not registry.box.is_under_first(row.sealed):
                former += 1
    return SealedCount(total, closed, former)


def seal_anew(registry: Registry, box: SecretBox) -> int:
    """Seal under the first key of a box whatever is sealed under another of its keys; return how many.

    Raises:
        Misconfigured: Something is sealed under a key that is not in the box: nothing is changed.
    """

    def transaction(conn: sa.Connection) -> int:
        number = 0
        for row, about in list(_rows(conn)):
            if not box.is_under_first(row.sealed):
                queries.put_sealed(conn, row, box.seal(box.open(row.sealed, about), about))
                number += 1
        return number

    return with_retry(registry.engine, transaction)


def _rows(conn: sa.Connection) -> Iterator[tuple[SealedRow, str]]:
    for row in queries.sealed_rows(conn):
        match row.what:
            case "address":
                about = about_address(row.name)
            case "secret":
                about = about_secret(row.name)
            case "key":
                about = about_key(row.name)
            case _:
                about = SEALED_FOR
        yield row, about


def _opens(box: SecretBox, sealed: bytes, about: str) -> bool:
    try:
        box.open(sealed, about)
    except Misconfigured:
        return False
    return True
