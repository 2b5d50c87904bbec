"""The client: what the command line, the worker and Python programs use to reach a registry."""

from typing import TYPE_CHECKING

from deltareg.client.config import ClientConfig

if TYPE_CHECKING:
    from deltareg.client.client import Client
    from deltareg.client.push.merge import MergeOptions
    from deltareg.client.results.pull_report import PullReport
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

__all__ = [
    "Client",
    "ClientConfig",
    "ConvertReport",
    "DiffReport",
    "Fingerprint",
    "LintReport",
    "MergeOptions",
    "MergePlan",
    "MergeReport",
    "PullReport",
    "PushReport",
    "UpdateReport",
]


def __getattr__(name: str) -> object:
    """Load the client on first use, so that `deltareg --help` needs neither NumPy nor HTTP."""
    if name == "Client":
        from deltareg.client.client import Client

        return Client
    if name == "MergeOptions":
        from deltareg.client.push.merge import MergeOptions

        return MergeOptions
    if name == "PullReport":
        from deltareg.client.results.pull_report import PullReport

        return PullReport
    if name == "UpdateReport":
        from deltareg.client.results.update_report import UpdateReport

        return UpdateReport
    if name in __all__:
        from deltareg.client.results import reports

        return vars(reports)[name]
    raise AttributeError(f"module 'deltareg.client' has no attribute {name!r}")
