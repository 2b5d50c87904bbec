"""The audit log: who did what."""

from deltareg.client.resources.resource import Resource
from deltareg.client.results.listing import Listing
from deltareg.wire import AuditRow, Page


class Audit(Resource):
    """What was done in a registry, by whom."""

    __slots__ = ()

    def list(
        self,
        *,
        actor: str | None = None,
        action: str | None = None,
        subject: str | None = None,
        cursor: str | None = None,
        limit: int = 50,
    ) -> Listing[AuditRow]:
        """List who did what, newest first."""
        return self._list(
            "/audit", Page[AuditRow], actor=actor, action=action, subject=subject,
            cursor=cursor, limit=limit,
        )  # fmt: skip
