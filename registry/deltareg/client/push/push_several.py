"""Push several folders by one command, such as the adapters of a sweep: their base is looked up once."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from deltareg.client.context import Context
from deltareg.client.push.push import PushOptions, push_onto
from deltareg.client.push.push_target import PushBases
from deltareg.client.results.reports import PushReport
from deltareg.errors import InvalidInput
from deltareg.refs import LineRef

NAMESPACE = "/"
"""Ends a target that is a namespace: each folder then has a line of its own there."""


@dataclass(frozen=True, slots=True)
class PushedFolder:
    """One of several folders, pushed.

    Attributes:
        path: The folder.
        report: What became of it.
    """

    path: Path
    report: PushReport


def push_several(
    context: Context, paths: Sequence[Path], to: str, *, base: str | None, options: PushOptions | None
) -> Iterator[PushedFolder]:
    """Push folders one after another; the first that is refused ends it, and those before it stay.

    Args:
        context: The client's surroundings.
        paths: The folders.
        to: A line, which gets them as versions in this order, or a namespace with a `/` behind it, which gets
            a line for each, named like its folder.
        base: The base, as of `push`.
        options: What is said of each; None for nothing.

    Raises:
        InvalidInput: A folder's name is no line's, or two have one, or the options are of one version.
    """
    options = options or PushOptions()
    if options.semver or options.idempotency_key or options.golden.file:
        raise InvalidInput("a semver, an idempotency key and a file of golden outputs are of one version")
    lines = _lines(paths, to)
    with PushBases(context) as bases:
        for path, line in zip(paths, lines, strict=True):
            yield PushedFolder(path, push_onto(bases, path, line, base=base, options=options))


def _lines(paths: Sequence[Path], to: str) -> list[LineRef]:
    """Return the line that each folder is pushed to."""
    if not to.endswith(NAMESPACE):
        return [LineRef.parse(to)] * len(paths)
    by_line: dict[LineRef, Path] = {}
    for path in paths:
        line = LineRef.parse(f"{to}{path.absolute().name}")
        other = by_line.setdefault(line, path)
        if other is not path:
            raise InvalidInput(f"{other} and {path} would both be {line}", fix="rename one of them")
    return list(by_line)
