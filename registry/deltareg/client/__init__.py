"""The client: what the command line, the worker and Python programs use to reach a registry."""

from typing import TYPE_CHECKING

from deltareg.client.config import ClientConfig
from deltareg.on_demand import load_name

if TYPE_CHECKING:
    from deltareg.client.client import Client
    from deltareg.client.push.merge import MergeOptions
    from deltareg.client.results.diff_report import DiffReport
    from deltareg.client.results.extract_report import ExtractReport
    from deltareg.client.results.pull_report import MaterializeReport, PullReport
    from deltareg.client.results.reports import (
        ConvertReport,
        Fingerprint,
        LintReport,
        MergePlan,
        MergeReport,
        PushReport,
    )
    from deltareg.client.results.update_report import UpdateReport
    from deltareg.client.worker_client import WorkerClient

_HOMES = {
    "client": ("Client",),
    "push.merge": ("MergeOptions",),
    "results.diff_report": ("DiffReport",),
    "results.extract_report": ("ExtractReport",),
    "results.pull_report": ("MaterializeReport", "PullReport"),
    "results.reports": ("ConvertReport", "Fingerprint", "LintReport", "MergePlan", "MergeReport", "PushReport"),
    "results.update_report": ("UpdateReport",),
    "worker_client": ("WorkerClient",),
}

__all__ = [
    "Client",
    "ClientConfig",
    "ConvertReport",
    "DiffReport",
    "ExtractReport",
    "Fingerprint",
    "LintReport",
    "MaterializeReport",
    "MergeOptions",
    "MergePlan",
    "MergeReport",
    "PullReport",
    "PushReport",
    "UpdateReport",
    "WorkerClient",
]


def __getattr__(name: str) -> object:
    """Load the client on first use, so that `deltareg --help` needs neither NumPy nor HTTP."""
    return load_name(__name__, _HOMES, name)
