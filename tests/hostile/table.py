"""Attacks: each is a small function that tries one thing and says whether it got there."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

ATTACKS: dict[str, "Attack"] = {}


@dataclass(frozen=True)
class Attack:
    """One attack.

    Attributes:
        name: What it would come to.
        tries: Tries it in a world, as somebody; true where it succeeded.
        but: Whose right it is, so that it is none.
        best: Who comes nearest, and tries it in every run of the tests.
        waits_for: What has to be built before it can be tried.
        module: Where it is written: what it is about.
    """

    name: str
    tries: Callable
    but: frozenset[str] = frozenset()
    best: tuple[str, ...] = ("owner",)
    waits_for: str = ""
    module: str = ""


def attack(name, *, but=(), best=("owner",), waits_for=""):
    """Put a function into the table of attacks."""

    def put(tries):
        assert name not in ATTACKS
        ATTACKS[name] = Attack(name, tries, frozenset(but), best, waits_for, getattr(tries, "__module__", ""))
        return tries

    return put


def some(*tries):
    """Whether one of several tries came through; all of them are made."""
    return any(tries)


def waits(name, what):
    """Put a row into the table for what cannot be tried yet."""
    attack(name, waits_for=what)(partial(_not_yet, what))


def _not_yet(what, *_):
    raise AssertionError(f"it waits for {what}")
