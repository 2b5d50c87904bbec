"""Comparing: a child holds two versions of one base beside each other, tensor by tensor."""

from collections.abc import Callable
from functools import partial
from pathlib import Path

from deltareg.wire import LeaseGrant
from deltareg.wire.findings import DifferencesFound
from deltareg_verify.found import complete, found_by, gathered
from deltareg_verify.heartbeat import Heartbeat
from deltareg_verify.parts import Parts
from deltareg_verify.run_log import RunLog


def carry_out(
    parts: Parts, grant: LeaseGrant, folder: Path, heart: Heartbeat, told: RunLog
) -> Callable[[], None]:
    """Compare two versions; give what tells the registry."""
    told.say("gets both versions and their base")
    assignment = gathered(parts, grant, folder)
    if assignment.base is None:
        told.say("the base is not to be had: what needs it is not measured")
    heard = found_by(b"compare", DifferencesFound, parts, assignment, heart)
    told.say(f"{len(heard.found.modules)} modules compared")
    return partial(complete, parts, grant, heard)
