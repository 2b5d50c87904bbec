"""The judge of histories itself: what could have happened passes, one wrong result does not."""

import itertools
import random
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.faults.channel_histories import legal, with_one_lie
from tests.faults.channel_model import FRESH, Call, Result, step
from tests.faults.linear import Operation, judge

FIRST = Result("ok", 1, 1)
NOTHING, SERVING = Result("ok", 0, None, False, ()), Result("ok", 1, 1, False, ())
PROMOTE, READ = Call("promote", 0, 1), Call("read")


@given(seed=st.integers(0, 2**32), mortality=st.sampled_from((0.0, 0.1, 0.4)))
def test_what_happened_could_have_happened(seed, mortality):
    history = legal(random.Random(seed), mortality=mortality)

    found = judge(history, FRESH, step)

    assert found.is_linearizable
    assert {one for one in history if one.is_known} <= set(found.order)


@pytest.mark.parametrize("count", [1_000, pytest.param(3_000, marks=pytest.mark.soak)])
def test_a_single_wrong_result_is_found_out(count, figures):
    """The rest of the lies are none: within the overlaps the result might have been that, too."""
    tried: Counter[str] = Counter()
    caught: Counter[str] = Counter()
    for seed in range(count):
        chance = random.Random(f"lie/{seed}")
        history = legal(chance, mortality=0.05)
        lied = with_one_lie(chance, history)
        ((before, _),) = [pair for pair in zip(history, lied, strict=True) if pair[0] is not pair[1]]
        kind = before.call.kind if before.call.kind in {"read", "clear"} else before.result.code
        tried[kind] += 1
        caught[kind] += not judge(lied, FRESH, step).is_linearizable

    total = sum(tried.values())
    figures("one wrong result", f"found out in {sum(caught.values())} of {total} histories")
    for kind in sorted(tried):
        figures("one wrong result", f"  of {kind}: {caught[kind]} of {tried[kind]}")
    assert sum(caught.values()) >= 0.97 * total


@given(seed=st.integers(0, 2**32))
def test_it_agrees_with_trying_every_order(seed):
    chance = random.Random(seed)
    history = legal(chance, clients=3, operations=5, mortality=0.2)
    tried = chance.choice([history, with_one_lie(chance, history) or history])

    assert judge(tried, FRESH, step).is_linearizable == could_have_happened(tried)


def could_have_happened(history):
    """Try every order of every choice of those without a result."""
    known = [one for one in history if one.is_known]
    unknown = [one for one in history if not one.is_known]
    return any(
        fits(order)
        for count in range(len(unknown) + 1)
        for some in itertools.combinations(unknown, count)
        for order in itertools.permutations([*known, *some])
    )


def fits(order):
    state = FRESH
    for index, one in enumerate(order):
        if any(later.returned < one.called for later in order[index + 1 :]):
            return False
        result, state = step(state, one.call)
        if one.is_known and result != one.result:
            return False
    return True


def at(call, result, called, returned):
    return Operation(f"c{called}", call, result, called, returned)


LEGAL = {
    "nothing": [],
    "reads alone": [at(READ, NOTHING, n, n + 5) for n in range(6)],
    "nobody heard anything": [Operation("a", PROMOTE, None, 1), Operation("b", READ, None, 2)],
    "a read beside a move sees it": [at(PROMOTE, FIRST, 1, 9), at(READ, SERVING, 2, 3)],
    "a read beside a move does not see it": [at(PROMOTE, FIRST, 1, 9), at(READ, NOTHING, 7, 8)],
    "a move without an answer is seen": [
        Operation("a", PROMOTE, None, 1),
        at(READ, NOTHING, 2, 3),
        at(READ, SERVING, 50, 51),
    ],
    "one of two wins": [at(PROMOTE, FIRST, 1, 5), at(Call("promote", 0, 2), Result("stale_revision"), 2, 4)],
}
ILLEGAL = {
    "a read of what never was": [at(READ, SERVING, 1, 2)],
    "reads alone, one of them of another state": [
        at(READ, NOTHING, 1, 2),
        at(READ, Result("ok", 0, None, True, ()), 1, 3),
    ],
    "a read of what is over": [at(PROMOTE, FIRST, 1, 2), at(READ, NOTHING, 3, 4)],
    "seen and unseen": [Operation("a", PROMOTE, None, 1), at(READ, SERVING, 2, 3), at(READ, NOTHING, 4, 5)],
    "seen before it was asked for": [at(READ, SERVING, 1, 2), Operation("a", PROMOTE, None, 3)],
    "a lost update": [at(PROMOTE, FIRST, 1, 5), at(Call("promote", 0, 2), Result("ok", 1, 2), 2, 4)],
    "stale, and nobody moved it": [at(PROMOTE, Result("stale_revision"), 1, 2)],
    "moved, and frozen": [
        at(Call("freeze", 0), Result("ok", 1), 1, 2),
        at(Call("promote", 1, 1), Result("ok", 2, 1), 3, 4),
    ],
    "a rollback that nobody sees": [
        at(PROMOTE, FIRST, 1, 2),
        at(Call("promote", 1, 2), Result("ok", 2, 2), 3, 4),
        at(Call("rollback", 2), Result("ok", 3, 1), 5, 6),
        at(READ, Result("ok", 2, 2, False, ()), 7, 8),
    ],
    "back, and nothing is quarantined": [
        at(PROMOTE, FIRST, 1, 2),
        at(Call("promote", 1, 2), Result("ok", 2, 2), 3, 4),
        at(Call("rollback", 2), Result("ok", 3, 1), 5, 6),
        at(READ, Result("ok", 3, 1, False, ()), 7, 8),
    ],
}


@pytest.mark.parametrize("name", LEGAL)
def test_histories_that_may_be(name):
    assert judge(LEGAL[name], FRESH, step).is_linearizable


@pytest.mark.parametrize("name", ILLEGAL)
def test_histories_that_may_not_be(name):
    found = judge(ILLEGAL[name], FRESH, step)

    assert not found.is_linearizable
    assert found.stuck or len(found.order) < len(ILLEGAL[name])


def test_many_at_once_are_judged_in_time(figures):
    """All overlap with all: without the memory this would take for ever."""
    history = legal(random.Random(7), clients=12, operations=200, mortality=0.05)
    lied = with_one_lie(random.Random(8), history)

    assert judge(history, FRESH, step).is_linearizable
    figures("200 operations of 12 clients", f"lie found out: {not judge(lied, FRESH, step).is_linearizable}")
