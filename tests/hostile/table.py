"""Attacks: each is a small function that tries one thing and says whether it got there."""

from collections.abc import Callable
from dataclasses import dataclass

ATTACKS: dict[str, "Attack"] = {}


@dataclass(frozen=True)
class Attack:
    """One attack.

    Attributes:
        name: What it would come to.
        tries: Tries it in a world, as somebody; true where it succeeded.
        but: Whose right it is, so that it is none.
        best: Who comes nearest, and tries it in every run of the tests.
        module: Where it is written: what it is about.
    """

    name: str
    tries: Callable
    but: frozenset[str] = frozenset()
    best: tuple[str, ...] = ("owner",)
    module: str = ""


def attack(name, *, but=(), best=("owner",)):
    """Put a function into the table of attacks."""

    def put(tries):
        assert name not in ATTACKS
        ATTACKS[name] = Attack(name, tries, frozenset(but), best, getattr(tries, "__module__", ""))
        return tries

    return put


def some(*tries):
    """Whether one of several tries came through; all of them are made."""
    return any(tries)
