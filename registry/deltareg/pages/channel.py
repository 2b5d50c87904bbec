"""The pages of a channel: its ledger, its policy, and its moves, each shown before it is made."""

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta

from deltareg.errors import InvalidInput
from deltareg.pages.asking import ViewRequest
from deltareg.pages.guard import ROOT
from deltareg.pages.policy_words import policy_words
from deltareg.pages.routing import FormAction, FormPlace, View
from deltareg.pages.tables import Cell, PageTable
from deltareg.service.authority.grants import Right
from deltareg.service.authority.resources import Channel
from deltareg.service.channels.channels import clear_quarantine, show_channel
from deltareg.service.channels.move import move_channel
from deltareg.service.channels.reviews import review_move
from deltareg.service.overview.beside import OpenRequest
from deltareg.service.overview.channel import Ledger, show_ledger
from deltareg.service.overview.line import LineOverview, show_line
from deltareg.service.overview.moves import RollbackPreview, show_promotion, show_way_back
from deltareg.wire import Answer, ChannelInfo, ChannelMove, FollowerInfo, GateAnswer, RevisionInfo
from deltareg.wire.messages import request_of
from deltareg.words import REVISION_KINDS

_LISTED = 30


class StandingPage(Answer):
    """What a channel serves and what its policy asks, with all that speaks for or against it.

    `may_review` lists the moves that the caller's rights let them review, `overdue` those whose
    review is overdue. The registry itself decides whether the caller counts as somebody other than
    whoever broke the glass.
    """

    line: str
    channel: ChannelInfo
    may_review: list[int]
    overdue: list[int]

    @property
    def asked(self) -> list[tuple[str, str]]:
        """The channel's own policy, in words."""
        return policy_words(self.channel.policy)

    @property
    def floors(self) -> list[tuple[str, list[tuple[str, str]]]]:
        """The floors that apply beside it: whose they are, and what they ask, in words."""
        return [(floor.of, policy_words(floor.policy, is_floor=True)) for floor in self.channel.floors]


class PromotePage(Answer):
    """A promotion before it is made: the version, the gate's answer, and the agents it affects.

    Without a version, `choices` has the versions to choose from, and no agents are listed yet.
    """

    line: str
    channel: str
    revision: int
    serves: int | None
    version: int | None
    gate: GateAnswer | None
    choices: LineOverview | None
    agents: list[FollowerInfo]
    requests: list[OpenRequest]
    may_promote: bool


class FreezePage(Answer):
    """A channel to be frozen or unfrozen."""

    line: str
    channel: str
    revision: int
    serves: int | None
    is_frozen: bool
    frozen_because: str
    may_move: bool


class Day(Answer):
    """A day of the last week, and its end in UTC."""

    name: str
    ends: str


class LedgerPage(Ledger):
    """A channel with its ledger, and the days to choose from; the newest comes first.

    `done` is the newest entry, if the address says that it has just been made.
    """

    days: list[Day]
    done: RevisionInfo | None


def _ledger(ask: ViewRequest) -> LedgerPage:
    ledger = show_ledger(
        ask.registry, ask.caller, ask.line, ask.channel, at=ask.text("at"), cursor=ask.cursor, limit=ask.most(_LISTED)
    )
    newest = ledger.revisions.items[0] if ledger.revisions.items else None
    is_done = newest is not None and ask.text("done") == str(newest.revision) == str(ledger.revision)
    return LedgerPage(**dict(ledger), days=_last_days(datetime.now(UTC)), done=newest if is_done else None)


def _last_days(now: datetime) -> list[Day]:
    past = [now - timedelta(days=back) for back in range(1, 8)]
    return [Day(name=f"{day:%a} {day.day} {day:%b}", ends=f"{day:%Y-%m-%d}T23:59:59Z") for day in past]


def _standing(ask: ViewRequest) -> StandingPage:
    info = show_channel(ask.registry, ask.caller, ask.line, ask.channel, at=None)
    may = ask.caller.may(Right.APPROVE, on=Channel(ask.line, ask.channel))
    now = datetime.now(UTC)
    return StandingPage(
        line=str(ask.line),
        channel=info,
        may_review=[move.revision for move in info.to_review if may and move.actor != ask.caller.principal],
        overdue=[m.revision for m in info.to_review if datetime.fromisoformat(m.due) < now],
    )


def _rollback(ask: ViewRequest) -> RollbackPreview:
    return show_way_back(ask.registry, ask.caller, ask.line, ask.channel)


def _find_served(ledger: Ledger) -> int | None:
    return None if ledger.now is None else ledger.now.version


def _promote(ask: ViewRequest) -> PromotePage:
    registry, caller, line, name = ask.registry, ask.caller, ask.line, ask.channel
    text = (ask.text("version") or "").removeprefix("v")
    if text and not (text.isascii() and text.isdecimal() and len(text) <= 9):
        raise InvalidInput(f"not a version: {text[:40]!r}", fix="write v3")
    if text:
        promotion = show_promotion(registry, caller, line, name, version=int(text))
        return PromotePage(line=str(line), channel=name, **dict(promotion), version=int(text), choices=None)
    choices = show_line(registry, caller, line, cursor=ask.text("cursor"), limit=_LISTED)
    if name not in choices.names:
        show_channel(registry, caller, line, name, at=None)  # which says what there is
    now = choices.channels.get(name)
    return PromotePage(
        line=str(line),
        channel=name,
        revision=0 if now is None else now.revision,
        serves=None if now is None else now.version,
        version=None,
        gate=None,
        choices=choices,
        agents=[],
        requests=[],
        may_promote=caller.may(Right.PROMOTE, on=Channel(line, name)),
    )


def _freeze(ask: ViewRequest) -> FreezePage:
    ledger = show_ledger(ask.registry, ask.caller, ask.line, ask.channel, at=None, cursor=None, limit=1)
    now = ledger.now
    return FreezePage(
        line=str(ask.line),
        channel=ask.channel,
        revision=ledger.revision,
        serves=_find_served(ledger),
        is_frozen=now is not None and now.is_frozen and now.kind == "freeze",
        frozen_because="" if now is None else now.frozen_because,
        may_move=ask.caller.may(Right.PROMOTE, on=Channel(ask.line, ask.channel)),
    )


def _move(ask: ViewRequest) -> str:
    """Make the move of a form, based on the revision that the form was shown with."""
    kind = ask.form_text("kind")
    if kind not in REVISION_KINDS:
        raise InvalidInput(f"a channel is not moved by {kind[:40]!r}")
    move = request_of(
        ChannelMove,
        kind=kind,
        version=ask.form_number("version") if ask.form_text("version") else None,
        reason=ask.form_text("reason")[:2_000],
        until=ask.form_text("until") or None,
        accept_warnings=ask.form_text("accept_warnings") == "yes",
        new_base=ask.form_text("new_base") == "yes",
        accept_undecided=ask.form_text("accept_undecided") == "yes",
    )
    seen_number = ask.form_number("revision")
    revision = move_channel(ask.registry, ask.caller, ask.line, ask.channel, move, seen=seen_number)
    return f"{ROOT}/deltas/{ask.line}/channels/{ask.channel}?done={revision.revision}"


def _clear(ask: ViewRequest) -> str:
    reason = ask.form_text("reason")
    if not reason:
        raise InvalidInput("a quarantine ends with a reason", fix="say why")
    clear_quarantine(ask.registry, ask.caller, ask.line, ask.channel, ask.form_number("version"), reason=reason[:2_000])
    return f"{ROOT}/deltas/{ask.line}/channels/{ask.channel}"


def _review(ask: ViewRequest) -> str:
    reason = ask.form_text("reason")
    if not reason:
        raise InvalidInput("a review says what was found", fix="write it")
    review_move(ask.registry, ask.caller, ask.line, ask.channel, ask.form_number("revision"), message=reason[:2_000])
    return f"{ROOT}/deltas/{ask.line}/channels/{ask.channel}#r{ask.form_number('revision')}"


def _cells(page: Ledger) -> Iterator[Sequence[Cell]]:
    for row in page.revisions.items:
        yield (
            row.revision,
            row.at,
            row.kind,
            row.version,
            row.digest,
            row.previous,
            row.actor,
            row.reason,
            row.until,
            row.break_glass,
            row.reviewed_by,
            row.review,
            row.request,
            " ".join(row.verdicts),
        )


_TABLE = PageTable(
    (
        "revision",
        "at",
        "kind",
        "version",
        "digest",
        "previous",
        "actor",
        "reason",
        "until",
        "break_glass",
        "reviewed_by",
        "review",
        "request",
        "verdicts",
    ),
    _cells,
    lambda page: page.revisions.next_cursor,
)
_PATH = "/deltas/{ns}/{name}/channels/{channel}"
_LEDGER = View(_PATH, _ledger, "channel.html.jinja", "Deltas", table=_TABLE)
_STANDING = View(f"{_PATH}/standing", _standing, "standing.html.jinja", "Deltas")
_ROLLBACK = View(f"{_PATH}/rollback", _rollback, "rollback.html.jinja", "Deltas")
_PROMOTE = View(f"{_PATH}/promote", _promote, "promote.html.jinja", "Deltas")
_FREEZE = View(f"{_PATH}/freeze", _freeze, "freeze.html.jinja", "Deltas")


def _place(ask: ViewRequest) -> FormPlace:
    """Return the page of the form that a move was sent from."""
    match ask.form_text("kind"):
        case "promote":
            return FormPlace(_PROMOTE, {"version": ask.form_text("version")})
        case "rollback":
            return FormPlace(_ROLLBACK)
        case "freeze" | "unfreeze":
            return FormPlace(_FREEZE)
        case _:
            return FormPlace(_LEDGER)


PAGES = (
    _LEDGER,
    _STANDING,
    _ROLLBACK,
    _PROMOTE,
    _FREEZE,
    FormAction(f"{_PATH}/move", _move, _place),
    FormAction(f"{_PATH}/clear", _clear, _LEDGER),
    FormAction(f"{_PATH}/review", _review, _STANDING),
)
