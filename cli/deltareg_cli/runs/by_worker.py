"""Waits for what a worker finds out: how far two versions are apart, what they answer."""

from dataclasses import replace
from typing import TYPE_CHECKING

from deltareg.errors import Unavailable
from deltareg_cli.invocation import Invocation
from deltareg_cli.runs.waiting import wait_for

if TYPE_CHECKING:
    from deltareg.client import DiffReport
    from deltareg.wire import RunInfo


def compare_by_worker(invocation: Invocation, a: str, b: str, *, top: int, timeout_s: float) -> "DiffReport":
    """Compare two versions: their manifests here, their tensors on a worker."""
    from deltareg.delta.compare import WeightDifference  # brings NumPy

    client = invocation.client
    report = client.diff(a, b, top=0, has_numbers=False)
    if not report.is_different:
        return report
    a, b = report.a.ref, report.b.ref
    require_done(wait_for(invocation, client.runs.compare(a, b), timeout_s=timeout_s), "compared")
    comparison = client.runs.comparison(a, b)
    modules = [WeightDifference(**one.model_dump(exclude={"count"})) for one in comparison.modules[:top]]
    return replace(report, modules=modules, note=comparison.note, general=comparison.general)


def require_done(run: "RunInfo", done: str) -> None:
    """Require that a run has a result.

    Raises:
        Unavailable: It has none.
    """
    if run.state != "done":
        raise Unavailable(
            f"nothing was {done}: {run.error or run.state}",
            fix=f"see what the worker said: deltareg verdict logs {run.id}",
        )
