"""The root of all exceptions of the project, and a problem as one of them lists it."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from deltareg.words import Severity

_MOST_OTHERS = 4


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing that is wrong (or odd) about an upload, with advice.

    Attributes:
        code: A problem code with a page under `deltareg explain`.
        message: What is wrong, with the facts.
        severity: `error` refuses the upload, `warning` is only shown.
        tensor: The tensor concerned, as named in the file; empty when none is.
        fix: What the user can do about it.
    """

    code: str
    message: str
    severity: Severity = "error"
    tensor: str = ""
    fix: str = ""


class DeltaregError(Exception):
    """Root of all errors that the registry raises on purpose.

    Attributes:
        code: Its name on the wire; `deltareg explain CODE` tells more.
        exit_code: The exit status of the command line.
        retryable: Whether a retry may work later.
        message: What is wrong.
        fix: What to do about it; empty if unknown.
        problems: All problems, if there are several.
    """

    code: ClassVar[str] = "internal"
    exit_code: int = 1
    retryable: ClassVar[bool] = False

    def __init__(self, message: str, *, fix: str = "", problems: Sequence[Problem] = ()) -> None:
        """Store the message and, apart from it, the step that would repair things.

        With several problems, the message is the most serious and `problems` has all of them.
        """
        super().__init__(message)
        self.message = message
        self.fix = fix
        self.problems = tuple(problems)
        for note in self._notes():
            self.add_note(note)

    def _notes(self) -> list[str]:
        """Return the lines that a traceback shows below the message, in a notebook too."""
        code = getattr(self, "problem_code", self.code)
        others = [f"also:  {problem.message}" for problem in self.problems[1:] if problem.message != self.message]
        lines = [*([f"fix:   {self.fix}"] if self.fix else []), *others[:_MOST_OTHERS]]
        return [*lines, f"see:   deltareg explain {code}"]
