"""The page of `deltareg --help`: first steps and everyday commands; `help all` has every command."""

from collections.abc import Iterable, Mapping

import click

from deltareg_cli.tree.help_page import Example, heading, listing, page_width, summary

INTRODUCTION = "Store, verify, promote and roll back fine-tuning deltas."
SECTIONS = {  # the folders of `deltareg_cli.commands`, in the order of the page
    "start": "Start here",
    "deltas": "Deltas",
    "promotion": "Verify and promote",
    "channels": "Channels",
    "bases": "Bases",
    "operations": "Operate",
    "people": "People",
    "setup": "Setup",
}
EVERYDAY = {  # what their own pages begin with, as a test holds: loading eight commands takes longer than the rest
    "push": "Push a fine-tuned folder as a new version of a line",
    "verify": "Have a version checked on its base by a worker",
    "show": "Show a version: what it is, whether it passes, where it serves",
    "diff": "Compare two versions, tensor by tensor or by what they do",
    "promote": "Put a version on a channel, if its gate allows",
    "rollback": "Make a channel serve an earlier version again, at once",
    "pull": "Get the files of a version, byte for byte",
    "ls": "List lines, or the versions of one line",
}
FIRST_STEPS = (
    Example("a registry on this machine", "deltareg up"),
    Example("what deltas are made on", "deltareg base push ./llama llama"),
    Example("a delta, checked on it", "deltareg push ./lora me/chat --base llama --wait"),
    Example("what is pulled from now on", "deltareg promote me/chat:v1 --channel prod"),
)
_COLUMN = 16


def front_page(ctx: click.Context) -> str:
    """Write the first page, in colour: what fits on a screen."""
    width = page_width(ctx)
    return "\n\n".join(
        [
            f"{_usage()}\n  {INTRODUCTION}",
            _first_steps(width),
            listing("Every day", list(EVERYDAY.items()), width, column=_COLUMN),
            listing(
                "Read on",
                [
                    ("deltareg help all", "every command, by its purpose"),
                    ("deltareg COMMAND --help", "what a command does, with examples"),
                    ("deltareg explain CODE", "what a problem means and what to do about it"),
                ],
                width,
            ),
        ]
    )


def whole_page(root: click.Group, ctx: click.Context, sections: Mapping[str, Iterable[str]]) -> str:
    """Write the page of `help all`, in colour: every command by its purpose."""
    width = page_width(ctx)
    parts = [_usage()]
    parts += [listing(title, _rows(root, ctx, names), width, column=_COLUMN) for title, names in sections.items()]
    parts.append(
        listing(
            "Read on",
            [
                ("deltareg COMMAND --help", "what a command does, with examples"),
                ("deltareg help exit-codes", "what the exit status says"),
                ("deltareg help TOPIC", "topics: options, environment, references, output"),
                ("deltareg explain CODE", "what a problem means and what to do about it"),
            ],
            width,
        )
    )
    return "\n\n".join(parts)


def _usage() -> str:
    return f"{heading('Usage:')} {click.style('deltareg', fg='cyan')} COMMAND [ARGUMENTS] [OPTIONS]"


def _rows(root: click.Group, ctx: click.Context, names: Iterable[str]) -> list[tuple[str, str]]:
    """Return commands with their summaries."""
    commands = ((name, root.get_command(ctx, name)) for name in names)
    return [(name, summary(command)) for name, command in commands if command]


def _first_steps(width: int) -> str:
    """Write the first steps, each with its purpose beside it where the page has room."""
    column = max(len(step.line) for step in FIRST_STEPS) + 2
    has_room = column + 4 + max(len(step.text) for step in FIRST_STEPS) <= width
    lines = [heading("First steps")]
    for step in FIRST_STEPS:
        line = f"  {click.style('$', dim=True)} {click.style(step.line, fg='cyan')}"
        beside = " " * (column - len(step.line)) + click.style(step.text, dim=True)
        lines.append(f"{line}{beside}" if has_room else line)
    return "\n".join(lines)
