"""Which principal somebody is who signs in: theirs by the provider's word, and never one of the same name."""

import logging
import re
from itertools import count
from typing import TYPE_CHECKING

import sqlalchemy as sa

from deltareg.db.access import identities as queries
from deltareg.db.access import principals as principal_queries
from deltareg.db.access.sign_in_rows import IdentityRow
from deltareg.errors import Forbidden
from deltareg.oidc.claims import Claims, groups_here
from deltareg.service.access.groups import follow_provider
from deltareg.service.registry import ANONYMOUS

if TYPE_CHECKING:
    from deltareg.oidc.provider import Provider

log = logging.getLogger(__name__)

PERSON = "user"
_KEPT_NAMES = {ANONYMOUS, "admin", "local-worker", "registry", "root", "system"}
"""Names that a reader of the audit trail, or an operator who makes a token, would take for another."""
_POD = re.compile(r"pod-\d+-")
"""How the names of a cluster's workers begin: whoever has one of them first would keep a worker out."""


def person_of(conn: sa.Connection, claims: Claims) -> IdentityRow:
    """Return the identity of somebody who signs in, with a principal of its own if it is new.

    Raises:
        Forbidden: The person is disabled.
    """
    row = queries.find_identity(conn, issuer=claims.issuer, subject=claims.subject)
    if row is None:
        # Added and never found: a principal of that name is somebody else's until an admin links them.
        principal_id = principal_queries.add_principal(conn, _free_name(conn, claims.name), kind=PERSON)
        identity_id = queries.add_identity(
            conn, issuer=claims.issuer, subject=claims.subject, principal_id=principal_id, email=claims.email
        )
        row = queries.identity_row(conn, identity_id)
        assert row is not None
    if row.disabled_at is not None:
        raise Forbidden(f"{row.principal} is disabled in this registry", fix="ask an admin")
    if row.email != claims.email:
        queries.set_email(conn, row.id, claims.email)
    return row


def take_groups(conn: sa.Connection, provider: "Provider", principal_id: int, claims: Claims) -> None:
    """Let a person be in the groups that the provider says now, as far as they are mapped."""
    groups = groups_here(provider.settings, claims)
    change = follow_provider(conn, principal_id, source=provider.name, groups=groups)
    if change.passed_over:
        names = ", ".join(change.passed_over)
        log.warning("%s maps to %s, which it does not keep: deltareg group add NAME --source", provider.name, names)


def _free_name(conn: sa.Connection, wanted: str) -> str:
    """Return the name, or the first of `NAME-2`, `NAME-3`, … that nobody has."""
    if _POD.match(wanted):
        wanted = f"person-{wanted}"
    for number in count(1):
        name = wanted if number == 1 else f"{wanted}-{number}"
        if name not in _KEPT_NAMES and principal_queries.principal_id(conn, name) is None:
            return name
    raise AssertionError("numbers do not end")
