"""How far two versions of a line are apart, as a worker measured, and the form that asks one."""

from deltareg.errors import InvalidInput
from deltareg.pages.asking import ViewRequest
from deltareg.pages.diff import number_of
from deltareg.pages.guard import ROOT
from deltareg.pages.magnitude_map import MagnitudeMap, change_map, overlap_map
from deltareg.pages.routing import FormAction, View
from deltareg.refs import Ref
from deltareg.service.runs.comparing import queue_comparison, show_comparison
from deltareg.wire import Answer, request_of
from deltareg.wire.findings import CompareCreate, VersionDifferences


class FiguresPage(Answer):
    """Two versions by their tensors: maps of where they differ and how much they overlap."""

    line: str
    a: int
    b: int
    differences: VersionDifferences
    change: MagnitudeMap | None = None
    overlap: MagnitudeMap | None = None


def _figures(ask: ViewRequest) -> FiguresPage:
    a, b = _choose_version(ask, ask.text("a")), _choose_version(ask, ask.text("b"))
    differences = show_comparison(ask.registry, ask.caller, a, b)
    return FiguresPage(
        line=str(ask.line),
        a=a.version or 0,
        b=b.version or 0,
        differences=differences,
        change=change_map(differences.modules) if differences.modules else None,
        overlap=overlap_map(differences.modules),
    )


def _compare(ask: ViewRequest) -> str:
    a, b = _choose_version(ask, ask.form_text("a")), _choose_version(ask, ask.form_text("b"))
    request = request_of(CompareCreate, a=str(a), b=str(b), again=ask.form_text("again") == "yes")
    queue_comparison(ask.registry, ask.caller, request)
    return f"{ROOT}/deltas/{ask.line}/diff?a=v{a.version}&b=v{b.version}"


def _choose_version(ask: ViewRequest, text: str | None) -> Ref:
    number = number_of(text or None)
    if number is None:
        raise InvalidInput("two versions are compared", fix="name them: ?a=v1&b=v2")
    return Ref(ask.line, version=number)


PAGES = (
    View("/deltas/{ns}/{name}/diff/figures", _figures, "figures.html.jinja", "Deltas"),
    FormAction("/deltas/{ns}/{name}/diff/compare", _compare),
)
