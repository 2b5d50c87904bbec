"""How a version is stored: its stored forms, and reverting to one of them."""

from deltareg.pages.asking import ViewRequest
from deltareg.pages.guard import ROOT
from deltareg.pages.routing import FormAction, View
from deltareg.pages.version import ref_of
from deltareg.service.authority.grants import Right
from deltareg.service.push.revert import revert_form, show_forms
from deltareg.shared_state import shared_state_of
from deltareg.wire import Answer, FormHistory, FormRevert


class FormsPage(Answer):
    """The stored forms of a version."""

    line: str
    number: int
    history: FormHistory
    may_revert: bool


def _show(ask: ViewRequest) -> FormsPage:
    ref = ref_of(ask)
    history = show_forms(ask.registry, ask.caller, ref, keep_s=shared_state_of(ask.request).keep_forms_s)
    return FormsPage(
        line=str(ask.line), number=ref.version or 0, history=history, may_revert=ask.caller.may(Right.PUSH, on=ask.line)
    )


def _revert(ask: ViewRequest) -> str:
    history = revert_form(
        ask.registry,
        ask.caller,
        ref_of(ask),
        FormRevert(form=ask.form_number("form")),
        keep_s=shared_state_of(ask.request).keep_forms_s,
    )
    path = f"{ROOT}/deltas/{ask.line}/{ask.part('version')}/storage"
    return path if history.run is None else f"{ROOT}/runs/{history.run.id}"


_PATH = "/deltas/{ns}/{name}/{version}"
_FORMS = View(f"{_PATH}/storage", _show, "forms.html.jinja", "Deltas")
PAGES = (_FORMS, FormAction(f"{_PATH}/revert", _revert, _FORMS))
