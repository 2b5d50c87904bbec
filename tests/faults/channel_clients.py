"""A client of one channel, in a process of its own: the real service on the real database.

It writes down every call before it is made and every result after it came, a line of JSON each, so
that a client that was killed leaves exactly what it had asked and what it had heard.
"""

import json
import os
import random
import signal
import time
from dataclasses import asdict, dataclass

import sqlalchemy as sa

from deltareg.db.session import BEGIN_OPTION, read
from deltareg.errors import DeltaregError, Unavailable
from deltareg.refs import LineRef
from deltareg.service.channels import channels as service
from deltareg.service.channels import move as moving
from deltareg.service.channels import waive as waiving
from deltareg.wire import ChannelMove, WaiverCreate
from tests.faults.channel_model import FAILED, Call, Result

LINE = LineRef.parse("lab/x")
PASSED = (1, 2, 3, 4)
VERSIONS = (*PASSED, FAILED)
CHECK = "spectral"  # what failed in that one
_KINDS = ("read", "promote", "rollback", "freeze", "unfreeze", "clear", "waive", "unwaive")
_WEIGHTS = (5, 9, 6, 2, 3, 3, 2, 1)
# Of the revisions that a client may say it has seen: what it saw, one too old, one too new.
_SEEN, _SEEN_WEIGHTS = (0, -1, 1), (16, 1, 1)
POINTS = ("before commit", "after commit")


@dataclass(frozen=True, slots=True)
class Part:
    """What one client does in one history.

    Attributes:
        client: Its name.
        seed: What its choices follow from.
        count: How many operations it tries.
        dies_at: From which operation on, and at which point of a move, it kills itself; or None.
    """

    client: str
    seed: str
    count: int
    dies_at: tuple[int, str] | None = None


def play(part, registry, caller, channel, verdict, *, go, out):
    """Play a part once `go` can be read from, and write what happens to `out`.

    Args:
        part: What to do.
        registry: The registry; no connection that its engine has is another process's.
        caller: As whom.
        channel: The name of the channel.
        verdict: That of the version that failed.
        go: A descriptor; that it ends is the sign to begin.
        out: A descriptor for lines of JSON.
    """
    with read(registry.engine) as conn:
        conn.execute(sa.text("SELECT 1"))
    chance, player = random.Random(part.seed), _Player(registry, caller, channel, verdict)
    os.read(go, 1)
    for number in range(part.count):
        call = player.choose(chance)
        if part.dies_at is not None and part.dies_at[0] == number:
            _die_at(registry.engine, part.dies_at[1])
        _write(out, {"n": number, "call": asdict(call), "at": time.monotonic_ns()})
        result = player.act(call, tag=f"{part.client}.{number}")
        if result is not None:
            _write(out, {"n": number, "result": asdict(result), "at": time.monotonic_ns()})


class _Player:
    """Chooses by what it knows of the channel, and learns from what it hears."""

    def __init__(self, registry, caller, channel, verdict):
        self._registry, self._caller, self._channel = registry, caller, channel
        self._verdict = verdict
        self._revision = 0

    def choose(self, chance):
        kind = chance.choices(_KINDS, _WEIGHTS)[0]
        version = chance.choice(VERSIONS)
        if kind in {"read", "waive", "unwaive"}:
            return Call(kind)
        if kind == "clear":
            return Call(kind, version=version)
        seen = max(0, self._revision + chance.choices(_SEEN, _SEEN_WEIGHTS)[0])
        if kind == "rollback" and chance.random() < 0.5:
            return Call(kind, seen)
        return Call(kind, seen, version if kind in {"promote", "rollback"} else None)

    def act(self, call, *, tag):
        """Make a call; None when nobody can say whether it took effect."""
        try:
            result = self._call(call, tag)
        except Unavailable:
            return None
        except DeltaregError as error:
            if error.code == "stale_revision":
                self._revision = self._look().revision
            return Result(error.code)
        except Exception as error:  # noqa: BLE001  # no answer of a channel, whatever it is
            return Result(f"{type(error).__name__}: {error}")
        if result.revision is not None:
            self._revision = result.revision
        return result

    def _call(self, call, tag):
        registry, caller = self._registry, self._caller
        if call.kind == "read":
            info = self._look()
            return Result(
                "ok", info.revision, info.version, info.is_frozen, tuple(info.quarantined)
            )
        if call.kind == "waive":
            asked = WaiverCreate(check=CHECK, channel=self._channel, reason=tag)
            waiving.waive(registry, caller, self._verdict, asked)
            return Result("ok")
        if call.kind == "unwaive":
            waiving.unwaive(registry, caller, self._verdict, CHECK, channel=self._channel)
            return Result("ok")
        if call.kind == "clear":
            service.clear_quarantine(
                registry, caller, LINE, self._channel, call.version, reason=tag
            )
            return Result("ok")
        move = ChannelMove(kind=call.kind, version=call.version, reason=tag)
        moved = moving.move_channel(registry, caller, LINE, self._channel, move, seen=call.seen)
        return Result("ok", moved.revision, moved.version)

    def _look(self):
        return service.show_channel(self._registry, self._caller, LINE, self._channel, at=None)


def _die_at(engine, point):
    """Let this process be killed at a point of its next move that is made."""
    is_sent = []

    def die():
        os.kill(os.getpid(), signal.SIGKILL)

    def commit(conn):
        # Readers commit as well.
        if conn.get_execution_options().get(BEGIN_OPTION) == "BEGIN IMMEDIATE":
            is_sent.append(True)
            if point == POINTS[0]:
                die()

    def checkin(*_):
        if is_sent:
            die()

    sa.event.listen(engine, "commit", commit)
    sa.event.listen(engine, "checkin", checkin)


def _write(out, told):
    # A line is shorter than PIPE_BUF, so the kernel takes all of it or nothing.
    os.write(out, json.dumps(told).encode() + b"\n")
