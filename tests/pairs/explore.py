"""Exploring a pair: which pauses of A can matter to B, each run, and what is left compared.

Two operations that are run one after the other decide what may be left: of those that answer that they
were done, in either order. A refused one has changed nothing.
"""

from dataclasses import dataclass, field
from functools import lru_cache

from tests.pairs.state import broken_promises, canonical, differences

# These are many transactions, and promise only what must always hold.
NOT_ATOMIC = {"collect", "fsck", "lease"}


@dataclass
class Explored:
    """What was explored: pairs, the pauses that could matter, schedules that were run, and violations."""

    pairs: int = 0
    pauses: int = 0
    schedules: int = 0
    violations: list = field(default_factory=list)

    def add(self, other):
        self.pairs += other.pairs
        self.pauses += other.pauses
        self.schedules += other.schedules
        self.violations += other.violations


@dataclass
class Outcome:
    """What an execution led to: who says that it was done, and what is left."""

    done: frozenset
    left: dict
    answers: tuple


class Explorer:
    """Explores pairs of operations of a world."""

    def __init__(self, world, *, system):
        self.world, self.system = world, system
        self.rehearsed = {}
        self.serial = lru_cache(None)(self._serial)

    def steps(self, name):
        """Return what an operation does between its pauses, when it is alone."""
        if name not in self.rehearsed:
            self.world.reset()
            self.world.run_in_turn(self.world.operations[name])
            self.rehearsed[name] = list(self.world.pauses.steps["a"])
        return self.rehearsed[name]

    def pauses_that_matter(self, a, b):
        """Return the pauses of `a` after which it does something whose order with `b` can matter.

        The first of them is left out: what `a` did until there could as well be done after `b`.
        """
        others = self.steps(b)
        met = [number for number, step in enumerate(self.steps(a)) if step.meets(others)]
        return met[1:]

    def explore(self, a, b):
        """Run `b` at each pause of `a` that matters."""
        pauses = self.pauses_that_matter(a, b)
        found = Explored(pairs=1, pauses=len(pauses))
        for at in pauses:
            found.schedules += 1
            problems = self.run(a, b, at)
            if problems:
                found.violations.append((self.line(a, b, at), problems))
        return found

    def line(self, a, b, at):
        """Return the command that runs a schedule again."""
        return f"python -m tests.pairs {a} {b} {at} --on {self.system}"

    def run(self, a, b, at):
        """Run one schedule; list what does not hold."""
        world, (first, second) = self.world, (self.world.operations[a], self.world.operations[b])
        world.reset()
        answers = world.run_beside(first, [second], at)
        problems = _failed((a, b), answers) + _deadlocks(world)
        if None in answers:
            return problems
        rows, changed = world.read()
        problems += broken_promises(world.engine, world.store, rows, changed)
        if problems or {a, b} & NOT_ATOMIC:
            return problems
        outcome = Outcome(_done(answers), canonical(rows), tuple(r.status_code for r in answers))
        allowed = [o.left for o in self.candidates(a, b) if o.done == outcome.done]
        if outcome.left in allowed:
            return []
        told = f"{a} {outcome.answers[0]}, {b} {outcome.answers[1]}: no order of one after the other leaves this"
        if not allowed:
            return [f"{told}, or answers so"]
        nearest = min((differences(outcome.left, each) for each in allowed), key=len)
        return [told, *nearest[:12]]

    def run_three(self, a, b, c, at):
        """Run `b` and then `c` at a pause of `a`; list what does not hold of bytes, counts and answers."""
        world, names = self.world, (a, b, c)
        world.reset()
        first, *others = (world.operations[name] for name in names)
        answers = world.run_beside(first, others, at)
        problems = _failed(names, answers) + _deadlocks(world)
        rows, changed = world.read()
        return problems + broken_promises(world.engine, world.store, rows, changed)

    def candidates(self, a, b):
        """Return what executions one after the other lead to, of both and of each alone."""
        both, back = self.serial(a, b), self.serial(b, a)
        swapped = Outcome(frozenset({"a": "b", "b": "a"}[one] for one in back.done), back.left, back.answers)
        alone_a, alone_b = self.serial(a, None), self.serial(b, None)
        only_b = Outcome(frozenset("b" if "a" in alone_b.done else ""), alone_b.left, alone_b.answers)
        nothing = Outcome(frozenset(), self.serial(None, None).left, ())
        return [both, swapped, alone_a, only_b, nothing]

    def _serial(self, a, b):
        self.world.reset()
        names = [name for name in (a, b) if name is not None]
        answers = self.world.run_in_turn(*(self.world.operations[name] for name in names))
        return Outcome(_done(answers), canonical(self.world.read()[0]), tuple(r.status_code for r in answers))


def _failed(names, answers):
    """Say which operations did not end, or ended by a fault of the server's."""
    problems = []
    for name, answer in zip(names, answers, strict=True):
        if answer is None:
            problems.append(f"{name} did not end")
        elif answer.status_code >= 500:
            problems.append(f"{name} answered {answer.status_code}: {answer.text[:300]}")
    return problems


def _deadlocks(world):
    return [f"the database ended a deadlock ({error})" for error in world.pauses.errors if error == "40P01"]


def _done(answers):
    return frozenset(actor for actor, answer in zip("ab", answers, strict=False) if answer.status_code < 300)
