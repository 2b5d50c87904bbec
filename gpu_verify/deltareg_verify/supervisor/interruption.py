"""Why a child is not waited for any more."""

from pathlib import Path

from deltareg_verify.sandbox.mounts import ROOM_BYTES
from deltareg_verify.supervisor.disk_usage import holds_more_than
from deltareg_verify.supervisor.heartbeat import Heartbeat
from deltareg_verify.supervisor.parts import WorkerParts


def interruption(parts: WorkerParts, heart: Heartbeat, *, own: Path | None = None) -> str:
    """Return why a run must end early; empty while it need not.

    Args:
        parts: The worker's parts.
        heart: The heartbeat, which knows whether the lease holds.
        own: The folder that the child may write, where it has one.
    """
    if heart.is_lost:
        return "the lease is lost"
    if own is not None and holds_more_than(own, ROOM_BYTES):
        return "the child fills the disk"
    return "the worker was asked to stop" if parts.stop.is_overdue else ""
