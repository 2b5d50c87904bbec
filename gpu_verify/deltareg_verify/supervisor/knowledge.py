"""What this worker knows, as it tells the registry when it asks for work."""

from collections.abc import Collection
from pkgutil import iter_modules

from deltareg.errors import InvalidInput, NotKnown
from deltareg.suites.needs import words_of_suite
from deltareg.suites.suite import Suite, read_stored_suite
from deltareg.wire.knowledge import list_known, tell_words
from deltareg.words import RUN_KIND_NAMES
from deltareg_verify.judging import checks

_FIX = "install the server's release where this worker runs: deltareg version"


def know(*, only: Collection[str] = ()) -> tuple[str, ...]:
    """Return the words that this worker knows.

    Args:
        only: The kinds of run that it takes; empty for all.
    """
    own_checks = frozenset(module.name for module in iter_modules(checks.__path__))
    return list_known(checks=own_checks, runs=frozenset(only or RUN_KIND_NAMES))


def read_known_suite(document: bytes) -> Suite:
    """Read a suite of the registry, of whatever release.

    Raises:
        NotKnown: It asks for what this worker does not know.
    """
    lacking = words_of_suite(document) - set(know())
    if lacking:
        raise NotKnown(f"this worker does not know {tell_words(lacking)}", fix=_FIX)
    try:
        return read_stored_suite(document)
    except InvalidInput as error:  # the server has accepted it
        raise NotKnown(f"this worker cannot read the suite: {error.message}", fix=_FIX) from error
