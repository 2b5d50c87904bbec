"""Judges a version by a command of the user's, by the exit statuses of `git bisect run`."""

import shlex
import subprocess
from typing import TYPE_CHECKING

from deltareg.client.compare.bisect import BisectionStep, Judge
from deltareg.errors import InvalidInput

if TYPE_CHECKING:
    from deltareg.gate.bisection import Mark

PLACE = "{ref}"
_STDERR = 2  # stdout is for the result
_SKIP = 125
_MOST = 127


def script_judge(line: str) -> Judge:
    """Build a judge from a command line; the command's output goes to stderr.

    Args:
        line: Words quoted as in a shell, `{ref}` where the version goes; no shell is run.

    Raises:
        InvalidInput: It names no version, or its quotes are not closed.
    """
    try:
        words = shlex.split(line)
    except ValueError as error:
        raise InvalidInput(f"--script cannot be read: {error}", fix="close the quotes") from error
    if not any(PLACE in word for word in words):
        raise InvalidInput(
            f"--script has no {PLACE}, so it would judge the same each time", fix=f"--script 'python eval.py {PLACE}'"
        )
    return lambda ref: _judge(ref, [word.replace(PLACE, ref) for word in words])


def _judge(ref: str, words: list[str]) -> BisectionStep:
    try:
        # The user's own command, on the user's own machine.
        ended = subprocess.run(words, stdout=_STDERR, check=False)  # noqa: S603
    except OSError as error:
        raise InvalidInput(f"{words[0]} cannot be run: {error.strerror or error}", fix="see --script") from error
    status = ended.returncode
    if not 0 <= status <= _MOST:
        reason = f"signal {-status}" if status < 0 else f"exit status {status}"
        raise InvalidInput(
            f"the script ended by {reason} on {ref}, which is no judgement",
            fix="exit 0 for good, 125 to skip, any other up to 127 for bad",
        )
    mark: Mark = "good" if status == 0 else "skip" if status == _SKIP else "bad"
    return BisectionStep(ref, mark, status, source="script")
