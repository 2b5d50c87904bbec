"""Re-encoding: the worker creates the new form of a version, and the registry accepts it or not."""

import logging
from collections.abc import Callable
from functools import partial
from pathlib import Path

from deltareg.wire import LeaseGrant, ReencodeReport
from deltareg_verify.supervisor.heartbeat import Heartbeat
from deltareg_verify.supervisor.parts import WorkerParts
from deltareg_verify.supervisor.run_log import RunLogSender

log = logging.getLogger(__name__)


def carry_out(
    parts: WorkerParts, grant: LeaseGrant, folder: Path, _heart: Heartbeat, told: RunLogSender
) -> Callable[[], None]:
    """Store a version anew; returns the function that ends the run."""
    told.say(f"stores {grant.ref} anew")
    return partial(_replace, parts, grant, parts.reencode(grant, folder))


def _replace(parts: WorkerParts, grant: LeaseGrant, report: ReencodeReport) -> None:
    run = parts.registry.complete_reencode(grant.run, report)
    log.info("run=%s stored=%s", grant.run, run.stored_bytes)
