"""Histories of one channel under kills: `python -m tests.faults.channel_race URL --count 100`.

For each history a new channel of one line, some client processes that move and read it at once, and
SIGKILL on one or two of them: at a random moment, just before a COMMIT is sent, or just after it
was answered. Whoever was killed is replaced. Then the history is judged and the books are audited;
a line of JSON tells of each history, and everything follows from the seed but the timing.
"""

import argparse
import gc
import json
import os
import random
import signal
import time
import traceback
from dataclasses import dataclass, field
from math import inf

from deltareg.db.channels import channels as channel_queries
from deltareg.db.lines import versions
from deltareg.db.session import create_engine, write
from deltareg.service.channels.channels import clear_quarantine, show_channel
from deltareg.service.channels.gate import FRESH_POLICY
from deltareg.service.channels.move import move_channel
from deltareg.service.channels.waive import unwaive, waive
from deltareg.service.registry import Caller, Registry
from deltareg.service.runs.kinds.verify import complete_run
from deltareg.service.runs.runs import queue_run
from deltareg.store.memory import MemoryStore
from deltareg.wire import ChannelMove, CheckResult, RevisionKind, RunCreate, WaiverCreate
from tests.faults import linear
from tests.faults.channel_aftermath import Books, problems
from tests.faults.channel_clients import CHECK, FIRST, LINE, PASSED, POINTS, Part, Stage, play
from tests.faults.channel_model import EARLY, FRESH, MOVES, SPARE, Call, Result, step
from tests.faults.channel_mutants import BUGS
from tests.service import rows, work

_CLIENTS, _OPERATIONS = (3, 4), (3, 6)
_MOMENT = "at a moment"
_NAMES = [spec.name for spec in work.SMOKE.checks]
EARLY_CHECKS = [
    CheckResult(
        name=name,
        verdict="fail" if name == FIRST else "pass" if _NAMES.index(name) < _NAMES.index(FIRST) else "skipped",
    )
    for name in _NAMES
]


@dataclass(frozen=True, slots=True)
class Tagged(linear.Operation):
    """An operation and its tag, which is the reason of its revision."""

    tag: str = ""


@dataclass
class Scene:
    """Where histories are played: a line with versions that have passed, and one that has not.

    A history has versions of its own beside them, of which one is deleted and restored.
    """

    registry: Registry
    caller: Caller
    delta_id: int
    verdict: str = ""
    span_s: float = 0.3

    @property
    def engine(self):
        return self.registry.engine

    def add_channel(self, name):
        with write(self.engine) as conn:
            channel_queries.add_channel(conn, self.delta_id, name, policy=FRESH_POLICY)

    def set_stage(self, name):
        """Make what a history has for itself: a channel and two versions."""
        self.add_channel(name)
        spare, _ = self.add_version()
        early, verdict = self.add_version(verdict="fail", checks=EARLY_CHECKS)
        return Stage(name, {SPARE: spare, EARLY: early}, self.verdict, verdict)

    def add_version(self, **found):
        """Add a version and have it judged; give its number and its verdict."""
        version_id = rows.version(self.engine, self.delta_id)
        with write(self.engine) as conn:
            number = versions.version_by_id(conn, version_id).number
        asked = RunCreate(ref=f"{LINE}:v{number}")
        run = queue_run(self.registry, self.caller, asked).id
        grant = work.claim(self.registry, self.caller, run=run)
        report = work.report(grant, **found)
        return number, complete_run(self.registry, self.caller, run, report).id


@dataclass
class Processes:
    """The clients of one history: who was started, who runs, and what each has told."""

    scene: Scene
    stage: Stage
    go: tuple[int, int] = field(default_factory=os.pipe)
    running: dict[int, Part] = field(default_factory=dict)
    killed: list[str] = field(default_factory=list)
    history: list[Tagged] = field(default_factory=list)
    _lines: dict[int, int] = field(default_factory=dict)

    def start(self, part):
        """Fork a client; it waits for the sign to begin, if that was not given yet."""
        lines, out = os.pipe()
        pid = os.fork()
        if pid == 0:
            try:
                os.close(self.go[1])
                scene = self.scene
                play(part, scene.registry, scene.caller, self.stage, go=self.go[0], out=out)
            except BaseException:  # noqa: BLE001  # the parent's code must not go on here
                traceback.print_exc()
            finally:
                os._exit(0)  # nothing of the parent's is cleaned up twice
        os.close(out)
        self.running[pid], self._lines[pid] = part, lines

    def begin(self):
        os.close(self.go[1])
        self.go = (self.go[0], os.open(os.devnull, os.O_RDONLY))

    def kill(self, pid):
        os.kill(pid, signal.SIGKILL)

    def reap(self, *, is_waiting):
        """Take in who has ended, or nobody; give the part, and whether it was killed."""
        pid, status = os.waitpid(-1, 0 if is_waiting else os.WNOHANG)
        if pid == 0:
            return None
        part = self.running.pop(pid)
        with os.fdopen(self._lines.pop(pid)) as lines:
            self.history += _operations(part, lines)
        is_killed = os.waitstatus_to_exitcode(status) == -signal.SIGKILL
        return part, is_killed

    def close(self):
        for descriptor in self.go:
            os.close(descriptor)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("url", help="a migrated database, as yet empty")
    parser.add_argument("--seed", type=int, default=7)
    parser.add_argument("--count", type=int, default=100)
    parser.add_argument("--at-most", type=int, default=0, help="go on so far until a move that was cut took effect")
    parser.add_argument("--bug", choices=sorted(BUGS), help="stop once the answers show it")
    options = parser.parse_args()
    scene = prepare(options.url)
    if options.bug is not None:
        BUGS[options.bug]()
    took_effect = 0
    for number in range(max(options.count, options.at_most)):
        if number >= options.count and took_effect:
            break
        found = race(scene, f"{options.seed}/{number}", f"c{number}")
        took_effect += found["took_effect"]
        print(json.dumps(found), flush=True)
        if options.bug is not None and not found["is_linearizable"]:
            break


def prepare(url):
    """Make the line, let every version of it pass and one fail in a check that may be waived."""
    engine = create_engine(url)
    registry, caller = Registry(engine, MemoryStore()), rows.caller(engine)
    rows.base(engine)
    delta_id = rows.line(engine, maker=caller)
    scene = Scene(registry, caller, delta_id)
    for _ in PASSED:
        scene.add_version()
    _, scene.verdict = scene.add_version(verdict="fail", fail=CHECK)
    _warm_up(scene)
    return scene


def _warm_up(scene):
    """Make every move once: statements that were compiled here are so in every process."""
    scene.add_channel("warm")
    moves: list[tuple[RevisionKind, int | None]] = [
        ("promote", 1),
        ("promote", 2),
        ("rollback", None),
        ("freeze", None),
        ("unfreeze", None),
    ]
    for seen, (kind, version) in enumerate(moves):
        move = ChannelMove(kind=kind, version=version, reason="x")
        move_channel(scene.registry, scene.caller, LINE, "warm", move, seen=seen)
    clear_quarantine(scene.registry, scene.caller, LINE, "warm", 2, reason="x")
    asked = WaiverCreate(check=CHECK, channel="warm", reason="x")
    waive(scene.registry, scene.caller, scene.verdict, asked)
    unwaive(scene.registry, scene.caller, scene.verdict, CHECK, channel="warm")
    show_channel(scene.registry, scene.caller, LINE, "warm", at=None)
    gc.freeze()


def race(scene, seed, channel):
    """Play one history, judge it, and give what there is to tell."""
    stage = scene.set_stage(channel)
    scene.engine.dispose()  # a process that is forked must not share a connection
    processes = Processes(scene, stage)
    began = time.monotonic()
    earlier = _fight(processes, random.Random(seed))
    scene.span_s += 0.3 * (time.monotonic() - began - scene.span_s)
    verdict = linear.judge(processes.history, FRESH, step)
    books = Books(scene.engine, stage)
    wrong = [] if verdict.is_linearizable else [_tell(verdict)]
    wrong += problems(books, processes.history, earlier=[earlier])
    done = {row.reason for row in books.ledger}
    unknown = [one for one in processes.history if not one.is_known]
    return {
        "seed": seed,
        "operations": len(processes.history),
        "kills": processes.killed,
        "unknown": len(unknown),
        "took_effect": sum(one.tag in done for one in unknown),
        "revisions": len(books.ledger),
        "overlapping": _overlapping(processes.history),
        "is_linearizable": verdict.is_linearizable,
        "wrong": wrong,
    }


def _fight(processes, chance):
    """Let clients at the channel, kill some, and give the ledger as it was at the first kill."""
    count = chance.randint(*_CLIENTS)
    victims = dict(enumerate(chance.choices((_MOMENT, *POINTS), k=chance.randint(1, 2))))
    for number in range(count):
        processes.start(_part(chance, f"c{number}", victims.get(number)))
    moments = {
        pid: time.monotonic() + chance.uniform(0, 1) * processes.scene.span_s
        for pid, part in processes.running.items()
        if victims.get(int(part.client[1:])) == _MOMENT
    }
    processes.begin()
    earlier = []
    while processes.running:
        due = [pid for pid, at in moments.items() if at <= time.monotonic()]
        for pid in due:
            del moments[pid]
            processes.kill(pid)
        if due:
            earlier = Books(processes.scene.engine, processes.stage).ledger
            processes.scene.engine.dispose()
        _reap(processes, chance, moments)
    processes.close()
    return earlier


def _reap(processes, chance, moments):
    """Take in who has ended; a new client comes for each that was killed."""
    ended = processes.reap(is_waiting=not moments)
    if ended is None:
        time.sleep(0.0005)  # the next moment is near; nothing is expected of it
        return
    part, is_killed = ended
    for pid in [pid for pid in moments if pid not in processes.running]:
        del moments[pid]
    if is_killed:
        point = _MOMENT if part.dies_at is None else part.dies_at[1]
        processes.killed.append(point)
        processes.start(_part(chance, f"{part.client}'", None))


def _part(chance, client, point):
    count = chance.randint(*_OPERATIONS)
    at = None if point in {None, _MOMENT} else (chance.randrange(count // 2), point)
    return Part(client, f"{chance.random()}", count, at)


def _operations(part, lines):
    """Make operations of what a client wrote down; one without an answer has no result."""
    told = [json.loads(line) for line in lines]
    answers = {entry["n"]: entry for entry in told if "result" in entry}
    for entry in told:
        answer = answers.get(entry["n"])
        is_nothing = answer is not None and answer["result"]["code"] == "nothing"
        if "call" in entry and not is_nothing:
            yield Tagged(
                part.client,
                Call(**entry["call"]),
                None if answer is None else _result(answer),
                entry["at"],
                inf if answer is None else answer["at"],
                tag=f"{part.client}.{entry['n']}",
            )


def _result(answer):
    quarantined = answer["result"]["quarantined"]
    return Result(**answer["result"] | {"quarantined": None if quarantined is None else tuple(quarantined)})


def _overlapping(history):
    """Count the moves during which somebody else's move was under way."""
    moves = [one for one in history if one.call.kind in MOVES]
    return sum(
        any(
            one.client != other.client and one.called < other.returned and other.called < one.returned
            for other in moves
        )
        for one in moves
    )


def _tell(verdict):
    """Show how far the longest order came, and what has no place in it."""
    placed = "; ".join(f"{o.client} {_short(o)}" for o in verdict.order[-6:])
    stuck = "; ".join(f"{o.client} {_short(o)}" for o in verdict.stuck)
    return f"not linearizable: after {len(verdict.order)} ({placed}) none of: {stuck}"


def _short(one):
    call, result = one.call, one.result
    seen = "" if call.seen is None else f" seen #{call.seen}"
    version = "" if call.version is None else f" v{call.version}"
    answer = "?" if result is None else f"{result.code} #{result.revision} v{result.version}"
    return f"{call.kind}{version}{seen} -> {answer}"


if __name__ == "__main__":
    main()
