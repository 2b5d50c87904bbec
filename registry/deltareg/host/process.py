"""How a process of ours ends: on an error in two lines, when it is interrupted in one.

The command line has a table of exit statuses (`deltareg help exit-codes`); servers, workers and
migrations end by the same one, of which this is the part that concerns them.
"""

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
    errors.Conflict: 5,
    errors.IntegrityFailure: 6,
    errors.Inconclusive: 11,
    errors.QuotaExceeded: 12,
    errors.Unavailable: 75,
}


def need(*extras: str) -> None:
    """End here, saying how to install them, where extras are not installed."""
    with explain_errors():
        for extra in extras:
            require(extra)


@contextmanager
def explain_errors() -> Generator[None, None, None]:
    """End with what is wrong and what to do, in place of a stack trace, and by the table."""
    try:
        yield
    except DeltaregError as error:
        fix = f"fix:   {error.fix}\n" if error.fix else ""
        sys.stderr.write(f"error: {error.message}\n{fix}")
        raise SystemExit(status_of(error)) from None
    except KeyboardInterrupt:
        sys.stderr.write("interrupted\n")
        raise SystemExit(INTERRUPTED) from None


def status_of(error: DeltaregError) -> int:
    """Give the exit status of an error; the nearest class above it decides."""
    return next(STATUS[cls] for cls in type(error).__mro__ if cls in STATUS)
