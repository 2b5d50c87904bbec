"""A channel: its ledger, its policy, and what moves it, each shown before it is done."""

from collections.abc import Iterator, Sequence

from deltareg.errors import InvalidInput
from deltareg.pages.asking import Ask
from deltareg.pages.guard import ROOT
from deltareg.pages.routing import Action, View
from deltareg.pages.tables import Cell, Table
from deltareg.refs import Ref
from deltareg.service.channels.channels import clear_quarantine, show_channel
from deltareg.service.channels.fleet import list_followers
from deltareg.service.channels.gate import check_gate
from deltareg.service.channels.move import move_channel
from deltareg.service.channels.readiness import show_readiness
from deltareg.service.overview.channel import Ledger, show_ledger
from deltareg.service.overview.line import Line, show_line
from deltareg.wire import (
    Answer,
    ChannelInfo,
    ChannelMove,
    FollowerInfo,
    GateAnswer,
    ReadinessInfo,
)
from deltareg.wire.messages import request_of

_LISTED = 30
_CHOICES = 8
_AGENTS = 200
_KINDS = {"promote", "rollback", "freeze", "unfreeze"}


class StandingPage(Answer):
    """What a channel serves and asks, with all that stands for it or against it."""

    line: str
    channel: ChannelInfo


class Target(Answer):
    """A version that a channel served before: the newest revision by which it did."""

    revision: int
    version: int
    at: str
    reason: str


class RollbackPage(Answer):
    """Where a rollback would go, what it needs, and on whom it has an effect."""

    line: str
    channel: str
    revision: int
    serves: int | None
    readiness: ReadinessInfo
    others: list[Target]
    agents: list[FollowerInfo]


class PromotePage(Answer):
    """A promotion before it is made: the version, the gate's answer, and on whom it has an effect.

    Without a version, `choices` has those that could be chosen.
    """

    line: str
    channel: str
    revision: int
    serves: int | None
    version: int | None
    gate: GateAnswer | None
    choices: Line | None
    agents: list[FollowerInfo]


class FreezePage(Answer):
    """A channel that is to be frozen, or to move again."""

    line: str
    channel: str
    revision: int
    serves: int | None
    is_frozen: bool
    frozen_because: str


def _ledger(ask: Ask) -> Ledger:
    return show_ledger(
        ask.registry, ask.caller, ask.line, ask.channel, at=ask.text("at"),
        cursor=ask.cursor, limit=ask.most(_LISTED),
    )  # fmt: skip


def _standing(ask: Ask) -> StandingPage:
    found = show_channel(ask.registry, ask.caller, ask.line, ask.channel, at=None)
    return StandingPage(line=str(ask.line), channel=found)


def _rollback(ask: Ask) -> RollbackPage:
    registry, caller, line, name = ask.registry, ask.caller, ask.line, ask.channel
    ledger = show_ledger(registry, caller, line, name, at=None, cursor=None, limit=_LISTED)
    readiness = show_readiness(registry, caller, line, name)
    return RollbackPage(
        line=str(line), channel=name, revision=ledger.revision, serves=_served(ledger),
        readiness=readiness, others=_targets(ledger, readiness),
        agents=_agents(ask),
    )  # fmt: skip


def _served(ledger: Ledger) -> int | None:
    return None if ledger.now is None else ledger.now.version


def _targets(ledger: Ledger, readiness: ReadinessInfo) -> list[Target]:
    """List what was served before and is neither served now nor where a rollback goes by itself."""
    left_out = {_served(ledger), readiness.version, *ledger.quarantined}
    found: dict[int, Target] = {}
    for entry in ledger.revisions.items:
        number = entry.version
        if number is None or number in left_out or entry.kind not in {"promote", "rollback"}:
            continue
        found.setdefault(
            number,
            Target(revision=entry.revision, version=number, at=entry.at, reason=entry.reason),
        )
    return list(found.values())[:_CHOICES]


def _promote(ask: Ask) -> PromotePage:
    registry, caller, line, name = ask.registry, ask.caller, ask.line, ask.channel
    ledger = show_ledger(registry, caller, line, name, at=None, cursor=None, limit=1)
    text = (ask.text("version") or "").removeprefix("v")
    if text and not (text.isascii() and text.isdecimal() and len(text) <= 9):
        raise InvalidInput(f"not a version: {text[:40]!r}", fix="write v3")
    wanted = int(text) if text else None
    return PromotePage(
        line=str(line), channel=name, revision=ledger.revision, serves=_served(ledger),
        version=wanted,
        gate=None if wanted is None
        else check_gate(registry, caller, Ref(line, version=wanted), name),
        choices=None if wanted is not None
        else show_line(registry, caller, line, cursor=ask.text("cursor"), limit=_LISTED),
        agents=_agents(ask),
    )  # fmt: skip


def _freeze(ask: Ask) -> FreezePage:
    ledger = show_ledger(
        ask.registry, ask.caller, ask.line, ask.channel, at=None, cursor=None, limit=1
    )
    now = ledger.now
    return FreezePage(
        line=str(ask.line), channel=ask.channel, revision=ledger.revision, serves=_served(ledger),
        is_frozen=now is not None and now.is_frozen and now.kind == "freeze",
        frozen_because="" if now is None else now.frozen_because,
    )  # fmt: skip


def _agents(ask: Ask) -> list[FollowerInfo]:
    of = f"{ask.line}@{ask.channel}"
    return list_followers(ask.registry, ask.caller, of, cursor=None, limit=_AGENTS).items


def _move(ask: Ask) -> str:
    """Do what a form says, seen from the revision that it was shown with."""
    kind = ask.said("kind")
    if kind not in _KINDS:
        raise InvalidInput(f"a channel is not moved by {kind[:40]!r}")
    move = request_of(
        ChannelMove, kind=kind,
        version=ask.said_number("version") if ask.said("version") else None,
        reason=ask.said("reason")[:2_000], until=ask.said("until") or None,
        accept_warnings=ask.said("accept_warnings") == "yes",
    )  # fmt: skip
    seen = ask.said_number("revision")
    made = move_channel(ask.registry, ask.caller, ask.line, ask.channel, move, seen=seen)
    return f"{ROOT}/deltas/{ask.line}/channels/{ask.channel}#r{made.revision}"


def _clear(ask: Ask) -> str:
    reason = ask.said("reason")
    if not reason:
        raise InvalidInput("a quarantine ends with a reason", fix="say why")
    clear_quarantine(
        ask.registry, ask.caller, ask.line, ask.channel, ask.said_number("version"),
        reason=reason[:2_000],
    )  # fmt: skip
    return f"{ROOT}/deltas/{ask.line}/channels/{ask.channel}"


def _cells(page: Ledger) -> Iterator[Sequence[Cell]]:
    for row in page.revisions.items:
        yield (
            row.revision, row.at, row.kind, row.version, row.digest, row.previous, row.actor,
            row.reason, row.until, row.break_glass, row.reviewed_by, row.request,
            " ".join(row.verdicts),
        )  # fmt: skip


_TABLE = Table(
    ("revision", "at", "kind", "version", "digest", "previous", "actor", "reason", "until",
     "break_glass", "reviewed_by", "request", "verdicts"),
    _cells, lambda page: page.revisions.next_cursor,
)  # fmt: skip
_PATH = "/deltas/{ns}/{name}/channels/{channel}"
PAGES = (
    View(_PATH, _ledger, "channel.html.jinja", "Deltas", table=_TABLE),
    View(f"{_PATH}/standing", _standing, "standing.html.jinja", "Deltas"),
    View(f"{_PATH}/rollback", _rollback, "rollback.html.jinja", "Deltas"),
    View(f"{_PATH}/promote", _promote, "promote.html.jinja", "Deltas"),
    View(f"{_PATH}/freeze", _freeze, "freeze.html.jinja", "Deltas"),
    Action(f"{_PATH}/move", _move),
    Action(f"{_PATH}/clear", _clear),
)
