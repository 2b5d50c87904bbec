"""Suites: what verifications check; written here, and tried on served versions before saving.

The use case of the API pushes a suite. Files of its probe sets that the registry does not have yet
have to be pushed by the command line, which reads them from disk.
"""

from collections.abc import Iterator, Sequence

from deltareg.pages.asking import ViewRequest
from deltareg.pages.documents import FormText, begin_text, read_sent
from deltareg.pages.guard import ROOT
from deltareg.pages.policies import TELLABLE
from deltareg.pages.routing import FormReply, FormView, View
from deltareg.pages.tables import Cell, PageTable
from deltareg.refs import parse_name
from deltareg.service.authority.grants import Right
from deltareg.service.authority.resources import EVERYTHING
from deltareg.service.overview.trials import SuiteTrial, try_suite
from deltareg.service.verdicts.suites import list_suites, list_versions, push_suite, show_suite
from deltareg.suites.catalogue import about
from deltareg.tensors.header import strict_json_object
from deltareg.wire import Answer, SuiteInfo, SuitePush, status_of
from deltareg.wire.messages import request_of

_LISTED = 50
_BEGIN: dict[str, object] = {"name": "mine", "about": "what it is for", "checks": ["digests", "finite", "effect"]}


class SuitesPage(Answer):
    """All suites as they are now."""

    suites: list[SuiteInfo]
    may_edit: bool


class SuitePage(Answer):
    """A suite with its versions, and a description of each of its checks."""

    suite: SuiteInfo
    versions: list[SuiteInfo]
    about: dict[str, str]
    may_edit: bool

    @property
    def columns(self) -> dict[str, str]:
        """The optional columns of the table of checks, field to head, if any check has them."""
        heads = {"threshold": "Mark", "against": "Against", "probes": "Probes"}
        return {name: head for name, head in heads.items() if any(check.to_dict()[name] for check in self.suite.checks)}

    @property
    def heads(self) -> list[tuple[str, str]]:
        """The heads of the table of checks."""
        columns = [(head, "prose") for head in self.columns.values()]
        return [("Check", ""), ("Required", ""), ("Settings", "prose"), *columns]


class SuiteForm(Answer):
    """A suite as text; `name` is that of the suite it is based on, empty for a new one."""

    name: str
    written: FormText
    may_edit: bool
    trial: SuiteTrial | None = None


def _list(ask: ViewRequest) -> SuitesPage:
    return SuitesPage(suites=list_suites(ask.registry, ask.caller).items, may_edit=_may_edit(ask))


def _show(ask: ViewRequest) -> SuitePage:
    name = _name(ask)
    suite = show_suite(ask.registry, ask.caller, name, digest=ask.text("digest"))
    versions: list[SuiteInfo] = []
    if not suite.is_built_in:
        page = list_versions(ask.registry, ask.caller, name, cursor=None, limit=_LISTED)
        versions = page.items
    return SuitePage(
        suite=suite, versions=versions, about=about(check.check for check in suite.checks), may_edit=_may_edit(ask)
    )


def _edit(ask: ViewRequest) -> SuiteForm:
    name = _name(ask)
    suite = show_suite(ask.registry, ask.caller, name)
    fields = strict_json_object(suite.document.encode())
    if suite.is_built_in:
        fields = {**fields, "name": f"my-{name}"}
    return SuiteForm(
        name=name, written=begin_text(fields, "" if suite.is_built_in else suite.digest), may_edit=_may_edit(ask)
    )


def _begin(ask: ViewRequest) -> SuiteForm:
    return SuiteForm(name="", written=begin_text(_BEGIN, ""), may_edit=_may_edit(ask))


def _send(ask: ViewRequest) -> str | FormReply:
    name = str(ask.request.path_params.get("suite", ""))
    sent = read_sent(ask)
    page = SuiteForm(name=name, written=sent.show_again(), may_edit=_may_edit(ask))
    try:
        if ask.form_text("act") == "save":
            request = request_of(SuitePush, document=sent.text)
            pushed = push_suite(ask.registry, ask.caller, request, is_seen=sent.is_seen)
            return f"{ROOT}/suites/{pushed.name}"
        trial = try_suite(ask.registry, ask.caller, sent.text)
    except TELLABLE as error:
        return FormReply(page.model_copy(update={"written": sent.wrong(error)}), status_of(error))
    return FormReply(page.model_copy(update={"trial": trial}))


def _may_edit(ask: ViewRequest) -> bool:
    return ask.caller.may(Right.ADMIN, on=EVERYTHING)


def _name(ask: ViewRequest) -> str:
    return parse_name(ask.part("suite"), "suite")


def _cells(page: SuitesPage) -> Iterator[Sequence[Cell]]:
    for row in page.suites:
        yield (
            row.name,
            row.version,
            row.digest,
            row.is_built_in,
            row.about,
            len(row.checks),
            row.created_at,
            row.created_by,
        )


def _check_cells(page: SuitePage) -> Iterator[Sequence[Cell]]:
    for check in page.suite.checks:
        yield (check.name, check.check, check.required, check.threshold, check.against, check.probes)


_TABLE = PageTable(("suite", "version", "digest", "is_built_in", "about", "checks", "created_at", "created_by"), _cells)
_CHECKS = PageTable(("name", "check", "required", "mark", "against", "probes"), _check_cells)
PAGES = (
    View("/suites", _list, "suites.html.jinja", table=_TABLE),
    FormView("/suites/-/new", _begin, _send, "suite_form.html.jinja"),
    View("/suites/{suite}", _show, "suite.html.jinja", table=_CHECKS),
    FormView("/suites/{suite}/edit", _edit, _send, "suite_form.html.jinja"),
)
