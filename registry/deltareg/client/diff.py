"""Diff."""

from deltareg.client.context import Context
from deltareg.client.reports import DiffReport
from deltareg.refs import Ref


def diff(context: Context, a: Ref, b: Ref, *, top: int) -> DiffReport:
    """Compare two versions."""
    raise NotImplementedError
