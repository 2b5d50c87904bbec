"""A gate's answer or a verification as one self-contained HTML file."""

from collections.abc import Sequence
from dataclasses import dataclass

import deltareg
from deltareg.client.report_files import ROOM
from deltareg.client.report_files.changes import ChangesSection, changes
from deltareg.client.report_files.facts import GateReport, MetricHistory, ReportComparison
from deltareg.client.report_files.markdown import headline, stored_words
from deltareg.drawing.plots import PlotBar, history, shares
from deltareg.drawing.rendering import render
from deltareg.drawing.wording import size

MOST_METRICS = 24
_CHECKS = (("check", ""), ("verdict", ""), ("value", "num"), ("threshold", "num"), ("baseline", "num"), ("took", "num"))
_WAIVERS = (("what", ""), ("reason", "prose"), ("until", ""), ("by", ""))


@dataclass(frozen=True, slots=True)
class _Card:
    """A check's values over the versions of a line: the newest, and a plot of all."""

    name: str
    newest: float
    threshold: float | None
    plot: str


def to_html(report: GateReport) -> str:
    """Format a report as one HTML file."""
    is_verdict = report.answer is None and report.standing == "allowed"
    return render(
        "gate.html.jinja",
        room=ROOM,
        report=report,
        word="passed" if is_verdict else report.standing,
        headline=headline(report),
        check_columns=_CHECKS,
        waiver_columns=_WAIVERS,
        changes=_changes(report.compared),
        cards=_cards(report.history),
        sizes=_sizes(report),
        stored=stored_words(report),
        foot=f"deltareg {deltareg.__version__} · {report.made_at:%Y-%m-%d %H:%M} UTC",
    )


def _changes(compared: ReportComparison) -> ChangesSection | None:
    diff = compared.diff
    if diff is None:
        return None
    if not compared.has_other:
        return changes(diff, lead=_sentence(compared.note), is_alone=True)
    words = f"A is {diff.a.ref}, {compared.what}; B is {diff.b.ref}."
    return changes(diff, lead=_sentence(compared.note) or words)


def _sentence(words: str) -> str:
    return f"{words.rstrip('.')}." if words else ""


def _cards(metrics: Sequence[MetricHistory]) -> list[_Card]:
    return [_card(metric) for metric in metrics if len(metric.points) > 1][:MOST_METRICS]


def _card(metric: MetricHistory) -> _Card:
    values = [(f"v{point.version}", point.value) for point in metric.points]
    label = f"{metric.check} by version: " + ", ".join(f"{v} {x:.4g}" for v, x in values)
    plot = history(values, threshold=metric.threshold, label=label)
    return _Card(metric.check, values[-1][1], metric.threshold, plot)


def _sizes(report: GateReport) -> list[PlotBar]:
    version, base = report.version, report.base
    sizes = [("stored", version.stored_bytes), ("pushed", version.logical_bytes)]
    if base is not None:
        sizes.append(("a full copy of the model", base.logical_bytes))
    return shares([(name, float(size_bytes), size(size_bytes)) for name, size_bytes in sizes])
