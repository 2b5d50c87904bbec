"""How many connections the process may hold: what its limit of open files leaves beside all else that it opens."""

import resource

_MOST_FILES = 65_536
_MOST_CONNECTIONS = 8_000
_OWN_FILES = 224
"""The store's connections and files, the log, the loop, children's pipes, and what is accepted in one go."""
_FILES_OF_DATABASE_CONNECTION = 2


def raise_open_files() -> int:
    """Raise the limit of open files to what the process may have; return it.

    The usual soft limit of 1,024 is for programs that call `select`, which this one does not.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = _MOST_FILES if hard == resource.RLIM_INFINITY else min(hard, _MOST_FILES)
    if soft == resource.RLIM_INFINITY or soft >= wanted:
        return _MOST_FILES if soft == resource.RLIM_INFINITY else soft
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
    except (ValueError, OSError):  # some kernels allow less than they say
        return soft
    return wanted


def most_connections(open_files: int, *, database_connections: int) -> int:
    """Return how many connections fit under a limit of open files.

    Args:
        open_files: The limit.
        database_connections: How many connections to the database the server opens at most.
    """
    own = _OWN_FILES + _FILES_OF_DATABASE_CONNECTION * database_connections
    return max(32, min(_MOST_CONNECTIONS, open_files - own))
