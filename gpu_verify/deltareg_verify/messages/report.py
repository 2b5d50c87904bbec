"""What a child says, as lines of JSON on a pipe; what cannot be read is not believed.

The child has touched a tenant's bytes, so its words are checked like a tenant's: bounded, parsed
strictly, of known shape. A child that ends without its last line has said nothing.
"""

import json
import math
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


class CheckSurroundings(BaseModel):
    """Where the checks ran; the child's last line."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    dtype: str = Field(max_length=20)
    sandbox: str = Field(max_length=200)
    environment: dict[str, str] = Field(max_length=50)


@dataclass(frozen=True, slots=True)
class ChildReport:
    """All that a child said.

    Attributes:
        checks: In the order that they ran.
        surroundings: Where they ran.
        figures: What it found of a base; None where that was not asked.
        found: What it found out for people, as it wrote it, still to be read by its kind; None
            where that was not asked.
    """

    checks: tuple[CheckResult, ...]
    surroundings: CheckSurroundings
    figures: Figures | None = None
    found: Mapping[str, object] | None = None


@dataclass(frozen=True, slots=True)
class _Found:
    """What was found out for people."""

    document: Mapping[str, object]


class ReportWriter:
    """The child's end of the pipe."""

    def __init__(self, pipe: IO[bytes]) -> None:
        self._pipe = pipe

    def check(self, result: CheckResult) -> None:
        """Say what one check gave; numbers that JSON has no word for become strings."""
        fields = {key: _encode_value(value) for key, value in result.model_dump().items()}
        self._say({"check": fields})

    def figures(self, found: Figures) -> None:
        """Say what was found of a base.

        Raises:
            ValueError: Some of it are no numbers.
        """
        self._say({"figures": json.loads(found.encode())})

    def report_findings(self, document: Mapping[str, object]) -> None:
        """Say what was found out for people.

        Raises:
            ValueError: Some of it are no numbers.
        """
        self._say({"found": document})

    def end(self, *, dtype: str, sandbox: str, environment: Mapping[str, str]) -> None:
        """Say that all is said."""
        last = {"dtype": dtype, "sandbox": sandbox, "environment": dict(environment)}
        self._say({"end": last})

    def give_up(self, reason: str) -> None:
        """Say why nothing could be found out; no verdict follows from it."""
        self._say({"error": reason[:_DETAIL_CHARACTERS]})

    @contextmanager
    def giving_up(self) -> Generator[None]:
        """Give up, with the reason, where the block is in no position to find anything out."""
        try:
            yield
        except DeltaregError as error:
            self.give_up(f"{error.message}; {error.fix}" if error.fix else error.message)
        except MemoryError:
            self.give_up("not enough memory; run it on a worker with more")

    def _say(self, line: Mapping[str, object]) -> None:
        self._pipe.write(json.dumps(line, allow_nan=False).encode() + b"\n")
        self._pipe.flush()


def listen(raw: bytes) -> ChildReport:
    """Read what a child said.

    Raises:
        Inconclusive: It gave up, ended before its last line, or spoke nonsense.
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
    """Give the outcome of a check that a line tells of; None when it tells of none."""
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
