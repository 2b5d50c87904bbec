"""Events on the wire, as CloudEvents 1.0 has them, and webhooks with what was sent to them."""

from typing import Annotated, Literal

from pydantic import Field

from deltareg.wire.messages import Answer, Request, Text
from deltareg.words import DeliveryState, WebhookState

WebhookForm = Annotated[str, Field(pattern=r"^[a-z][a-z0-9-]{0,39}$")]
"""The server says which there are when it knows none of a name: others may bring more."""


class Event(Answer):
    """What was done, as others may be told of it: an event of CloudEvents 1.0.

    Attributes:
        id: Its number, and what tells it from one of another history of the registry.
        source: Which registry it is.
        type: `dev.deltareg.` and what happened.
        subject: To what: `ns/name:v3`, `ns/name@prod`. Those of one subject come in their order.
        time: When.
        sequence: Its number, as a text that sorts as the number does.
        data: `ref`, `actor`, `namespace`, `delta`, and what the type has besides.
    """

    specversion: Literal["1.0"] = "1.0"
    id: str
    source: str
    type: str
    subject: str
    time: str
    datacontenttype: Literal["application/json"] = "application/json"
    sequence: str
    data: dict[str, object]


class EventPage(Answer):
    """Events in their order.

    Attributes:
        next: After what to go on; it is there on the last page, too.
        is_more: Whether there is more already.
    """

    items: list[Event]
    next: str
    is_more: bool


class WebhookAdd(Request):
    """A webhook to be made.

    Attributes:
        url: Where events are sent: http or https.
        namespace: Of which namespace; None for all, as an admin asks for it.
        lines: Only of these lines, a `*` stands for anything.
        types: Which types, `channel.promoted`, `channel.*`, `*`.
        form: `cloudevents` for programs; `slack`, `teams` for people; or another that the server has.
    """

    url: Annotated[str, Field(min_length=8, max_length=2_000)]
    namespace: Annotated[str, Field(max_length=64)] | None = None
    lines: Annotated[str, Field(max_length=100)] = ""
    types: Annotated[list[str], Field(min_length=1, max_length=32)] = ["*"]
    form: WebhookForm = "cloudevents"
    note: Text = ""


class WebhookRotate(Request):
    """A webhook that is to be signed with another secret.

    Attributes:
        keep_s: How long it is signed with the former one as well.
    """

    keep_s: Annotated[int, Field(ge=0, le=7 * 86_400)] = 86_400


class Redeliver(Request):
    """What is to be sent again: deliveries by number, or all that are dead."""

    ids: Annotated[list[int], Field(max_length=1_000)] = []
    dead: bool = False


class WebhookInfo(Answer):
    """A webhook, without its secrets.

    Attributes:
        address: Where it goes, without what could be secret in it.
        state: `on`; or `off`, and `why`.
        answers: In whose name events go out; it has to own the namespace.
        pending: How many deliveries are due.
        dead: How many were given up.
        last_delivered_at: When one arrived last.
    """

    id: str
    namespace: str | None
    lines: str
    types: list[str]
    form: WebhookForm
    address: str
    note: str
    state: WebhookState
    why: str
    answers: str
    made_by: str
    created_at: str
    secrets: int
    pending: int
    delivered: int
    dead: int
    last_delivered_at: str | None


class WebhookSecret(Answer):
    """A webhook with its new secret, which is shown once."""

    webhook: WebhookInfo
    secret: str


class AttemptInfo(Answer):
    """One try: `status` is what was answered, None for nothing; `told` says what went wrong."""

    at: str
    status: int | None
    ms: float
    told: str


class WebhookTested(Answer):
    """What became of a test."""

    is_ok: bool
    attempt: AttemptInfo


class DeliveryInfo(Answer):
    """What is due to a webhook, or was.

    Attributes:
        state: `pending`, `delivered`, or `dead`: given up after a day.
        next_at: When it is tried next; None unless it is pending.
        tries: What was tried, oldest first.
    """

    id: int
    webhook: str
    event: str
    type: str
    subject: str
    state: DeliveryState
    attempts: int
    next_at: str | None
    ended_at: str | None
    tries: list[AttemptInfo]


class Redelivered(Answer):
    """How many deliveries are due again."""

    number: int
