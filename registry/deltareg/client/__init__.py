"""The client: what the command line, the worker and Python programs use to reach a registry."""

from typing import TYPE_CHECKING

from deltareg.client.config import ClientConfig

if TYPE_CHECKING:
    from deltareg.client.client import Client
    from deltareg.client.push.merge import MergeOptions
    from deltareg.client.results.pull_report import MaterializeReport, PullReport
    from deltareg.client.results.reports import (
        ConvertReport,
        DiffReport,
        Fingerprint,
        LintReport,
        MergePlan,
        MergeReport,
        PushReport,
    )
    from deltareg.client.results.update_report import UpdateReport
    from deltareg.client.worker_client import WorkerClient

__all__ = [
    "Client",
    "ClientConfig",
    "ConvertReport",
    "DiffReport",
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
    if name == "Client":
        from deltareg.client.client import Client

        return Client
    if name == "WorkerClient":
        from deltareg.client.worker_client import WorkerClient

        return WorkerClient
    if name == "MergeOptions":
        from deltareg.client.push.merge import MergeOptions

        return MergeOptions
    if name in {"PullReport", "MaterializeReport"}:
        from deltareg.client.results import pull_report

        return vars(pull_report)[name]
    if name == "UpdateReport":
        from deltareg.client.results.update_report import UpdateReport

        return UpdateReport
    if name in __all__:
        from deltareg.client.results import reports

        return vars(reports)[name]
    raise AttributeError(f"module 'deltareg.client' has no attribute {name!r}")
