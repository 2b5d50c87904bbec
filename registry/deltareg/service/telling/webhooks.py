"""Webhooks: made, listed, tried, given another secret and taken away, by owners and admins.

Address and secret are sealed in the database under a key of the servers; the secret is shown once.
"""

import re
import secrets
from collections.abc import Sequence

import anyio
import sqlalchemy as sa

from deltareg.db.events import outbox as outbox_queries
from deltareg.db.events import webhooks as queries
from deltareg.db.events.rows import WebhookRow
from deltareg.db.session import read, with_retry
from deltareg.db.sql.clock import US_PER_S, read_clock
from deltareg.db.sql.row_protocols import present
from deltareg.errors import Conflict, InvalidInput, Misconfigured, NotFound
from deltareg.service.access.members import find_namespace_id, parse_place
from deltareg.service.authority.grants import Right
from deltareg.service.authority.resources import SOMEWHERE, Resource
from deltareg.service.clock import rfc3339, rfc3339_or_none
from deltareg.service.events import Action
from deltareg.service.paging import check_limit, page, read_cursor
from deltareg.service.registry import Caller, Registry
from deltareg.service.telling.addresses import WebhookAddress, pin_addresses
from deltareg.service.telling.cloud_events import id_of
from deltareg.service.telling.forms import find_form
from deltareg.service.telling.read import read_types
from deltareg.service.telling.send import AttemptOutcome, WebhookMessage, send
from deltareg.service.telling.signature import about_address, about_secret, headers_of, mint_secret
from deltareg.service.telling.types import PREFIX
from deltareg.signing.secret_box import SecretBox
from deltareg.wire import AttemptInfo, Event, Page, WebhookAdd, WebhookInfo, WebhookRotate, WebhookSecret, WebhookTested

MOST = 50
"""How many webhooks a namespace has at most, and how many there are over all namespaces."""
_LINES = re.compile(r"[a-z0-9*][a-z0-9._*-]*")
_TEST = "webhook.tested"


def add_webhook(registry: Registry, caller: Caller, request: WebhookAdd) -> WebhookSecret:
    """Make a webhook; the answer has its secret, which nobody shows again.

    Raises:
        Forbidden: The caller does not own the namespace.
        NotFound: There is none of that name.
        InvalidInput: The address is none, is not found or lies where webhooks do not go; or nothing
            is written in that form here.
        Conflict: There are as many as there may be.
        Misconfigured: The server has no key to seal secrets with.
    """
    place = parse_place(request.namespace)
    caller.require(Right.ADMIN, on=place)
    box, types = _box(registry), read_types(request.types)
    if request.lines and not _LINES.fullmatch(request.lines):
        raise InvalidInput(f"no pattern of lines: {request.lines[:80]!r}", fix="bert-*")
    find_form(request.form)
    target = WebhookAddress.parse(request.url)
    pin_addresses(target, registry.networks)
    webhook_id, secret = f"wh_{secrets.token_hex(8)}", mint_secret()

    def transaction(conn: sa.Connection) -> WebhookInfo:
        namespace_id = find_namespace_id(conn, request.namespace)
        if queries.count_webhooks(conn, namespace_id) >= MOST:
            raise Conflict(f"{place} has {MOST} webhooks", fix="take one away: deltareg webhook rm")
        queries.add_webhook(
            conn,
            id=webhook_id,
            namespace_id=namespace_id,
            lines=request.lines,
            types=list(types),
            form=request.form,
            shown=target.display,
            note=request.note,
            state="on",
            why="",
            address=box.seal(request.url, about_address(webhook_id)),
            answers_id=caller.principal_id,
            created_by=caller.principal_id,
        )
        queries.add_secret(conn, webhook_id, box.seal(secret, about_secret(webhook_id)))
        after = {"address": target.display, "lines": request.lines, "types": list(types), "form": request.form}
        _record(conn, caller, Action.WEBHOOK_ADD, webhook_id, place, after=after)
        return describe_webhooks(conn, [present(queries.webhook_row(conn, webhook_id))])[0]

    return WebhookSecret(webhook=with_retry(registry.engine, transaction), secret=secret)


def list_webhooks(
    registry: Registry, caller: Caller, namespace: str | None, *, cursor: str | None, limit: int
) -> Page[WebhookInfo]:
    """List the webhooks of a namespace, or all there are for an admin.

    Raises:
        Forbidden: The caller does not own the namespace, or is no admin.
        NotFound: There is none of that name.
    """
    caller.require(Right.ADMIN, on=parse_place(namespace))
    after = read_cursor(cursor)
    with read(registry.engine) as conn:
        find_namespace_id(conn, namespace)
        rows = queries.webhook_rows(conn, namespace=namespace, after=after, limit=check_limit(limit) + 1)
        shown = {info.id: info for info in describe_webhooks(conn, rows)}
    return page(rows, limit, show=lambda row: shown[row.id], key=lambda row: row.id)


def show_webhook(registry: Registry, caller: Caller, webhook_id: str) -> WebhookInfo:
    """Show a webhook.

    Raises:
        NotFound: There is none that the caller may see.
    """
    with read(registry.engine) as conn:
        return describe_webhooks(conn, [find_webhook(conn, caller, webhook_id)])[0]


def rotate_webhook(registry: Registry, caller: Caller, webhook_id: str, request: WebhookRotate) -> WebhookSecret:
    """Give a webhook another secret, and let it answer to the caller; one that is off is on again.

    For a while what is sent is signed with the former one as well.

    Raises:
        NotFound: There is none that the caller may see.
        Misconfigured: The server has no key to seal secrets with.
    """
    secret = mint_secret()

    def transaction(conn: sa.Connection) -> WebhookInfo:
        row = find_webhook(conn, caller, webhook_id, lock=True)
        box = _box(registry)
        queries.end_secrets(conn, row.id, keep_us=request.keep_s * US_PER_S)
        queries.add_secret(conn, row.id, box.seal(secret, about_secret(row.id)))
        queries.change_webhook(conn, row.id, answers_id=caller.principal_id, state="on", why="")
        after = {"answers": caller.principal, "former_for_s": request.keep_s}
        _record(conn, caller, Action.WEBHOOK_ROTATE, row.id, parse_place(row.namespace), after=after)
        return describe_webhooks(conn, [present(queries.webhook_row(conn, row.id))])[0]

    return WebhookSecret(webhook=with_retry(registry.engine, transaction), secret=secret)


def remove_webhook(registry: Registry, caller: Caller, webhook_id: str) -> WebhookInfo:
    """Take a webhook away, with what is still due to it.

    Raises:
        NotFound: There is none that the caller may see.
    """

    def transaction(conn: sa.Connection) -> WebhookInfo:
        row = find_webhook(conn, caller, webhook_id, lock=True)
        info = describe_webhooks(conn, [row])[0]
        queries.delete_webhook(conn, row.id)
        after = {"pending": info.pending}
        _record(conn, caller, Action.WEBHOOK_REMOVE, row.id, parse_place(row.namespace), after=after)
        return info

    return with_retry(registry.engine, transaction)


def try_webhook(registry: Registry, caller: Caller, webhook_id: str) -> WebhookTested:
    """Send a webhook an event of the type `webhook.tested` once, now, and say what became of it.

    Raises:
        NotFound: There is none that the caller may see.
        Misconfigured: Its address cannot be opened on this server.
    """
    with read(registry.engine) as conn:
        row = find_webhook(conn, caller, webhook_id)
        box = _box(registry)
        sealed = queries.live_secrets(conn, [row.id]).get(row.id, [])
        head, now = outbox_queries.head(conn), read_clock(conn)
    event = Event(
        id=f"test-{id_of(0, now)}",
        source=head.source if head else "urn:deltareg:new",
        type=PREFIX + _TEST,
        subject=f"webhook/{row.id}",
        time=rfc3339(now),
        sequence=f"{0:018}",
        data={"ref": f"webhook/{row.id}", "actor": caller.principal},
    )
    form = find_form(row.form)
    body = form.write_body(event)
    live = [box.open(each, about_secret(row.id)) for each in sealed]
    headers = headers_of(event.id, body, at_s=now // US_PER_S, with_secrets=live)
    target = WebhookAddress.parse(box.open(row.address, about_address(row.id)))
    message = WebhookMessage(target, body, headers | {"Content-Type": form.media_type})
    outcome: AttemptOutcome = anyio.run(send, message, registry.networks)
    attempt = AttemptInfo(at=rfc3339(now), status=outcome.status, ms=outcome.took_us / 1000, told=outcome.description)
    return WebhookTested(is_ok=outcome.is_ok, attempt=attempt)


def find_webhook(conn: sa.Connection, caller: Caller, webhook_id: str, *, lock: bool = False) -> WebhookRow:
    """Find a webhook that the caller may manage.

    Raises:
        NotFound: There is none, or it is of a namespace that the caller does not own.
    """
    caller.require(Right.READ, on=SOMEWHERE)
    row = queries.webhook_row(conn, webhook_id, lock=lock)
    if row is None or not caller.may(Right.ADMIN, on=parse_place(row.namespace)):
        raise NotFound(f"there is no webhook {webhook_id[:40]!r}", fix="deltareg webhook ls NS")
    return row


def describe_webhooks(conn: sa.Connection, rows: Sequence[WebhookRow]) -> list[WebhookInfo]:
    """Show webhooks; their deliveries are counted once for all of them."""
    ids = [row.id for row in rows]
    states = {(each.webhook_id, each.state): each for each in queries.states_of(conn, ids)}
    number = {key: each.number for key, each in states.items()}
    live = queries.live_secrets(conn, ids)
    return [
        WebhookInfo(
            id=row.id,
            namespace=row.namespace,
            lines=row.lines,
            types=list(row.types),
            form=row.form,
            address=row.shown,
            note=row.note,
            state=row.state,
            why=row.why,
            answers=row.answers,
            made_by=row.made_by or "registry",
            created_at=rfc3339(row.created_at),
            secrets=len(live.get(row.id, [])),
            pending=number.get((row.id, "pending"), 0),
            delivered=number.get((row.id, "delivered"), 0),
            dead=number.get((row.id, "dead"), 0),
            last_delivered_at=rfc3339_or_none(
                states[row.id, "delivered"].last_at if (row.id, "delivered") in states else None
            ),
        )
        for row in rows
    ]


def _box(registry: Registry) -> SecretBox:
    if registry.box is None:
        raise Misconfigured(
            "this server has no key to seal the secrets of webhooks with",
            fix="let DELTAREG_WEBHOOK_KEY name one file with the same key on all servers: openssl rand -base64 32",
        )
    return registry.box


def _record(
    conn: sa.Connection, caller: Caller, action: Action, webhook_id: str, place: Resource, *, after: object
) -> None:
    caller.record(conn, action, f"webhook/{webhook_id}", on=place, before=None, after=after)
