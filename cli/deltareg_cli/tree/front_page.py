"""The page of `deltareg --help`: first steps, then every command by its purpose."""

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
    "setup": "Setup",
}
FIRST_STEPS = (
    Example("a registry on this machine", "deltareg up"),
    Example("what deltas are made on", "deltareg base push ./llama llama"),
    Example("a delta, checked on it", "deltareg push ./lora me/chat --base llama --wait"),
    Example("what is pulled from now on", "deltareg promote me/chat:v1 --channel prod"),
)


def front_page(root: click.Group, ctx: click.Context, sections: Mapping[str, Iterable[str]]) -> str:
    """Write the first page, in colour."""
    width = page_width(ctx)
    usage = f"{heading('Usage:')} {click.style('deltareg', fg='cyan')} COMMAND [ARGUMENTS] [OPTIONS]"
    parts = [usage, f"  {INTRODUCTION}", _first_steps(width)]
    for title, names in sections.items():
        commands = ((name, root.get_command(ctx, name)) for name in names)
        rows = [(name, summary(command)) for name, command in commands if command]
        parts.append(listing(title, rows, width, column=16))
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
