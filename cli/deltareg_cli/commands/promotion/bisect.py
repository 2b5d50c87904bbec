"""`deltareg bisect`: which version made a line bad."""

import math
from typing import TYPE_CHECKING

import click

from deltareg.errors import InvalidInput
from deltareg.refs import LineRef
from deltareg_cli.commands.promotion.bisect_by_hand import bad, good, reset, skip, start, status
from deltareg_cli.exits import ExitStatus
from deltareg_cli.invocation import Invocation
from deltareg_cli.options.options import VersionNumber, option, timeout_option
from deltareg_cli.tree.command_tree import command, group
from deltareg_cli.tree.help_page import Example

if TYPE_CHECKING:
    from deltareg.client.compare.bisect import BisectionStep, Judge

ORDER = 50

_RUN = (
    Example(
        "the version since when accuracy is below 0.9",
        "deltareg bisect run me/chat --good v3 --bad v12 --suite reviews \\\n    --metric accuracy --min 0.9",
    ),
    Example("the first version that fails a suite", "deltareg bisect run me/chat --good v3 --bad v12 --suite reviews"),
    Example(
        "judged by a command of your own",
        "deltareg bisect run me/chat --good v3 --bad v12 --script 'python eval.py {ref}'",
    ),
)


@group("bisect", *_RUN[:1], see_also=("diff", "verify", "suite"))
def bisect() -> None:
    """Find the version that made a line bad, with few verifications.

    `run` judges by verdicts or a script. Judge yourself with `start`, then `good`, `bad` or `skip`:
    each names the version to try next.
    """


@command("run", *_RUN, see_also=("diff", "verify", "help exit-codes"), is_resumable=True)
@click.argument("line", metavar="NS/NAME", help="The line.")
@option("--good", required=True, type=VersionNumber(), metavar="vN", help="A version that is good.")
@option("--bad", required=True, type=VersionNumber(), metavar="vN", help="A later one that is bad.")
@option("--suite", metavar="NAME", help="What versions are verified with. Default: smoke.")
@option("--metric", metavar="CHECK", help="The check of the suite that decides. Default: the verdict decides.")
@option("--min", "least", type=float, metavar="X", help="A good version measures X or more.")
@option("--max", "most", type=float, metavar="X", help="A good version measures X or less.")
@option(
    "--script",
    metavar="COMMAND",
    help="Judge by a command instead: exit 0 good, 125 skip, other bad; {ref} is the version.",
)
@timeout_option(help="How long to wait for one verification; it goes on after that.")
@click.pass_obj
def run(
    invocation: Invocation,
    line: str,
    *,
    good: int,
    bad: int,
    suite: str | None,
    metric: str | None,
    least: float | None,
    most: float | None,
    script: str | None,
    timeout: float,
) -> ExitStatus:
    """Search for the first bad version between a good and a bad one.

    Both ends are judged first, then the version in the middle, and so on: twelve versions take six
    judgements at most. A verdict that counts is taken as it is, else a verification is queued and
    waited for. Verdicts are all that is remembered, so the same line goes on after an interruption.

    A version whose verdict is inconclusive, or whose check has no measure, is skipped for its
    neighbour; deleted ones are left out. Exit status: 0 the first bad version is found, 11 only
    skipped ones are left, 2 an end is not what it was said to be.
    """
    from deltareg_cli.views.bisections import bisect_answer, step_line

    parsed = LineRef.parse(line)
    judge = _judge(invocation, suite=suite, metric=metric, least=least, most=most, script=script, timeout_s=timeout)

    def judge_and_show(ref: str) -> "BisectionStep":
        step = judge(ref)
        invocation.output.note(step_line(step))
        return step

    report = invocation.client.bisection.find(parsed, good=good, bad=bad, judge=judge_and_show)
    options = "" if script else f"--mode behavior --suite {suite or 'smoke'}"
    invocation.output.show(bisect_answer(report, diff_options=options))
    return ExitStatus.DONE if report.bounds.is_found else ExitStatus.INCONCLUSIVE


def _judge(
    invocation: Invocation,
    *,
    suite: str | None,
    metric: str | None,
    least: float | None,
    most: float | None,
    script: str | None,
    timeout_s: float,
) -> "Judge":
    from deltareg.client.compare.bisect import BisectionCriterion
    from deltareg_cli.runs.script import script_judge

    has_mark = least is not None or most is not None
    if script is not None:
        if suite or metric or has_mark:
            raise InvalidInput("a script judges alone", fix="leave out --suite, --metric, --min and --max")
        return script_judge(script)
    if has_mark and not metric:
        raise InvalidInput("--min and --max are for a check", fix="name it: --metric CHECK")
    if not all(math.isfinite(mark) for mark in (least, most) if mark is not None):
        raise InvalidInput("--min and --max are finite numbers", fix="give a number such as 0.9")
    measure = BisectionCriterion(suite or "smoke", metric or "", least, most, timeout_s)
    return invocation.client.bisection.by_suite(measure)


for _command in (run, start, good, bad, skip, status, reset):
    bisect.add_command(_command)
