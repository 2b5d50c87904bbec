"""The options that write reports as files, and writing them before a command ends."""

import functools
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import click

from deltareg.client.report_files.writing import ReportPaths, write_reports
from deltareg_cli.exits import ExitStatus
from deltareg_cli.invocation import Invocation
from deltareg_cli.options.options import option

if TYPE_CHECKING:
    from deltareg.wire import GateAnswer, RunInfo

_FILE = click.Path(path_type=Path)
_SECTION = "Reports"


def report_options(body: Callable[..., object]) -> Callable[..., object]:
    """Add the report options to a command, which receives `paths` and `against`."""

    @functools.wraps(body)
    def collect_paths(
        *args: object,
        junit: Path | None,
        report_md: Path | None,
        report_json: Path | None,
        report_html: Path | None,
        **rest: object,
    ) -> object:
        paths = ReportPaths(junit, report_md, report_json, report_html)
        return body(*args, paths=paths, **rest)

    report_help = {
        "--junit": "Write the checks as JUnit XML.",
        "--report-md": "Write a report as Markdown, for a comment.",
        "--report-json": "Write a report as JSON.",
        "--report-html": "Write a report as one HTML file with plots.",
    }
    decorated: Callable[..., object] = option(
        "--against",
        default="",
        metavar="REF",
        section=_SECTION,
        help="What the reports compare with; by default what the channel serves, if one is asked.",
    )(collect_paths)
    for name, words in reversed(report_help.items()):
        decorated = option(name, type=_FILE, metavar="FILE", section=_SECTION, help=words)(decorated)
    return decorated


def write_gate_reports(
    invocation: Invocation,
    ref: str,
    paths: ReportPaths,
    *,
    status: ExitStatus,
    answer: "GateAnswer | None" = None,
    runs: Mapping[str, "RunInfo"] | None = None,
    against: str = "",
) -> None:
    """Write every requested report; called before the exit status is known."""
    if not paths.requested:
        return
    from deltareg.client.report_files.gather import ReportRequest, gather  # what other lines need not load

    request = ReportRequest(
        ref, invocation.now, answer, runs or {}, against=against, has_diff=paths.has_diff, has_history=paths.has_history
    )
    write_reports(gather(invocation.client, request, status=int(status)), paths)
