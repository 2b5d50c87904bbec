"""Events, webhooks and deliveries, as tables and facts."""

from collections.abc import Sequence
from datetime import datetime
from typing import TYPE_CHECKING

from deltareg_cli.terminal.blocks import Block, Cell, Column, FactsBlock, LinesBlock, TableBlock, Text, TitleBlock, Tone
from deltareg_cli.terminal.wording import clean, count, moment, short

if TYPE_CHECKING:
    from deltareg.wire import AttemptInfo, DeliveryInfo, Event, WebhookInfo, WebhookSecret, WebhookTested

_PREFIX = "dev.deltareg."
_SHOWN_ELSEWHERE = {"ref", "actor", "namespace", "delta"}
_TONES: dict[str, Tone] = {"pending": "warn", "delivered": "good", "dead": "bad"}
_EVERYWHERE = "everywhere"


def event_table(events: Sequence["Event"], *, now: datetime) -> TableBlock:
    """Build the table of events, in their order."""
    columns = [
        Column("id"),
        Column("when"),
        Column("type"),
        Column("subject"),
        Column("by"),
        Column("what", is_prose=True),
    ]
    rows: list[list[Text]] = [
        [
            Cell(each.id, "dim"),
            moment(each.time, now=now),
            Cell(kind(each.type), "name"),
            each.subject,
            str(each.data.get("actor", "")),
            _describe_data(each),
        ]
        for each in events
    ]
    return TableBlock(columns, rows, if_empty="no events")


def event_line(event: "Event") -> LinesBlock:
    """Show an event on a line, as it arrives."""
    at = event.time.partition(".")[0].rstrip("Z").replace("T", " ")
    by = f"by {event.data['actor']}" if "actor" in event.data else ""
    cells: list[Text] = [
        Cell(f"{at}Z", "dim"),
        Cell(kind(event.type), "name"),
        event.subject,
        by,
        _describe_data(event),
    ]
    return LinesBlock([[cell for cell in cells if cell]])


def webhook_table(hooks: Sequence["WebhookInfo"]) -> TableBlock:
    """Build the table of webhooks."""
    columns = [
        Column("id"),
        Column("of"),
        Column("to"),
        Column("types", is_prose=True),
        Column("state"),
        Column("due", is_number=True),
        Column("dead", is_number=True),
    ]
    rows: list[list[Text]] = [
        [
            Cell(each.id, "name"),
            _of(each),
            each.address,
            ", ".join(each.types),
            _state(each),
            str(each.pending),
            Cell(str(each.dead), "bad" if each.dead else ""),
        ]
        for each in hooks
    ]
    return TableBlock(columns, rows, if_empty="no webhooks")


def webhook_blocks(hook: "WebhookInfo", *, now: datetime, what: str = "webhook") -> list[Block]:
    """Show one webhook."""
    arrived = f"{hook.delivered}"
    if hook.last_delivered_at is not None:
        arrived += f", the last one {moment(hook.last_delivered_at, now=now)}"
    return [
        TitleBlock(hook.id, what),
        FactsBlock(
            [
                ("of", _of(hook)),
                ("to", hook.address),
                ("form", hook.form),
                ("types", ", ".join(hook.types)),
                ("state", _state(hook)),
                ("why", hook.why),
                ("secrets", count(hook.secrets, "live one")),
                ("delivered", arrived),
                ("due", str(hook.pending)),
                ("dead", Cell(str(hook.dead), "bad" if hook.dead else "")),
                ("answers", f"{hook.answers}, who must own what it reports"),
                ("made", f"{moment(hook.created_at, now=now)} by {hook.made_by}"),
                ("note", hook.note),
            ]
        ),
    ]


def secret_blocks(made: "WebhookSecret", *, now: datetime, what: str) -> list[Block]:
    """Show a secret, once, and its webhook."""
    return [LinesBlock([Cell(made.secret, "strong")]), *webhook_blocks(made.webhook, now=now, what=what)]


def tested_blocks(webhook_id: str, tested: "WebhookTested") -> list[Block]:
    """Show the result of a test."""
    answer = Cell("arrived", "good") if tested.is_ok else Cell("did not arrive", "bad")
    return [
        TitleBlock(webhook_id, "test"),
        FactsBlock(
            [
                ("test", answer),
                ("answer", "" if tested.attempt.status is None else str(tested.attempt.status)),
                ("took", f"{tested.attempt.ms:.0f} ms"),
                ("why", tested.attempt.told),
            ]
        ),
    ]


def delivery_table(deliveries: Sequence["DeliveryInfo"], *, now: datetime) -> TableBlock:
    """Build the table of deliveries, each with its last attempt."""
    columns = [
        Column("number", is_number=True),
        Column("type"),
        Column("subject"),
        Column("state"),
        Column("tries", is_number=True),
        Column("last try", is_prose=True),
        Column("next"),
    ]
    rows: list[list[Text]] = [
        [
            Cell(str(each.id), "name"),
            kind(each.type),
            each.subject,
            Cell(each.state, _TONES[each.state]),
            str(len(each.tries)),
            _describe_attempt(each.tries[-1], now=now) if each.tries else "",
            "" if each.next_at is None else moment(each.next_at, now=now),
        ]
        for each in deliveries
    ]
    return TableBlock(columns, rows, if_empty="no deliveries")


def kind(name: str) -> str:
    """Return an event type as people write it."""
    return clean(name.removeprefix(_PREFIX))


def _describe_data(event: "Event") -> str:
    rest = {name: value for name, value in event.data.items() if name not in _SHOWN_ELSEWHERE}
    return ", ".join(f"{name} {short(str(value))}" for name, value in rest.items())


def _describe_attempt(attempt: "AttemptInfo", *, now: datetime) -> str:
    what = attempt.told or f"answered {attempt.status}"
    return f"{moment(attempt.at, now=now)}, {attempt.ms:.0f} ms: {what}"


def _of(hook: "WebhookInfo") -> str:
    where = hook.namespace or _EVERYWHERE
    return f"{where}/{hook.lines}" if hook.lines else where


def _state(hook: "WebhookInfo") -> Cell:
    return Cell(hook.state, "good" if hook.state == "on" else "bad")
