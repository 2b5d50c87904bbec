"""A child's report, as lines of JSON on a pipe; lines that cannot be parsed are not believed.

The child has touched a tenant's bytes, so its report is checked like a tenant's input: bounded,
parsed strictly, of known shape. A report without its last line does not count.
"""

import json
import math
import re
import resource
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import IO, cast

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from deltareg.errors import DeltaregError, Inconclusive, InvalidInput, Refused
from deltareg.tensors.header import strict_json_object
from deltareg.wire import CheckResult
from deltareg_verify.messages.figures import Figures

MOST_BYTES = 1 << 20
_DETAIL_CHARACTERS = 1_000
# As torch says it, of a CPU and of a GPU.
_NO_MEMORY = re.compile("can't allocate memory|out of memory|Cannot allocate memory")


class CheckSurroundings(BaseModel):
    """Where the checks ran; the last line of a report."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    dtype: str = Field(max_length=20)
    sandbox: str = Field(max_length=200)
    environment: dict[str, str] = Field(max_length=50)


@dataclass(frozen=True, slots=True)
class ChildReport:
    """Everything that a child reported.

    Attributes:
        checks: The results of its checks, in the order in which they ran.
        surroundings: Where they ran.
        figures: The figures of a base; None where they were not requested.
        found: Its findings for people, still to be parsed by their kind; None where none were
            requested.
    """

    checks: tuple[CheckResult, ...]
    surroundings: CheckSurroundings
    figures: Figures | None = None
    found: Mapping[str, object] | None = None


@dataclass(frozen=True, slots=True)
class _Found:
    """Findings for people."""

    document: Mapping[str, object]


class ReportWriter:
    """The child's end of the pipe."""

    def __init__(self, pipe: IO[bytes]) -> None:
        self._pipe = pipe

    def check(self, result: CheckResult) -> None:
        """Report one check; numbers that JSON cannot express become strings."""
        fields = {key: _encode_value(value) for key, value in result.model_dump().items()}
        self._say({"check": fields})

    def figures(self, found: Figures) -> None:
        """Report the figures of a base.

        Raises:
            ValueError: Some figures are not finite.
        """
        self._say({"figures": json.loads(found.encode())})

    def report_findings(self, document: Mapping[str, object]) -> None:
        """Report findings for people.

        Raises:
            ValueError: Some values are not finite.
        """
        self._say({"found": document})

    def end(self, *, dtype: str, sandbox: str, environment: Mapping[str, str]) -> None:
        """Write the last line."""
        last = {"dtype": dtype, "sandbox": sandbox, "environment": dict(environment)}
        self._say({"end": last})

    def give_up(self, reason: str) -> None:
        """Report why nothing could be found out; no verdict follows from it."""
        self._say({"error": reason[:_DETAIL_CHARACTERS]})

    @contextmanager
    def giving_up(self) -> Generator[None]:
        """Give up, with the reason, where the block raises a `DeltaregError` or runs out of memory."""
        try:
            yield
        except DeltaregError as error:
            self.give_up(f"{error.message}; {error.fix}" if error.fix else error.message)
        except (MemoryError, RuntimeError) as error:
            if not (isinstance(error, MemoryError) or _NO_MEMORY.search(str(error))):
                raise
            self.give_up(_tell_memory())

    def _say(self, line: Mapping[str, object]) -> None:
        self._pipe.write(json.dumps(line, allow_nan=False).encode() + b"\n")
        self._pipe.flush()


def _tell_memory() -> str:
    """Say how much memory this process may have, as its sandbox has set it."""
    most, _ = resource.getrlimit(resource.RLIMIT_DATA)
    limit = "all memory that there is" if most == resource.RLIM_INFINITY else f"the {most:,} bytes of memory of a run"
    return f"it took {limit}; a larger worker may do it, or more of DELTAREG_WORKER_MEMORY_BYTES or the suite's budget"


def listen(raw: bytes) -> ChildReport:
    """Parse a child's report.

    Raises:
        Inconclusive: The child gave up, ended before its last line, or wrote something else.
    """
    if len(raw) > MOST_BYTES:
        raise Inconclusive("the child said more than a report may hold")
    checks: list[CheckResult] = []
    figures: Figures | None = None
    findings: Mapping[str, object] | None = None
    for line in raw.splitlines():
        match _line(line):
            case CheckResult() as result:
                checks.append(result)
            case Figures() as found:
                figures = found
            case _Found(document):
                findings = document
            case CheckSurroundings() as last:
                return ChildReport(tuple(checks), last, figures, findings)
            case reason:
                raise Inconclusive(reason)
    reached = f"after check {checks[-1].name}" if checks else "before the first check"
    raise Inconclusive(f"the child ended {reached} without a report")


def check_in(raw: bytes) -> CheckResult | None:
    """Return the result of a check in a line; None for other lines."""
    try:
        message = _line(raw)
    except Inconclusive:
        return None
    return message if isinstance(message, CheckResult) else None


def _line(raw: bytes) -> CheckResult | Figures | CheckSurroundings | _Found | str:
    try:
        ((word, value),) = strict_json_object(raw).items()
        match word, value:
            case "check", dict():
                return CheckResult.model_validate(value)
            case "figures", dict():
                return Figures.decode(json.dumps(value).encode())
            case "found", dict():
                return _Found(cast("dict[str, object]", value))
            case "end", dict():
                return CheckSurroundings.model_validate(value)
            case "error", str():
                return value
            case _:
                raise Inconclusive(f"the child spoke an unknown word: {word[:40]!r}")
    except (InvalidInput, Refused, ValidationError, ValueError) as error:
        raise Inconclusive(f"the child's report cannot be read: {str(error)[:200]}") from error


def _encode_value(value: object) -> object:
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    return value[:_DETAIL_CHARACTERS] if isinstance(value, str) else value
