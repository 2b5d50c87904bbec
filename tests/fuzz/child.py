"""Reads inputs in a process of its own, whose memory and time are bounded.

`python -m tests.fuzz.child '{"targets": ["manifest"], "seed": 1, "end": 500, "at": "…"}'`. An input is made by the
target's name, the seed and its number alone. It stands in the file `at` before it is read, so that a crash or a hang
leaves it.
"""

import json
import os
import random
import resource
import signal
import sys
import time
import traceback
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from tests.fuzz.mutations import mutate, overgrow
from tests.fuzz.registered import targets
from tests.fuzz.target import SCRATCH, Target

CASE_SECONDS = 20
MEMORY_BYTES = 768 << 20
"""What may be added to the memory of a process by inputs of a few mebibytes, whatever they claim to hold."""
_LARGE_IN = 25  # one input in so many is large


@dataclass(frozen=True)
class Ask:
    """What to read.

    Attributes:
        targets: Names of targets; empty for all.
        seed: Of all inputs.
        begin: The number of the first.
        end: One past the last of each target.
        at: A file for the input that is read.
        seconds: CPU seconds after which a target ends; 0 for none.
        is_found: Whether to read what once broke a target, and what is sound, and nothing else.
    """

    at: str
    targets: tuple[str, ...] = ()
    seed: int = 7
    begin: int = 0
    end: int = 0
    seconds: float = 0.0
    is_found: bool = False


def main(ask: Ask) -> int:
    """Read all inputs of all targets; print how they ended, by target."""
    known = targets()
    counts: dict[str, Counter[str]] = {}
    chosen = [known[name] for name in ask.targets or known]
    for target in chosen:  # what is made once is there before memory is bounded
        for data in target.corpus():
            target.run(data)
    _bound()
    try:
        for target in chosen:
            counts[target.name] = _fuzz(ask, target)
    finally:
        SCRATCH.remove()
    print(json.dumps(counts))
    return 0


def _fuzz(ask: Ask, target: Target) -> Counter[str]:
    counts: Counter[str] = Counter()
    corpus, until = target.corpus(), time.process_time() + (ask.seconds or float("inf"))
    if ask.is_found:
        for data in (*corpus, *target.found()):
            counts[_read(ask, target, data)] += 1
        return counts
    for number in range(ask.begin, ask.end):
        if time.process_time() > until:
            break
        rng = random.Random(f"{target.name}/{ask.seed}/{number}")
        data = overgrow(rng, corpus) if number % _LARGE_IN == _LARGE_IN - 1 else mutate(rng, corpus)
        counts[_read(ask, target, data)] += 1
    return counts


def _read(ask: Ask, target: Target, data: bytes) -> str:
    Path(ask.at).write_bytes(data)
    Path(f"{ask.at}.target").write_text(target.name)
    signal.alarm(CASE_SECONDS)  # nobody catches it: it ends the process
    ended = target.run(data)
    signal.alarm(0)
    return ended


def _bound() -> None:
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    limit = pages * resource.getpagesize() + MEMORY_BYTES
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))


if __name__ == "__main__":
    given = json.loads(sys.argv[1])
    try:
        status = main(Ask(**{**given, "targets": tuple(given.get("targets", ()))}))
    except Exception:  # noqa: BLE001  (anything that is none of our errors is what is looked for)
        traceback.print_exc()
        status = 1
    sys.stdout.flush()
    os._exit(status)
