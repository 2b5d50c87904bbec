"""`deltareg bisect start`, `good`, `bad`, `skip`, `status`, `reset`: a person is the judge."""

from typing import TYPE_CHECKING

import click

from deltareg.refs import LineRef
from deltareg_cli.exits import ExitStatus
from deltareg_cli.invocation import Invocation
from deltareg_cli.options.options import VersionNumber, option
from deltareg_cli.terminal.blocks import Cell, CommandResult, LinesBlock
from deltareg_cli.tree.command_tree import command
from deltareg_cli.tree.help_page import Example

if TYPE_CHECKING:
    from deltareg.client.compare.bisect_by_hand import BisectionState
    from deltareg.gate.bisection import Mark

_SEE = ("bisect status", "bisect run", "pull", "help exit-codes")

_ref_argument = click.argument(
    "named", metavar="[REF]", required=False, help="The version: NS/NAME:vN, vN. Default: the one to try."
)
_line_argument = click.argument(
    "line", metavar="[NS/NAME]", required=False, help="The line; only needed if several go on."
)


@command(
    "start",
    Example("between two versions", "deltareg bisect start me/chat --good v3 --bad v12"),
    Example("ends to be named later", "deltareg bisect start me/chat"),
    see_also=("bisect good", *_SEE),
)
@click.argument("line", metavar="NS/NAME", help="The line.")
@option("--good", type=VersionNumber(), metavar="vN", help="A version that is good.")
@option("--bad", type=VersionNumber(), metavar="vN", help="A later one that is bad.")
@click.pass_obj
def start(invocation: Invocation, line: str, *, good: int | None, bad: int | None) -> ExitStatus:
    """Begin a search in which you judge the versions.

    It names the version in the middle, to be pulled and tried; tell what it is with deltareg bisect
    good, bad or skip. An end that is not named here is asked for: for the good one, what prod
    serves is suggested, for the bad one the newest version. Nothing is taken without you.

    What you said is kept on this machine, a search for each line, until deltareg bisect reset.
    Exit status: 0 versions are left to try, or the first bad one is found; 11 only skipped ones are
    left.
    """
    parsed = LineRef.parse(line)
    return _show(invocation, invocation.client.bisection_by_hand.start(parsed, good=good, bad=bad))


@command(
    "good",
    Example("the version to try is good", "deltareg bisect good"),
    Example("so is this one", "deltareg bisect good me/chat:v3"),
    see_also=("bisect bad", "bisect skip", *_SEE),
)
@_ref_argument
@click.pass_obj
def good(invocation: Invocation, named: str | None) -> ExitStatus:
    """Say that a version is good, and hear which one to try next.

    Judging a version again corrects a slip. Exit status: 0 versions are
    left to try, or the first bad one is found; 11 only skipped ones are left; 2 it contradicts what
    was said of another version; 5 the search went on in another place meanwhile.
    """
    return _mark(invocation, named, "good")


@command(
    "bad",
    Example("the version to try is bad", "deltareg bisect bad"),
    Example("so is this one", "deltareg bisect bad me/chat:v12"),
    see_also=("bisect good", "bisect skip", *_SEE),
)
@_ref_argument
@click.pass_obj
def bad(invocation: Invocation, named: str | None) -> ExitStatus:
    """Say that a version is bad, and hear which one to try next.

    Judging a version again corrects a slip. Exit status: 0 versions are
    left to try, or the first bad one is found; 11 only skipped ones are left; 2 it contradicts what
    was said of another version; 5 the search went on in another place meanwhile.
    """
    return _mark(invocation, named, "bad")


@command(
    "skip",
    Example("nobody can tell with this one", "deltareg bisect skip"),
    see_also=("bisect good", "bisect bad", *_SEE),
)
@_ref_argument
@click.pass_obj
def skip(invocation: Invocation, named: str | None) -> ExitStatus:
    """Leave out a version that nobody can judge, and hear the next.

    Its nearest neighbour is tried in its place. Exit status: 0 versions are left to try, or the
    first bad one is found; 11 only skipped ones are left, and the first bad version is among them.
    """
    return _mark(invocation, named, "skip")


@command(
    "status",
    Example("where it is", "deltareg bisect status"),
    see_also=("bisect good", "bisect bad", "bisect skip", "bisect reset"),
)
@_line_argument
@click.pass_obj
def status(invocation: Invocation, line: str | None) -> ExitStatus:
    """Show what was said of versions, and which one to try next.

    A version that was deleted since it was named is replaced by another. Exit status: 0 versions
    are left to try, or the first bad one is found; 11 only skipped ones are left; 3 no search goes
    on.
    """
    return _show(invocation, invocation.client.bisection_by_hand.status(_parse_line(line)))


@command(
    "reset",
    Example("end it", "deltareg bisect reset"),
    Example("one of several", "deltareg bisect reset me/chat"),
    see_also=("bisect start", "bisect status"),
)
@_line_argument
@click.pass_obj
def reset(invocation: Invocation, line: str | None) -> None:
    """End a search and forget what was said of versions.

    The versions stay as they are. Where no search goes on, nothing happens.
    """
    ended = invocation.client.bisection_by_hand.reset(_parse_line(line))
    of = line if ended is None else str(ended)
    message = "no bisection goes on" if ended is None else f"the bisection of {ended} is over"
    lines = LinesBlock([Cell(message, "dim" if ended is None else "")])
    document = {"line": of, "was_going_on": ended is not None}
    invocation.output.show(CommandResult(document, [lines], [] if ended is None else [str(ended)]))


def _mark(invocation: Invocation, named: str | None, mark: "Mark") -> ExitStatus:
    return _show(invocation, invocation.client.bisection_by_hand.mark(named, mark))


def _show(invocation: Invocation, found: "BisectionState") -> ExitStatus:
    from deltareg_cli.views.bisections_by_hand import standing_answer

    invocation.output.show(standing_answer(found))
    is_open = found.report is not None and not found.report.bounds.is_found
    return ExitStatus.INCONCLUSIVE if is_open else ExitStatus.DONE


def _parse_line(line: str | None) -> LineRef | None:
    return None if line is None else LineRef.parse(line)
