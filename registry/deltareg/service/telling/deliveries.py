"""What was sent to a webhook and what became of it, and sending it again."""

import sqlalchemy as sa

from deltareg.db.events import webhooks as queries
from deltareg.db.events.rows import AttemptRow, DeliveryRow
from deltareg.db.session import read, with_retry
from deltareg.errors import InvalidInput
from deltareg.service.authority.resources import EVERYTHING, Namespace
from deltareg.service.clock import rfc3339, rfc3339_or_none
from deltareg.service.events import Action
from deltareg.service.paging import check_limit, page, read_number_cursor
from deltareg.service.registry import Caller, Registry
from deltareg.service.telling.cloud_events import id_of
from deltareg.service.telling.types import PREFIX
from deltareg.service.telling.webhooks import find_webhook
from deltareg.wire import AttemptInfo, DeliveryInfo, DeliveryState, Page, Redeliver, Redelivered


def list_deliveries(
    registry: Registry, caller: Caller, webhook_id: str, *, state: DeliveryState | None, cursor: str | None, limit: int
) -> Page[DeliveryInfo]:
    """List what was due to a webhook, newest first, with what was tried.

    Raises:
        NotFound: There is no webhook of that name that the caller may see.
    """
    before = read_number_cursor(cursor)
    with read(registry.engine) as conn:
        hook = find_webhook(conn, caller, webhook_id)
        rows = queries.delivery_rows(conn, hook.id, state=state, before=before, limit=check_limit(limit) + 1)
        tries: dict[int, list[AttemptRow]] = {}
        for each in queries.attempts_of(conn, [row.id for row in rows]):
            tries.setdefault(each.delivery_id, []).append(each)
    return page(rows, limit, show=lambda row: _show(row, tries.get(row.id, [])), key=lambda row: row.id)


def redeliver(registry: Registry, caller: Caller, webhook_id: str, request: Redeliver) -> Redelivered:
    """Let deliveries be due again at once; what is pending stays as it is.

    Raises:
        InvalidInput: None is named, or some of them by number and all dead ones at once.
        NotFound: There is no webhook of that name that the caller may see.
    """
    if bool(request.ids) == request.dead:
        raise InvalidInput("say which deliveries", fix="name some by their numbers, or all dead")

    def transaction(conn: sa.Connection) -> Redelivered:
        hook = find_webhook(conn, caller, webhook_id, lock=True)
        number = queries.deliver_again(conn, hook.id, ids=request.ids, dead=request.dead)
        if number:
            place = EVERYTHING if hook.namespace is None else Namespace(hook.namespace)
            caller.record(
                conn,
                Action.WEBHOOK_REDELIVER,
                f"webhook/{hook.id}",
                on=place,
                before=None,
                after={"deliveries": number},
            )
        return Redelivered(number=number)

    return with_retry(registry.engine, transaction)


def _show(row: DeliveryRow, tries: list[AttemptRow]) -> DeliveryInfo:
    return DeliveryInfo(
        id=row.id,
        webhook=row.webhook_id,
        event=id_of(row.number, row.created_at),
        type=PREFIX + row.type,
        subject=row.subject,
        state=row.state,
        attempts=row.attempts,
        next_at=rfc3339(row.next_at) if row.state == "pending" else None,
        ended_at=rfc3339_or_none(row.ended_at),
        tries=[
            AttemptInfo(at=rfc3339(each.created_at), status=each.status, ms=each.took_us / 1000, told=each.told)
            for each in tries
        ],
    )
