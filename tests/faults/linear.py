"""Whether a history could have happened one operation at a time: a search for such an order.

After J. M. Wing, C. Gong, "Testing and Verifying Concurrent Objects", J. Parallel Distrib. Comput.
17 (1993) 164-182, with the memory of G. Lowe, "Testing for linearizability", Concurrency Comput.
Pract. Exper. 29 (2017) e3928: the same operations done, and the same state, are looked at once.

An operation without a result may take effect at any time after its call, or never.
"""

from dataclasses import dataclass
from math import inf


@dataclass(frozen=True, slots=True)
class Operation:
    """One call, by whom and when, and its result; None when nobody heard of one."""

    client: str
    call: object
    result: object
    called: float
    returned: float = inf

    @property
    def is_known(self):
        """Whether its caller learnt how it ended."""
        return self.result is not None


@dataclass(frozen=True, slots=True)
class Judgement:
    """What a search has found: an order, or how far the longest one came.

    Attributes:
        is_linearizable: Whether there is an order of all operations with a result.
        order: It, or the longest that was found; those without a result stand where they took
            effect, and not at all where they did not.
        stuck: What could come next by time, and by its result could not.
    """

    is_linearizable: bool
    order: tuple[Operation, ...]
    stuck: tuple[Operation, ...] = ()


def judge(history, initial, step):
    """Look for an order in which a sequential object would have given the same results.

    Args:
        history: The operations, in any order; no client has two at a time.
        initial: The state at first; it and all others can be hashed.
        step: Gives for a state and a call the result and the state after it.
    """
    operations = sorted(history, key=lambda one: one.called)
    known = sum(1 << index for index, one in enumerate(operations) if one.is_known)
    seen = {(0, initial)}
    path: list[int] = []
    longest: list[int] = []
    branches = [_candidates(operations, 0, initial, step)]
    while branches:
        if len(path) > len(longest):
            longest = list(path)
        found = next(branches[-1], None)
        if found is None:
            branches.pop()
            path = path[:-1]
            continue
        index, done, state = found
        if (done, state) in seen:
            continue
        seen.add((done, state))
        path = [*path, index]
        if done & known == known:
            return Judgement(True, tuple(operations[index] for index in path))
        branches.append(_candidates(operations, done, state, step))
    if known == 0:
        return Judgement(True, ())
    return Judgement(False, tuple(operations[index] for index in longest), _minimal(operations, longest))


def _candidates(operations, done, state, step):
    """Give what may come next: the index, all that is done with it, the state after it."""
    for index in _open(operations, done):
        one = operations[index]
        result, after = step(state, one.call)
        # Without an effect, one without a result may as well never have been.
        if result == one.result if one.is_known else after != state:
            yield index, done | 1 << index, after


def _open(operations, done):
    """List what was called before anything else that is not done had returned."""
    left = [index for index in range(len(operations)) if not done >> index & 1]
    limit = min((operations[index].returned for index in left), default=inf)
    return [index for index in left if operations[index].called <= limit]


def _minimal(operations, path):
    done = sum(1 << index for index in path)
    return tuple(operations[index] for index in _open(operations, done))
