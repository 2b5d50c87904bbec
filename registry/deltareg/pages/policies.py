"""Policies of channels, namespaces and the server: written here, and tried before they are saved.

The command line's parser reads them, and the use cases of the API save them.
"""

from deltareg.errors import Conflict, InvalidInput, NotFound, StaleRevision
from deltareg.gate.policy_file import read_floor_file, read_policy_file
from deltareg.pages.asking import ViewRequest
from deltareg.pages.documents import FormText, begin_text, read_sent
from deltareg.pages.guard import ROOT
from deltareg.pages.routing import FormReply, FormView
from deltareg.refs import parse_name
from deltareg.service.authority.grants import Right
from deltareg.service.authority.resources import EVERYTHING, Channel, Namespace
from deltareg.service.channels.floors import set_floor, show_floor
from deltareg.service.channels.policies import set_policy, show_policy
from deltareg.service.overview.trials import FloorTrial, PolicyTrial, try_floor, try_policy
from deltareg.wire import Answer, ChannelFloor, FloorSet, PolicySet, status_of
from deltareg.wire.messages import request_of

TELLABLE = (InvalidInput, StaleRevision, NotFound, Conflict)


class PolicyPage(Answer):
    """The policy of a channel as text, and the effect of an unsaved text."""

    line: str
    channel: str
    written: FormText
    floors: list[ChannelFloor]
    may_edit: bool
    trial: PolicyTrial | None = None


class FloorPage(Answer):
    """The floor of the server or of a namespace, as text."""

    of: str
    namespace: str
    written: FormText
    why: str
    actor: str
    at: str
    may_edit: bool
    trial: FloorTrial | None = None


def _policy(ask: ViewRequest) -> PolicyPage:
    line, name = ask.line, ask.channel
    info = show_policy(ask.registry, ask.caller, line, name)
    return PolicyPage(
        line=str(line),
        channel=name,
        written=begin_text(info.policy, info.digest),
        floors=info.floors,
        may_edit=ask.caller.may(Right.ADMIN, on=Channel(line, name)),
    )


def _send_policy(ask: ViewRequest) -> str | FormReply:
    page, sent = _policy(ask), read_sent(ask)
    try:
        policy = read_policy_file(sent.raw)
        if ask.form_text("act") == "save":
            request = request_of(PolicySet, policy=policy, reason=sent.reason)
            set_policy(ask.registry, ask.caller, ask.line, ask.channel, request, is_seen=sent.is_seen)
            return f"{ROOT}/deltas/{ask.line}/channels/{ask.channel}/standing"
        trial = try_policy(ask.registry, ask.caller, ask.line, ask.channel, policy)
    except TELLABLE as error:
        return FormReply(page.model_copy(update={"written": sent.wrong(error)}), status_of(error))
    return FormReply(page.model_copy(update={"written": sent.show_again(), "trial": trial}))


def _floor(ask: ViewRequest) -> FloorPage:
    namespace = _namespace(ask)
    floor = show_floor(ask.registry, ask.caller, namespace)
    place = EVERYTHING if namespace is None else Namespace(namespace)
    return FloorPage(
        of=floor.of,
        namespace=namespace or "",
        written=begin_text(floor.policy, floor.digest),
        why=floor.reason,
        actor=floor.actor or "",
        at=floor.at or "",
        may_edit=ask.caller.may(Right.ADMIN, on=place),
    )


def _send_floor(ask: ViewRequest) -> str | FormReply:
    page, sent, namespace = _floor(ask), read_sent(ask), _namespace(ask)
    try:
        policy = read_floor_file(sent.raw, of=page.of)
        if ask.form_text("act") == "save":
            request = request_of(FloorSet, policy=policy, reason=sent.reason)
            set_floor(ask.registry, ask.caller, namespace, request, is_seen=sent.is_seen)
            return f"{ROOT}/policy" + (f"?namespace={namespace}" if namespace else "")
        trial = try_floor(ask.registry, ask.caller, namespace, policy)
    except TELLABLE as error:
        return FormReply(page.model_copy(update={"written": sent.wrong(error)}), status_of(error))
    return FormReply(page.model_copy(update={"written": sent.show_again(), "trial": trial}))


def _namespace(ask: ViewRequest) -> str | None:
    text = ask.text("namespace")
    return None if text is None else parse_name(text, "namespace")


PAGES = (
    FormView("/deltas/{ns}/{name}/channels/{channel}/policy", _policy, _send_policy, "policy.html.jinja", "Deltas"),
    FormView("/policy", _floor, _send_floor, "floor.html.jinja"),
)
