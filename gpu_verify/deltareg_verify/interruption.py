"""Why a child is not waited for any more."""

from deltareg_verify.heartbeat import Heartbeat
from deltareg_verify.parts import Parts


def interruption(parts: Parts, heart: Heartbeat) -> str:
    """Say why a run is to end before its time; empty while it is not."""
    if heart.is_lost:
        return "the lease is lost"
    return "the worker was asked to stop" if parts.stop.is_overdue else ""
