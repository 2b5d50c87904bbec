"""Measures of a line over its versions, as small plots side by side."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from urllib.parse import urlencode

from deltareg.drawing.plots import history
from deltareg.drawing.strokes import brief
from deltareg.drawing.wording import size
from deltareg.errors import NotFound
from deltareg.pages.asking import ViewRequest
from deltareg.pages.routing import View
from deltareg.pages.tables import Cell, PageTable
from deltareg.service.overview.measures import SIZES, LineMeasures, MeasureSeries, show_measures

_VERSIONS = 60
_LEAST = 2


@dataclass(frozen=True, slots=True)
class MeasureCard:
    """A measure with a plot: its newest value, its mark, the plot, and the plot's file address."""

    name: str
    newest: float
    mark: float | None
    good: str
    plot: str
    file: str
    is_compared: bool
    is_size: bool


class MeasuresPage(LineMeasures):
    """The measures of a line, or the one that was asked for."""

    asked: str

    @property
    def cards(self) -> list[MeasureCard]:
        """The measures with at least two values that are not all the same, with their plots."""
        path = f"/ui/deltas/{self.line}/metrics"
        return [
            MeasureCard(
                each.name,
                each.points[-1].value,
                each.mark,
                each.good,
                _draw_history(each),
                f"{path}?{urlencode({'measure': each.name, 'format': 'svg'})}",
                each.is_compared,
                each.name in SIZES,
            )
            for each in self.measures
            if not _is_flat(each) and len(each.points) >= _LEAST
        ]

    @property
    def flat(self) -> list[tuple[str, float]]:
        """The measures that were the same in every version, with their values."""
        return [
            (each.name, each.points[-1].value)
            for each in self.measures
            if _is_flat(each) and len(each.points) >= _LEAST
        ]


def _show(ask: ViewRequest) -> MeasuresPage:
    report = show_measures(ask.registry, ask.caller, ask.line, limit=ask.most(_VERSIONS))
    name = ask.text("measure") or ""
    measures = [each for each in report.measures if name in {"", each.name}]
    if name and not measures:
        raise NotFound(
            f"nothing is measured of {ask.line} that is called {name[:80]!r}", fix="leave it out to see all that is"
        )
    return MeasuresPage(line=report.line, measures=measures, asked=name)


def _is_flat(measure: MeasureSeries) -> bool:
    return len({point.value for point in measure.points}) == 1


def _draw_history(measure: MeasureSeries) -> str:
    values = [(f"v{point.version}", point.value) for point in measure.points]
    label = f"{measure.name} by version: " + ", ".join(f"{v} {x:.4g}" for v, x in values)
    words = size if measure.name in SIZES else brief
    return history(values, threshold=measure.mark, label=label, words=words)


def _plot(page: MeasuresPage) -> str:
    if not page.measures:
        raise NotFound(f"nothing is measured of {page.line}", fix=f"deltareg verify {page.line} --wait")
    return _draw_history(page.measures[0])


def _cells(page: MeasuresPage) -> Iterator[Sequence[Cell]]:
    for measure in page.measures:
        for point in measure.points:
            yield measure.name, point.version, point.value


PAGES = (
    View(
        "/deltas/{ns}/{name}/metrics",
        _show,
        "measures.html.jinja",
        "Deltas",
        table=PageTable(("measure", "version", "value"), _cells),
        plot=_plot,
    ),
)
