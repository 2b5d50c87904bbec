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

from deltareg.db import tables as t
from deltareg.db.session import BEGIN_OPTION, read
from deltareg.db.verdicts.outcomes import key_of_continuation
from deltareg.errors import DeltaregError, Unavailable
from deltareg.refs import LineRef, Ref
from deltareg.service.channels import channels as service
from deltareg.service.channels import move as moving
from deltareg.service.channels import waive as waiving
from deltareg.service.lines.versions import delete_version
from deltareg.service.push.restore import restore_version
from deltareg.service.runs.kinds.verify import complete_run
from deltareg.wire import ChannelMove, WaiverCreate
from tests.faults.channel_model import EARLY, FAILED, SPARE, Call, Result
from tests.service import work

LINE = LineRef.parse("lab/x")
PASSED = (1, 2, 3, 4)
VERSIONS = (*PASSED, FAILED, SPARE, EARLY)
CHECK = "spectral"  # what failed in that one
FIRST = "norm_ratio"  # what failed in the one of which the rest was skipped
_KINDS = (
    "read",
    "promote",
    "rollback",
    "freeze",
    "unfreeze",
    "clear",
    "waive",
    "unwaive",
    "delete",
    "restore",
    "waive early",
    "claim",
)
_WEIGHTS = (5, 10, 6, 2, 3, 3, 2, 1, 2, 2, 3, 3)
_BARE = {"read", "waive", "unwaive", "delete", "restore", "waive early", "claim"}
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


@dataclass(frozen=True, slots=True)
class Stage:
    """Where a history is played.

    Attributes:
        channel: The name of the channel.
        numbers: The numbers of the versions that this history alone has, by the model's.
        failed: The verdict of the version that failed.
        early: That of the one that failed early.
    """

    channel: str
    numbers: dict
    failed: str
    early: str

    def number(self, version):
        """Give the number of a version of the model's."""
        return self.numbers.get(version, version)

    def version(self, number):
        """Give what a number is in the model."""
        return {own: version for version, own in self.numbers.items()}.get(number, number)


def play(part, registry, caller, stage, *, go, out):
    """Play a part once `go` can be read from, and write what happens to `out`.

    Args:
        part: What to do.
        registry: The registry; no connection that its engine has is another process's.
        caller: As whom.
        stage: Where.
        go: A descriptor; that it ends is the sign to begin.
        out: A descriptor for lines of JSON.
    """
    with read(registry.engine) as conn:
        conn.execute(sa.text("SELECT 1"))
    chance, player = random.Random(part.seed), _Player(registry, caller, stage)
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

    def __init__(self, registry, caller, stage):
        self._registry, self._caller, self._stage = registry, caller, stage
        self._channel = stage.channel
        self._revision = 0
        self._grant = None

    def choose(self, chance):
        kind = chance.choices(_KINDS, _WEIGHTS)[0]
        version = chance.choice(VERSIONS)
        if self._grant is not None and chance.random() < 0.7:
            return Call("settle")
        if kind in _BARE:
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
        registry, caller, stage = self._registry, self._caller, self._stage
        if call.kind == "read":
            info = self._look()
            quarantined = tuple(sorted(map(stage.version, info.quarantined)))
            served = stage.version(info.version)
            return Result("ok", info.revision, served, info.is_frozen, quarantined)
        if call.kind == "clear":
            number = stage.number(call.version)
            service.clear_quarantine(registry, caller, LINE, self._channel, number, reason=tag)
            return Result("ok")
        if call.kind in _ACTS:
            return Result(_ACTS[call.kind](self, tag) or "ok")
        number = None if call.version is None else stage.number(call.version)
        move = ChannelMove(kind=call.kind, version=number, reason=tag)
        moved = moving.move_channel(registry, caller, LINE, self._channel, move, seen=call.seen)
        return Result("ok", moved.revision, stage.version(moved.version))

    def _waive(self, tag):
        asked = WaiverCreate(check=CHECK, channel=self._channel, reason=tag)
        waiving.waive(self._registry, self._caller, self._stage.failed, asked)

    def _unwaive(self, _):
        verdict, channel = self._stage.failed, self._channel
        waiving.unwaive(self._registry, self._caller, verdict, CHECK, channel=channel)

    def _answer(self, tag):
        asked = WaiverCreate(check=FIRST, channel=self._channel, reason=tag)
        waiving.waive(self._registry, self._caller, self._stage.early, asked)

    def _delete(self, _):
        delete_version(self._registry, self._caller, self._spare)

    def _restore(self, _):
        restore_version(self._registry, self._caller, self._spare)

    def _claim(self, _):
        """Take the continuation, as a worker; `nothing` where somebody else has it."""
        with read(self._registry.engine) as conn:
            key = key_of_continuation(self._stage.early)
            query = sa.select(t.runs.c.id).where(t.runs.c.dedup_key == key)
            run = conn.execute(query).scalar()
        if run is None:
            return "nothing"
        self._grant = work.claim(self._registry, self._caller, run=run)
        return "ok" if self._grant is not None else "nothing"

    def _settle(self, _):
        grant, self._grant = self._grant, None
        assert grant is not None
        report = work.report(grant, verdict="fail", fail=FIRST)
        complete_run(self._registry, self._caller, grant.run, report)

    @property
    def _spare(self):
        return Ref(LINE, version=self._stage.number(SPARE))

    def _look(self):
        return service.show_channel(self._registry, self._caller, LINE, self._channel, at=None)


_ACTS = {
    "waive": _Player._waive,
    "unwaive": _Player._unwaive,
    "waive early": _Player._answer,
    "delete": _Player._delete,
    "restore": _Player._restore,
    "claim": _Player._claim,
    "settle": _Player._settle,
}


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
