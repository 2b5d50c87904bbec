"""Requests: promotions that wait for approvals, and the page to decide on one, with its diff."""

from collections.abc import Iterator, Mapping, Sequence

from deltareg.errors import InvalidInput
from deltareg.pages.asking import ViewRequest
from deltareg.pages.guard import ROOT
from deltareg.pages.routing import FormAction, View
from deltareg.pages.tables import Cell, PageTable
from deltareg.refs import LineRef
from deltareg.service.authority.grants import Right
from deltareg.service.authority.resources import Channel
from deltareg.service.channels import requests as service
from deltareg.service.overview.request import RequestOverview, show_request_around
from deltareg.wire import Answer, Page, RequestInfo, RequestState
from deltareg.words import REQUEST_STATES

_LISTED = 50
_STATES: Mapping[str, RequestState] = {state: state for state in REQUEST_STATES}


class RequestsPage(Answer):
    """Requests in one state, or in all."""

    state: str
    requests: Page[RequestInfo]


class RequestPage(RequestOverview):
    """A request, and what the caller's rights let them do about it.

    The registry itself decides whether the caller counts as somebody other than the opener and the
    uploader. `done` is the decision just made, if the address names one and it was made.
    """

    may_approve: bool
    may_withdraw: bool
    done: str


def _list(ask: ViewRequest) -> RequestsPage:
    text = ask.text("state") or "open"
    state = _STATES.get(text)
    requests = service.list_requests(
        ask.registry, ask.caller, None, state=state, channel=None, cursor=ask.cursor, limit=ask.most(_LISTED)
    )
    return RequestsPage(state=state or "all", requests=requests)


def _show(ask: ViewRequest) -> RequestPage:
    caller = ask.caller
    around = show_request_around(ask.registry, caller, ask.number("request"))
    request = around.request
    where = Channel(LineRef.parse(request.line), request.channel)
    is_other = caller.principal not in {request.opener, request.uploader}
    return RequestPage(
        **dict(around),
        done=_confirm_done(ask, request),
        may_approve=is_other and request.state == "open" and caller.may(Right.APPROVE, on=where),
        may_withdraw=request.state == "open" and caller.principal == request.opener,
    )


def _confirm_done(ask: ViewRequest, found: RequestInfo) -> str:
    word, own = ask.text("done") or "", ask.caller.principal
    has_approved = any(approval.principal == own for approval in found.approvals)
    ended = {"reject": "rejected", "withdraw": "withdrawn"}.get(word)
    is_so = has_approved if word == "approve" else ended == found.state and found.decided_by == own
    return word if is_so else ""


def _decide(ask: ViewRequest) -> str:
    number, reason = ask.number("request"), ask.form_text("reason")[:2_000]
    match ask.form_text("decision"):
        case "approve":
            service.approve_request(ask.registry, ask.caller, number, message=reason)
        case "reject":
            if not reason:
                raise InvalidInput("a rejection needs a reason", fix="say why")
            service.reject_request(ask.registry, ask.caller, number, reason=reason)
        case "withdraw":
            service.withdraw_request(ask.registry, ask.caller, number)
        case other:
            raise InvalidInput(f"a request is not decided by {other[:40]!r}")
    return f"{ROOT}/requests/{number}?done={ask.form_text('decision')}"


def _cells(page: RequestsPage) -> Iterator[Sequence[Cell]]:
    for row in page.requests.items:
        yield (
            row.id,
            row.state,
            row.ref,
            row.channel,
            row.opener,
            row.opened_at,
            row.uploader,
            len(row.approvals),
            row.due,
            row.reason,
            row.decided_by,
            row.decided_at,
            row.decision,
            row.revision,
        )


_TABLE = PageTable(
    (
        "request",
        "state",
        "ref",
        "channel",
        "opened_by",
        "opened_at",
        "pushed_by",
        "approvals",
        "due",
        "reason",
        "decided_by",
        "decided_at",
        "decision",
        "revision",
    ),
    _cells,
    lambda page: page.requests.next_cursor,
)
_REQUEST = View("/requests/{request}", _show, "request.html.jinja", "Requests")
PAGES = (
    View("/requests", _list, "requests.html.jinja", "Requests", table=_TABLE),
    _REQUEST,
    FormAction("/requests/{request}/decide", _decide, _REQUEST),
)
