"""The kinds of run that a worker carries out. One file a kind, and their table here.

The server has a file a kind as well (`deltareg.service.runs.kinds`), and the wire their names.
"""

from collections.abc import Callable, Mapping
from pathlib import Path

from deltareg.wire import LeaseGrant
from deltareg_verify.supervisor.heartbeat import Heartbeat
from deltareg_verify.supervisor.parts import WorkerParts
from deltareg_verify.supervisor.run_log import RunLogSender
from deltareg_verify.supervisor.runs import answer, compare, prove, reencode, verify

CarryOut = Callable[[WorkerParts, LeaseGrant, Path, Heartbeat, RunLogSender], Callable[[], None]]
"""Carries out a run in a folder of its own, and gives what tells the registry how it ended."""
RUN_KINDS: Mapping[str, CarryOut] = {
    "verify": verify.carry_out,
    "reencode": reencode.carry_out,
    "prove": prove.carry_out,
    "compare": compare.carry_out,
    "answer": answer.carry_out,
}
