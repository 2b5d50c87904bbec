"""A hundred people in twelve namespaces, at random, against a model of what docs/howto/members.md says.

A history is drawn from a seed; of one that fails, what is left when no step may be left out is shown.
`DELTAREG_HUNDRED_SECONDS` says how long the soak goes on, `DELTAREG_HUNDRED_SEED` where it begins.
"""

import os
import random
import time
from collections import Counter

import pytest

from tests.api.test_matrix import FAULTS, clear_caches
from tests.exchange.issuer import Issuer
from tests.hostile.company_questions import ASKED, Questions
from tests.hostile.company_steps import KINDS, Difference
from tests.hostile.company_world import company

SECONDS = float(os.environ.get("DELTAREG_HUNDRED_SECONDS", "60"))
SEED = int(os.environ.get("DELTAREG_HUNDRED_SEED", "1000"))
WEIGHTS = KINDS | ASKED
LENGTH = 400


@pytest.fixture
def issuer():
    found = Issuer()
    yield found
    found.close()


def draw(seed, length):
    """Draw a history: the kind of each step, and what it chooses by."""
    drawn = random.Random(seed)
    kinds = [*WEIGHTS, *drawn.choices(list(WEIGHTS), list(WEIGHTS.values()), k=length - len(WEIGHTS))]
    drawn.shuffle(kinds)
    return [(kind, tuple(drawn.randrange(10**6) for _ in range(10))) for kind in kinds]


def play(place, seed, history):
    """Try a history; give what was tried, and what went wrong with the steps up to there."""
    template, folder, issuer = place
    with company(template, folder, issuer, seed) as world:
        steps = Questions(world)
        for number, (kind, numbers) in enumerate(history):
            try:
                steps.try_step(kind, numbers)
            except Difference as error:
                return steps.tried, str(error), history[: number + 1]
        try:
            steps.check_state()
        except Difference as error:
            return steps.tried, str(error), history
        return steps.tried, "", history


def shorten(place, seed, history, *, until):
    """Leave out what steps may be left out without it going right; the last one is what goes wrong."""
    size = len(history) // 2
    while size >= 1 and time.monotonic() < until:
        start = 0
        while start < len(history) - 1 and time.monotonic() < until:
            shorter = history[:start] + history[min(start + size, len(history) - 1) :]
            _, wrong, tried = play(place, seed, shorter)
            history, start = (tried, start) if wrong else (history, start + size)
        size //= 2
    return history


def go_on(place, seed, length, *, shorten_s=120):
    """Play one history, and fail with a short one if it goes wrong."""
    tried, wrong, history = play(place, seed, draw(seed, length))
    if wrong:
        short = shorten(place, seed, history, until=time.monotonic() + shorten_s)
        again = play(place, seed, short)[1]
        lines = "\n".join(f"  {step}" for step in short)
        pytest.fail(f"seed {seed}: {again or wrong}\nof {len(history)} steps these are enough:\n{lines}")
    return tried


def test_everybody_may_what_the_docs_say(sqlite_template, tmp_path, issuer):
    tried = go_on((sqlite_template, tmp_path, issuer), 1, 80)

    assert set(WEIGHTS) <= {kind for kind, _ in tried}


@pytest.mark.soak
@pytest.mark.parametrize("fault", FAULTS)
def test_a_defence_that_is_off_is_noticed(sqlite_template, tmp_path, issuer, monkeypatch, fault):
    clear_caches()
    FAULTS[fault](monkeypatch)
    place = (sqlite_template, tmp_path, issuer)

    wrong = next((wrong for seed in range(5) if (wrong := play(place, seed, draw(seed, LENGTH))[1])), "")

    monkeypatch.undo()
    clear_caches()
    assert wrong


@pytest.mark.soak
@pytest.mark.timeout(0)
def test_a_hundred_people_may_what_the_docs_say_for_as_long_as_one_likes(sqlite_template, tmp_path, issuer, capsys):
    tried: Counter[tuple[str, bool]] = Counter()
    began, seed = time.monotonic(), SEED
    while time.monotonic() - began < SECONDS:
        tried.update(go_on((sqlite_template, tmp_path, issuer), seed, LENGTH))
        seed += 1

    took = time.monotonic() - began
    with capsys.disabled():
        print(f"\nseeds {SEED} to {seed - 1}: {sum(tried.values())} answers compared in {took:.0f} s")
    one_sided = {"enable", "found", "read", "others"}
    assert all((kind, done) in tried for kind in KINDS.keys() - one_sided for done in (True, False)), tried
