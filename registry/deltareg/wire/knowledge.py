"""The known words of a release, which its workers say when they ask for work.

Words are sentences' parts, so that they can be shown: `check idle with least`, `kind lora`, `codec
7`, `run prove`. A worker is given a run only if it knows all the words that the run needs.
"""

from collections.abc import Collection, Iterable
from functools import cache, lru_cache

from deltareg.codec.codecs import thread_codecs
from deltareg.delta.kinds import kind_names
from deltareg.digest import sha256_of
from deltareg.suites.catalogue import CATALOGUE
from deltareg.suites.needs import list_suite_words
from deltareg.suites.suite import built_in, built_in_names
from deltareg.words import RUN_KIND_NAMES

MOST_WORDS, MOST_LETTERS = 5_000, 200


@lru_cache(maxsize=8)
def list_known(*, checks: frozenset[str] | None = None, runs: frozenset[str] | None = None) -> tuple[str, ...]:
    """Return the words that this release knows, sorted.

    Args:
        checks: The checks that can be run; None for all of the catalogue.
        runs: The kinds of run that are taken; None for all.
    """
    known = set(list_suite_words(frozenset(CATALOGUE) if checks is None else checks))
    known |= {word_of_suite(name, str(built_in(name).digest)) for name in built_in_names()}
    known |= {f"kind {name}" for name in kind_names()}
    known |= {f"codec {number}" for number in thread_codecs()}
    known |= {f"run {name}" for name in (RUN_KIND_NAMES if runs is None else runs)}
    return tuple(sorted(known))


@cache
def own_knowledge() -> frozenset[str]:
    """Return the words that this release knows."""
    return frozenset(list_known())


def word_of_suite(name: str, digest: str) -> str:
    """Return the word for a built-in suite of a release, which is known by having it."""
    return f"suite {name} {digest[:19]}"


def digest_words(words: Collection[str]) -> str:
    """Return the digest of what a worker knows."""
    return str(sha256_of("\n".join(sorted(words)).encode()))


def tell_words(words: Iterable[str], *, most: int = 3) -> str:
    """Name words in a sentence, the first few of them."""
    ordered = sorted(words)
    rest = len(ordered) - most
    return ", ".join(ordered[:most]) + (f" and {rest} more" if rest > 0 else "")
