"""`deltareg ask`: what a base and its versions say to a prompt, by a worker."""

import sys

import click

from deltareg.errors import InvalidInput
from deltareg.wire.findings import PROMPT_MOST, SIDES_MOST, TOKENS_MOST
from deltareg_cli.blocks import Answer
from deltareg_cli.by_worker import ended
from deltareg_cli.command_tree import Place, command
from deltareg_cli.help_page import Example
from deltareg_cli.invocation import Invocation
from deltareg_cli.options import option, timeout_option
from deltareg_cli.views.answers import answer_blocks
from deltareg_cli.waiting import wait_for

PLACE = Place("Deltas", 115)


@command(
    "ask",
    Example("a version beside its base", 'deltareg ask me/chat:v3 "Once upon a time"'),
    Example("what prod says, and what the newest would", 'deltareg ask me/chat@prod me/chat "Hi"'),
    Example("a prompt from a file, drawn by a seed", "deltareg ask me/chat - --seed 7 < p.txt"),
    see_also=("diff", "verify", "worker", "help references"),
)
@click.argument("refs", metavar="REF...", nargs=-1, required=True)
@click.argument("prompt")
@option(
    "--tokens",
    type=click.IntRange(1, TOKENS_MOST),
    default=64,
    show_default=True,
    help="How many tokens each writes at most.",
)
@option(
    "--seed",
    type=click.IntRange(0, (1 << 31) - 1),
    metavar="N",
    help="Draw tokens by it; without one the likeliest is taken each time.",
)
@timeout_option()
@click.pass_obj
def ask(
    invocation: Invocation,
    refs: tuple[str, ...],
    prompt: str,
    *,
    tokens: int,
    seed: int | None,
    timeout: float,
) -> None:
    """Ask a base and one or two of its versions the same prompt.

    A worker runs them in its sandbox. Each goes on from the prompt as it stands; what a chat puts
    around a message is yours to write. `-` reads the prompt from the standard input.

    Prompt and answers are for you alone and go after a day; the audit trail says that you asked,
    and not what. You may have three questions open, and ask sixty in an hour. Nothing that a
    version says here counts for a gate: see deltareg verify.
    """
    if len(refs) >= SIDES_MOST:
        raise InvalidInput(
            f"{len(refs)} versions are asked, and {SIDES_MOST - 1} stand beside their base",
            fix="name one or two, and the prompt last, in quotes",
        )
    text = sys.stdin.read(PROMPT_MOST + 1).rstrip("\n") if prompt == "-" else prompt
    client = invocation.client
    run = client.runs.ask(text, *refs, tokens=tokens, seed=seed)
    ended(wait_for(invocation, run, timeout_s=timeout), "answered")
    found = client.runs.answers(run)
    if found.why:
        raise InvalidInput(found.why)
    invocation.output.show(Answer(found.to_dict(), answer_blocks(found), [run.id]))
