"""How our processes end: with two lines on an error, with one when interrupted.

The command line has a table of exit statuses (`deltareg help exit-codes`); servers, workers and
migrations use the same one, of which this is their part.
"""

import errno
import os
import sys
from collections.abc import Generator
from contextlib import contextmanager

from deltareg import errors
from deltareg.errors import DeltaregError
from deltareg.host.parts import require

INTERRUPTED = 130
STATUS: dict[type[DeltaregError], int] = {
    errors.DeltaregError: 1,
    errors.InvalidInput: 2,
    errors.Misconfigured: 2,
    errors.NotFound: 3,
    errors.Unauthenticated: 4,
    errors.Forbidden: 4,
    errors.AssertionRefused: 4,
    errors.Conflict: 5,
    errors.IntegrityFailure: 6,
    errors.Inconclusive: 11,
    errors.QuotaExceeded: 12,
    errors.Unavailable: 75,
}


def need(*extras: str) -> None:
    """Exit with installation instructions if extras are not installed."""
    with explain_errors():
        for extra in extras:
            require(extra)


@contextmanager
def explain_errors() -> Generator[None, None, None]:
    """Exit with the error and its fix instead of a stack trace, and with the error's status."""
    try:
        yield
    except DeltaregError as error:
        fix = f"fix:   {error.fix}\n" if error.fix else ""
        sys.stderr.write(f"error: {error.message}\n{fix}")
        raise SystemExit(status_of(error)) from None
    except OSError as error:
        if error.errno not in {errno.ENOSPC, errno.EDQUOT, errno.EROFS}:
            raise
        place = f" ({error.filename})" if error.filename else ""
        sys.stderr.write(
            f"error: {os.strerror(error.errno).lower()}{place}\nfix:   make room there, then the same command again\n"
        )
        raise SystemExit(STATUS[errors.QuotaExceeded]) from None
    except KeyboardInterrupt:
        sys.stderr.write("interrupted\n")
        raise SystemExit(INTERRUPTED) from None


def status_of(error: DeltaregError) -> int:
    """Return the exit status of an error, by the nearest class above it."""
    return next(STATUS[cls] for cls in type(error).__mro__ if cls in STATUS)
