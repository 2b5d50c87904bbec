"""Reading the policy file that a command line names."""

import sys
from pathlib import Path

from deltareg.errors import NotFound


def read_policy_bytes(file: str) -> bytes:
    """Read a file, or stdin where it is `-`.

    Raises:
        NotFound: It cannot be read.
    """
    if file == "-":
        return sys.stdin.buffer.read()
    try:
        return Path(file).read_bytes()
    except OSError as error:
        raise NotFound(f"cannot read {file}: {error.strerror}", fix="name a file, or - for stdin") from error
