"""`deltareg ask`: what a base and its versions say to a prompt, by a worker."""

import sys

import click

from deltareg.errors import InvalidInput
from deltareg.wire.bounds import PROMPT_MOST, SIDES_MOST, TOKENS_MOST
from deltareg.words import PromptForm
from deltareg_cli.invocation import Invocation
from deltareg_cli.options.options import option, timeout_option
from deltareg_cli.runs.by_worker import require_done
from deltareg_cli.runs.waiting import wait_for
from deltareg_cli.terminal.blocks import CommandResult
from deltareg_cli.tree.command_tree import command
from deltareg_cli.tree.help_page import Example
from deltareg_cli.views.answers import answer_blocks

ORDER = 115

_SHOWN = 40


@command(
    "ask",
    Example("a version beside its base", 'deltareg ask me/chat:v3 "Once upon a time"'),
    Example("what prod says, and what the newest would", 'deltareg ask me/chat@prod me/chat "Hi"'),
    Example("a prompt from a file, drawn by a seed", "deltareg ask me/chat - --seed 7 < p.txt"),
    Example("what came of a question that took long", "deltareg ask --show RUN"),
    Example("a text to go on from, of a base that chats", 'deltareg ask me/chat "Dear" --no-chat'),
    see_also=("diff", "verify", "worker", "help references"),
)
@click.argument("refs", metavar="REF...", nargs=-1)
@click.argument("prompt", required=False, default="")
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
@option("--chat/--no-chat", default=None, help="Put the prompt into a chat template, or not; else where there is one.")
@option("--show", metavar="RUN", help="Wait for a question that you asked, and ask none.")
@option("--show-prompt", is_flag=True, help="Show the prompt as each got it, marks included.")
@timeout_option()
@click.pass_obj
def ask(
    invocation: Invocation,
    refs: tuple[str, ...],
    prompt: str,
    *,
    tokens: int,
    seed: int | None,
    chat: bool | None,
    show: str | None,
    show_prompt: bool,
    timeout: float,
) -> None:
    """Ask a base and one or two of its versions the same prompt.

    A worker runs them in its sandbox. Where the version brings a chat template, or its base, the
    prompt is what a user says in a chat, and they answer; else each goes on from the text as it
    stands. Below an answer it says which it was. A classifier names its classes. `-` reads the
    prompt from the standard input.

    Prompt and answers are for you alone and go after a day; the audit trail says that you asked,
    and not what. You may have three questions open, and ask sixty in an hour. Nothing that a
    version says here counts for a gate: see deltareg verify.
    """
    client = invocation.client
    if show is None:
        _check(refs, prompt)
        text = sys.stdin.read(PROMPT_MOST + 1).rstrip("\n") if prompt == "-" else prompt
        form: PromptForm = "auto" if chat is None else "chat" if chat else "plain"
        run = client.runs.ask(text, *refs, tokens=tokens, seed=seed, form=form)
    elif prompt:
        raise InvalidInput("--show asks nothing", fix="leave out versions and prompt")
    else:
        run = client.runs.show(show)
    require_done(wait_for(invocation, run, timeout_s=timeout), "answered")
    answers = client.runs.answers(run)
    if answers.why:
        raise InvalidInput(answers.why)
    blocks = answer_blocks(answers, has_prompt=show_prompt)
    invocation.output.show(CommandResult(answers.to_dict(), blocks, [run.id]))


def _check(refs: tuple[str, ...], prompt: str) -> None:
    """Refuse a call that lacks the version or the quotes around the prompt.

    Raises:
        InvalidInput: Something is missing; the message says what.
    """
    if not refs:
        raise InvalidInput(
            f"a version and a prompt are asked for, and {prompt[:_SHOWN]!r} is one of the two",
            fix='deltareg ask me/chat:v3 "Once upon a time"',
        )
    word = next((ref for ref in refs[1:] if "/" not in ref), "")
    if word:
        raise InvalidInput(f"not a version: {word[:_SHOWN]!r}", fix="put all of the prompt in quotes")
    if len(refs) >= SIDES_MOST:
        raise InvalidInput(
            f"{len(refs)} versions are asked, and {SIDES_MOST - 1} stand beside their base",
            fix="name one or two, and the prompt last, in quotes",
        )
