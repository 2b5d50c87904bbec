"""Waiving a failed check: which may be waived, by whom, until when, and what happens next."""

from deltareg.errors import InvalidInput
from deltareg.pages.asking import ViewRequest
from deltareg.pages.guard import ROOT
from deltareg.pages.routing import FormAction, FormPlace, View
from deltareg.refs import parse_id
from deltareg.service.channels.waive import continue_verdict, unwaive, waive
from deltareg.service.overview.waiving import WaiverLook, look_at_waiving
from deltareg.wire import Answer, VerdictInfo, WaiverCreate
from deltareg.wire.messages import request_of

_DAY_S = 86_400
_DAYS = (1, 7, 30, 90, 366)


class WaivePage(Answer):
    """A verdict before a check of it is waived; `check` and `channel` are preselected."""

    look: WaiverLook
    check: str
    channel: str
    days: list[int]


def _show(ask: ViewRequest) -> WaivePage:
    look = look_at_waiving(ask.registry, ask.caller, _verdict(ask))
    open_checks = [each.result.name for each in look.failed if not each.why_not]
    check, channel = ask.text("check"), ask.text("channel")
    first = "prod" if "prod" in look.channels else next(iter(look.channels), "")
    return WaivePage(
        look=look,
        check=check if check in open_checks else next(iter(open_checks), ""),
        channel=channel if channel in look.channels else first,
        days=list(_DAYS),
    )


def _act(ask: ViewRequest) -> str:
    verdict_id, check = _verdict(ask), ask.form_text("check")
    match ask.form_text("act"):
        case "waive":
            request = request_of(
                WaiverCreate,
                check=check,
                channel=ask.form_text("channel"),
                reason=ask.form_text("reason")[:2_000],
                expires_at=ask.form_text("until") or None,
                expires_in_s=ask.form_number("days") * _DAY_S,
            )
            verdict = waive(ask.registry, ask.caller, verdict_id, request)
        case "end":
            channel = ask.form_text("channel") or None
            verdict = unwaive(ask.registry, ask.caller, verdict_id, check, channel=channel)
        case "continue":
            run = continue_verdict(ask.registry, ask.caller, verdict_id)
            return f"{ROOT}/runs/{run.id}"
        case other:
            raise InvalidInput(f"nothing is done to a verdict by {other[:40]!r}")
    return _after(verdict)


def _after(verdict: VerdictInfo) -> str:
    """Return the address of the verdict, which shows its outcome and its continuation."""
    line, _, number = verdict.ref.rpartition(":")
    return f"{ROOT}/deltas/{line}/{number}/verdicts#{verdict.id}"


def _verdict(ask: ViewRequest) -> str:
    return parse_id(ask.part("verdict"), "verdict")


_WAIVE = View("/verdicts/{verdict}/waive", _show, "waive.html.jinja", "Deltas")


def _place(ask: ViewRequest) -> FormPlace:
    return FormPlace(_WAIVE, {name: ask.form_text(name) for name in ("check", "channel")})


PAGES = (_WAIVE, FormAction("/verdicts/{verdict}/act", _act, _place))
