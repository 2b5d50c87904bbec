"""`deltareg merge`: make one version of several."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import click

from deltareg.delta.merge import method_names
from deltareg.errors import InvalidInput
from deltareg_cli.exits import ExitStatus, exit_status
from deltareg_cli.invocation import Invocation
from deltareg_cli.options.options import DurationParam, message_option, option
from deltareg_cli.runs.waiting import run_status, wait_for
from deltareg_cli.terminal.blocks import CommandResult
from deltareg_cli.tree.command_tree import command
from deltareg_cli.tree.global_options import concurrency_option
from deltareg_cli.tree.help_page import Example
from deltareg_cli.views.merges import merge_blocks, plan_blocks

if TYPE_CHECKING:
    from deltareg.client import MergeOptions

ORDER = 120

METHODS = method_names()
PARAMETERS, RECORD, VERIFICATION = "Parameters", "For the record", "Verification"


def parse_weights(ctx: click.Context, param: click.Parameter, value: Sequence[str]) -> list[tuple[str, float]]:
    """Parse texts of the form `ns/name:v3=0.7`."""
    weights: list[tuple[str, float]] = []
    for text in value:
        ref, _, weight = text.rpartition("=")
        try:
            weights.append((ref, float(weight)))
        except ValueError as error:
            problem = f"{text[:120]!r} is not REF=WEIGHT, such as me/chat:v3=0.7"
            raise click.BadParameter(problem, ctx, param) from error
    return weights


@command(
    "merge",
    Example("seven parts of one, three of the other", "deltareg merge me/chat:v3=0.7 me/code:v1=0.3 --as me/both"),
    Example(
        "look first: where do they pull in different directions?", "deltareg merge me/chat:v3=0.7 me/code:v1=0.3 --plan"
    ),
    Example("take a task away", "deltareg merge me/chat:v3=1 me/code:v1=-0.5 --as me/chat"),
    Example("LoRAs into one LoRA, exactly", "deltareg merge me/chat=0.7 me/code=0.3 --method cat --as me/both"),
    Example(
        "the nearest LoRA of a rank, with its error stated",
        "deltareg merge me/chat=0.7 me/code=0.3 --method svd --rank 16 --as me/both",
    ),
    see_also=("diff", "lineage", "verify"),
    is_resumable=True,
)
@click.argument(
    "parents",
    nargs=-1,
    required=True,
    metavar="REF=WEIGHT...",
    callback=parse_weights,
    help="What to merge; a bare NS/NAME is its newest version.",
)
@option("--as", "line", metavar="NS/NAME", help="The line that gets the merged version.")
@option(
    "--method",
    type=click.Choice(METHODS),
    metavar="METHOD",
    default="linear",
    show_default=True,
    help=f"How: {', '.join(METHODS[:-1])} or {METHODS[-1]}.",
)
@option("--plan", is_flag=True, help="Say where the changes conflict, and push nothing.")
@option(
    "--density",
    type=float,
    metavar="SHARE",
    section=PARAMETERS,
    help="What methods that drop elements keep of each change; 0.5 if not given.",
)
@option("--seed", type=int, section=PARAMETERS, help="Of what dare and della drop; 0 if not given.")
@option("--rank", type=int, section=PARAMETERS, help="Of the LoRA that svd makes.")
@option(
    "--scale",
    type=float,
    section=PARAMETERS,
    help="λ of task_arithmetic, ties, breadcrumbs and della, on the merged change; 1 if not given.",
)
@option(
    "--normalize/--no-normalize",
    default=None,
    section=PARAMETERS,
    help="Take the mean, not the sum (linear and methods with signs); ties and della do if not told.",
)
@option(
    "--gamma",
    type=float,
    metavar="SHARE",
    section=PARAMETERS,
    help="The largest elements that breadcrumbs drops; 0.01 if not given.",
)
@option(
    "--epsilon",
    type=float,
    metavar="SHARE",
    section=PARAMETERS,
    help="How much likelier della keeps the largest elements, and drops the smallest; 0.15 if not given.",
)
@option(
    "--dtype",
    type=click.Choice(["keep", "bf16", "f16", "f32"]),
    default="keep",
    show_default=True,
    help="What values are written as.",
)
@message_option(section=RECORD)
@option("--semver", metavar="1.4.0", section=RECORD, help="A label; it is never moved.")
@option("--verify", is_flag=True, section=VERIFICATION, help="Wait for the verdict of smoke.")
@option(
    "--timeout",
    type=DurationParam(),
    default="30m",
    show_default=True,
    section=VERIFICATION,
    help="How long to wait; the run goes on after that.",
)
@concurrency_option()
@click.pass_obj
def merge(
    invocation: Invocation,
    parents: list[tuple[str, float]],
    *,
    line: str | None,
    method: str,
    plan: bool,
    density: float | None,
    seed: int | None,
    rank: int | None,
    scale: float | None,
    normalize: bool | None,
    gamma: float | None,
    epsilon: float | None,
    dtype: str,
    message: str,
    semver: str | None,
    verify: bool,
    timeout: float,
) -> ExitStatus:
    """Merge versions of one base into a new version.

    What is merged is what each version does to the weights, never its factors one by one, so a LoRA
    of any scale and variant counts for what it does. Weights may be negative. Each version is
    folded in float32, the changes are added up in float64 and the result is rounded once: one
    version with weight 1 gives the very bits that it folds to.

      linear, task_arithmetic   a mixture, or less of a task: the place to start
      ties, breadcrumbs_ties    versions work against each other: elect signs
      dare_ties, della          the same, of changes with much to spare
      model_stock               runs of one training, by seed or order of data
      sce                       no weights are known: measured from the changes
      slerp, nuslerp            two versions, along the arc of weights, of changes
      karcher                   any number of versions on that arc
      breadcrumbs, dare, della_linear, magnitude_prune   sums of a part of each
      cat, svd                  LoRAs that have to stay a LoRA

    The result holds new weights, except with cat and svd, which make a LoRA. It remembers its
    parents and, in merge.json, how it was made; the same merge again is the same version.
    """
    from deltareg.client import MergeOptions

    options = MergeOptions(
        method=method,
        density=density,
        seed=seed,
        scale=scale,
        normalize=normalize,
        rank=rank,
        gamma=gamma,
        epsilon=epsilon,
        dtype=dtype,
        message=message,
        semver=semver,
    )
    if plan:
        return _plan(invocation, parents, options)
    if line is None:
        raise InvalidInput("a merge needs a line to go to", fix="say --as NS/NAME, or --plan")
    report = invocation.client.merge(parents, line, options=options)
    ref = report.pushed.version.ref
    document, blocks = report.to_dict(), merge_blocks(report)
    if not verify:
        invocation.output.show(CommandResult(document, blocks, [ref]))
        return ExitStatus.DONE
    run = wait_for(invocation, invocation.client.verify(ref), timeout_s=timeout)
    verdict = run.verdict.verdict if run.verdict else None
    invocation.output.show(CommandResult(document | {"run": run.id, "verdict": verdict}, blocks, [ref]))
    return run_status(run)


def _plan(invocation: Invocation, parents: list[tuple[str, float]], options: "MergeOptions") -> ExitStatus:
    forecast = invocation.client.versions.plan_merge(parents, options=options)
    invocation.output.show(CommandResult(forecast.to_dict(), plan_blocks(forecast), []))
    return ExitStatus.DONE if forecast.hindrance is None else exit_status(forecast.hindrance)
