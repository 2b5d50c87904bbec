"""Threads that take turns, so that every race is decided by a seed and can be had again.

Real code runs in real threads, one at a time. Wherever one asks the pool for a connection or calls
the store, a seeded die says who goes on, and now and then the one whose turn it was is dead: it
stops there for good, as if the machine had lost power.
"""

import random
import threading

import sqlalchemy as sa

from deltareg.store.memory import MemoryStore


class Death(BaseException):
    """A process ended between two steps."""


class Turns:
    """Runs functions to their ends, interleaved by a seed."""

    def __init__(self, seed, *, mortality=0.0):
        self._random = random.Random(seed)
        self._mortality = mortality
        self._returned = threading.Semaphore(0)
        self._turn: dict[int, threading.Semaphore] = {}
        self._dying: set[int] = set()

    def watch(self, engine):
        """Let the turn pass before each transaction of an engine."""
        sa.event.listen(engine, "checkout", lambda *_: self.step())

    def run(self, *actors):
        """Run all; give the exceptions that were raised, deaths left out."""
        errors: list[Exception] = []
        threads = [self._start(actor, errors) for actor in actors]
        alive = dict(enumerate(threads))
        while alive:
            chosen = self._random.choice(sorted(alive))
            thread = alive[chosen]
            if self._random.random() < self._mortality:
                self._dying.add(thread.ident)
            self._turn[thread.ident].release()
            self._returned.acquire()
            if thread.ident not in self._turn:
                thread.join()
                del alive[chosen]
        return errors

    def step(self):
        """Give the turn away and wait for the next; a thread of others goes on."""
        ident = threading.get_ident()
        if ident not in self._turn:
            return
        self._returned.release()
        self._turn[ident].acquire()
        if ident in self._dying:
            raise Death

    def _start(self, actor, errors):
        ready = threading.Event()

        def body():
            ident = threading.get_ident()
            self._turn[ident] = threading.Semaphore(0)
            ready.set()
            self._turn[ident].acquire()
            try:
                actor()
            except Death:
                pass
            except Exception as error:  # noqa: BLE001  (told to the test, whatever it is)
                errors.append(error)
            finally:
                del self._turn[ident]
                self._dying.discard(ident)
                self._returned.release()

        thread = threading.Thread(target=body, daemon=True)
        thread.start()
        ready.wait()
        return thread


class TurnStore(MemoryStore):
    """A store whose every call may be the last thing that its caller does for a while."""

    def __init__(self, turns):
        super().__init__()
        self._turns = turns

    def write(self, key, body):
        self._turns.step()
        written = super().write(key, body)
        self._turns.step()
        return written

    def size(self, key):
        self._turns.step()
        return super().size(key)

    def delete(self, key):
        self._turns.step()
        super().delete(key)
        self._turns.step()
