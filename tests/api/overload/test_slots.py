"""Slots: nobody takes all, who waits is served in turn, and what is taken comes back. The model counts by itself."""

import asyncio
import sys
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from deltareg.api.overload.resting import Neighbours, RestingSlots
from deltareg.api.overload.slots import FairSlots
from deltareg.errors import Unavailable


def run(coroutine):
    return asyncio.run(coroutine)


@pytest.mark.parametrize(("units", "alone"), [(2, 1), (3, 2), (8, 4), (32, 16)])
def test_one_alone_has_half(units, alone):
    async def take_all():
        slots, taken = FairSlots(units, what="x", patience_s=0.01), 0
        try:
            while True:
                await slots.take("a")
                taken += 1
        except Unavailable:
            return taken, slots.free

    assert run(take_all()) == (alone, units - alone)


def test_there_is_room_for_a_newcomer_whatever_the_others_took():
    async def crowd():
        slots, counts = FairSlots(32, what="x", patience_s=0.01), []
        for holder in range(4):
            taken = 0
            try:
                while True:
                    await slots.take(holder)
                    taken += 1
            except Unavailable:
                counts.append(taken)
        return counts, slots.free

    assert run(crowd()) == ([16, 8, 4, 2], 2)


def test_a_crowd_of_one_does_not_come_before_another():
    async def queue():
        slots, order = FairSlots(2, what="x", patience_s=5), []

        async def work(holder):
            async with slots.hold(holder):
                order.append(holder)
                await asyncio.sleep(0)

        async with asyncio.TaskGroup() as group:
            await slots.take("a")
            await slots.take("b")
            for _ in range(20):
                group.create_task(work("a"))
            await asyncio.sleep(0)
            group.create_task(work("c"))
            await asyncio.sleep(0)
            slots.leave("a")
            slots.leave("b")
        return order, slots.free

    order, free = run(queue())
    assert order.index("c") <= 2
    assert (order.count("a"), free) == (20, 2)


def test_what_needs_much_is_not_passed_for_ever():
    async def documents():
        slots, order = FairSlots(10, what="x", patience_s=5, may_hold_all=True), []

        async def work(holder, units):
            async with slots.hold(holder, units):
                order.append(holder)
                await asyncio.sleep(0)

        await slots.take("small", 4)
        async with asyncio.TaskGroup() as group:
            group.create_task(work("large", 10))
            await asyncio.sleep(0)
            for _ in range(10):
                group.create_task(work("small", 4))
            await asyncio.sleep(0)
            slots.leave("small", 4)
        return order

    assert run(documents())[0] == "large"


def test_who_gives_up_leaves_nothing_behind():
    async def give_up():
        slots = FairSlots(1, what="uploads", patience_s=0.02, waiting_most=2)
        await slots.take("a")
        waiting = [asyncio.create_task(slots.take("b")) for _ in range(3)]
        done = await asyncio.gather(*waiting, return_exceptions=True)
        cancelled = asyncio.create_task(slots.take("b"))
        await asyncio.sleep(0)
        cancelled.cancel()
        await asyncio.gather(cancelled, return_exceptions=True)
        slots.leave("a")
        await slots.take("c")
        return done, slots.free

    done, free = run(give_up())
    assert [type(one) for one in done] == [Unavailable] * 3
    assert all(one.retry_after_s >= 1 and "uploads" in one.message for one in done)
    assert free == 0


STEPS = st.lists(st.tuples(st.sampled_from("abc"), st.sampled_from(["take", "leave", "cancel"]), st.integers(1, 6)))


class Crowd:
    """Those who take, hold and give up, and what they hold by their own count."""

    def __init__(self, slots):
        self.slots, self.tasks, self.held = slots, [], []

    async def do(self, holder, what, units):
        if what == "take":
            self.tasks.append((holder, units, asyncio.create_task(self.slots.take(holder, units))))
        elif what == "leave" and self.held:
            self.slots.leave(*self.held.pop(units % len(self.held)))
        elif what == "cancel" and self.tasks:
            self.tasks[units % len(self.tasks)][2].cancel()
        await self.settle()

    async def settle(self):
        for _ in range(3):
            await asyncio.sleep(0)
        done = [one for one in self.tasks if one[2].done()]
        self.tasks = [one for one in self.tasks if not one[2].done()]
        self.held += [one[:2] for one in done if not one[2].cancelled() and one[2].exception() is None]

    async def leave_all(self):
        while self.held or self.tasks:
            for one in self.held:
                self.slots.leave(*one)
            self.held = []
            await self.settle()


@given(STEPS, st.booleans())
@settings(max_examples=60, deadline=None)
def test_units_are_neither_lost_nor_made(steps, may_hold_all):
    async def play():
        crowd = Crowd(FairSlots(6, what="x", patience_s=60, waiting_most=5, may_hold_all=may_hold_all))
        for step in steps:
            await crowd.do(*step)
            assert crowd.slots.free == 6 - sum(units for _, units in crowd.held) >= 0
        await crowd.leave_all()
        return crowd.slots.free

    assert run(play()) == 6


class TestRest:
    """A list or a long document rests while somebody else works; where nobody does, nothing waits."""

    @staticmethod
    def _free_after(worker):
        async def work():
            neighbours = Neighbours()
            slots = RestingSlots(1, neighbours=neighbours, what="lists", patience_s=0.001)
            if worker is not None:
                neighbours.note(worker)
            async with slots.hold("a"):
                meanwhile = sys.getswitchinterval()
                await asyncio.sleep(0.02)
            at_once = slots.free
            async with asyncio.timeout(5):
                while not slots.free:
                    await asyncio.sleep(0.005)
            return at_once, meanwhile, sys.getswitchinterval()

        return run(work())

    @pytest.mark.parametrize(("worker", "at_once"), [(None, 1), ("a", 1), ("b", 0)])
    def test_is_for_the_sake_of_others(self, worker, at_once):
        usual = sys.getswitchinterval()
        free, meanwhile, after = self._free_after(worker)
        assert (free, after) == (at_once, usual)
        assert meanwhile < usual

    def test_who_worked_long_ago_is_no_neighbour(self, monkeypatch):
        neighbours = Neighbours()
        neighbours.note("b")
        assert neighbours.has("a")
        assert not neighbours.has("b")
        now = time.monotonic()
        monkeypatch.setattr(time, "monotonic", lambda: now + 60)
        assert not neighbours.has("a")
        neighbours.note("c")
        assert neighbours._latest.keys() == {"c"}

    def test_is_long_for_whoever_asks_again_and_again_and_short_again_later(self, monkeypatch):
        async def rests():
            neighbours, clock, told = Neighbours(), [1000.0], []

            def free_at_once(rest_s, free, *holders):
                told.append(rest_s)
                free(*holders)

            monkeypatch.setattr(time, "monotonic", lambda: clock[0])
            monkeypatch.setattr(asyncio.get_running_loop(), "call_later", free_at_once)
            slots = RestingSlots(2, neighbours=neighbours, what="lists", patience_s=5)
            for holder, pause_s in [("a", 0), ("a", 0), ("b", 0), ("a", 0), ("a", 60), ("a", 0), ("a", 0)]:
                clock[0] += pause_s
                async with slots.hold(holder):
                    clock[0] += 0.3 if len(told) < 6 else 3
                    neighbours.note("c")
            return told

        assert run(rests()) == pytest.approx([0.9, 2.4, 0.9, 2.4, 0.9, 2.4, 2.5])
