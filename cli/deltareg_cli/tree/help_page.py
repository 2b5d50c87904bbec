"""The help page of a command or group: what it does, how to call it, examples, further reading."""

import inspect
import shutil
import textwrap
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import click

from deltareg_cli.options.options import Option

WIDEST = 100
NARROWEST = 50
INDENT = 2
WIDEST_LABEL = 26


@dataclass(frozen=True, slots=True)
class Example:
    """A command line to type, with a sentence on its purpose."""

    text: str
    line: str


@dataclass(frozen=True, slots=True)
class CommandHelp:
    """What a page contains beyond the docstring and the options."""

    examples: Sequence[Example] = ()
    see_also: Sequence[str] = ()


def write_page(command: click.Command, ctx: click.Context, teaching: CommandHelp) -> str:
    """Write a page, in colour; printing removes the colours where nobody wants them."""
    width = page_width(ctx)
    parts = [usage(command, ctx, width), prose(command.help or "", width)]
    if isinstance(command, click.Group):
        parts.append(listing("Commands", _commands(command, ctx), width))
    else:
        sections = list(_parameters(command, ctx))
        column = _column([label for _, rows in sections for label, _ in rows])
        parts += [listing(title, rows, width, column=column) for title, rows in sections]
    parts += [examples(teaching.examples, width), foot(command, teaching.see_also, width)]
    return "\n\n".join(part for part in parts if part)


def page_width(ctx: click.Context) -> int:
    """Return the page's width in columns: the terminal's, within readable limits."""
    columns = ctx.terminal_width or shutil.get_terminal_size((80, 24)).columns
    return max(NARROWEST, min(columns, WIDEST))


def heading(text: str) -> str:
    """Format a heading."""
    return click.style(text, bold=True)


def usage(command: click.Command, ctx: click.Context, width: int) -> str:
    """Format how to call a command: its arguments, then the options that it needs."""
    words = [p.make_metavar(ctx) for p in command.params if isinstance(p, click.Argument)]
    words += [
        f"{param.opts[-1]} {_metavar(param, ctx)}"
        for param in command.params
        if isinstance(param, Option) and param.required
    ]
    words.append("COMMAND" if isinstance(command, click.Group) else "[OPTIONS]")
    label = "Usage: "
    path = ctx.command_path
    body = textwrap.fill(
        " ".join(words),
        width,
        initial_indent=label + path + " ",
        subsequent_indent=" " * (len(label) + len(path) + 1),
        break_long_words=False,
        break_on_hyphens=False,
    )
    return f"{heading('Usage:')} {click.style(path, fg='cyan')}{body[len(label) + len(path) :]}"


def prose(text: str, width: int) -> str:
    """Format paragraphs, indented; a line that begins with two spaces stays as it is."""
    paragraphs: list[str] = []
    for paragraph in inspect.cleandoc(text).split("\n\n"):
        if paragraph.startswith("  "):
            paragraphs.append(textwrap.indent(paragraph, ""))
        else:
            paragraphs.append(_wrap(" ".join(paragraph.split()), width, " " * INDENT))
    return "\n\n".join(paragraphs)


def listing(title: str, rows: Sequence[tuple[str, str]], width: int, *, column: int = 0) -> str:
    """Format labels under a title, with sentences beside them from `column` on."""
    if not rows:
        return ""
    column = column or _column([label for label, _ in rows])
    lines = [heading(title)]
    for label, text in rows:
        lines += _row(label, text, column, width)
    return "\n".join(lines)


def examples(found: Sequence[Example], width: int) -> str:
    """Format the examples, each below the sentence about its purpose."""
    if not found:
        return ""
    lines = [heading("Examples")]
    for n, example in enumerate(found):
        lines += [""] if n else []
        lines.append(click.style(_wrap(f"# {example.text}", width, "  "), dim=True))
        lines.append(f"  {click.style('$', dim=True)} {click.style(example.line, fg='cyan')}")
    return "\n".join(lines)


def foot(command: click.Command, see_also: Sequence[str], width: int) -> str:
    """Format the further reading, and which global options the command has."""
    rows = [("See also", ", ".join(f"deltareg {name}" for name in see_also))] if see_also else []
    free = {name for param in command.params if isinstance(param, Option) for name in param.opts}
    names = ("--json", "-o/--output", "-q/--quiet", "-y/--yes", "--server", "-v")
    available = [name for name in names if set(name.split("/")) & free]
    rows.append(("Everywhere", f"{', '.join(available)} and more: deltareg help options"))
    lines: list[str] = []
    for label, text in rows:
        lines += _row(label, text, 12, width, indent=0, is_heading=True)
    return "\n".join(lines)


def summary(command: click.Command) -> str:
    """Return the first sentence of a command's page, without its full stop."""
    text = inspect.cleandoc(command.help or "").split("\n\n")[0]
    return " ".join(text.split()).rstrip(".")


def _commands(group: click.Group, ctx: click.Context) -> list[tuple[str, str]]:
    commands = ((name, group.get_command(ctx, name)) for name in group.list_commands(ctx))
    return [(name, summary(command)) for name, command in commands if command and not command.hidden]


def _column(labels: Sequence[str]) -> int:
    """Return the column where sentences begin: behind the widest label that is not too wide."""
    return max((n for n in map(len, labels) if n <= WIDEST_LABEL), default=8) + INDENT + 2


def _parameters(command: click.Command, ctx: click.Context) -> Iterator[tuple[str, list[tuple[str, str]]]]:
    """Return the sections of a page: the arguments, then the options in the order of their definition."""
    arguments = [p for p in command.params if isinstance(p, click.Argument) and p.help]
    yield "Arguments", [(_bare(p.make_metavar(ctx)), str(p.help)) for p in arguments]
    sections: dict[str, list[tuple[str, str]]] = {}
    for param in command.params:
        if isinstance(param, Option) and not param.is_global and not param.hidden:
            sections.setdefault(param.section, []).append(_record(param, ctx))
    yield from sections.items()


def _bare(metavar: str) -> str:
    """Remove the marks of optional parts from a metavar."""
    return metavar.replace("[", "").replace("]", "")


def _record(param: Option, ctx: click.Context) -> tuple[str, str]:
    """Return an option as the user types it, and its sentence."""
    value = "" if param.is_flag or param.count else _metavar(param, ctx)
    joint = "" if value.startswith("[=") else " "
    label = ", ".join(param.opts) + (f"{joint}{value}" if value else "")
    text = param.help or ""
    if param.required:
        return label, f"{text} Required."
    if param.show_default:
        default = param.show_default if isinstance(param.show_default, str) else param.default
        return label, f"{text} Default: {default}."
    return label, text


def _metavar(param: Option, ctx: click.Context) -> str:
    """Name the value of an option: its choices, N for a number, else its declared metavar."""
    if param.metavar:
        return param.metavar
    if isinstance(param.type, click.Choice):
        return "|".join(str(choice) for choice in param.type.choices)
    if isinstance(param.type, click.types.IntParamType):
        return "N"
    return param.make_metavar(ctx)


def _row(
    label: str, text: str, column: int, width: int, *, indent: int = INDENT, is_heading: bool = False
) -> Iterator[str]:
    """Format a label and its sentence; a label too long for the column gets a line of its own."""
    painted = heading(label) if is_heading else click.style(label, fg="cyan")
    lines = textwrap.wrap(text, width - column, break_on_hyphens=False) or [""]
    if indent + len(label) + 2 > column:
        yield " " * indent + painted
        first = 0
    else:
        yield f"{' ' * indent}{painted}{' ' * (column - indent - len(label))}{lines[0]}".rstrip()
        first = 1
    for line in lines[first:]:
        yield f"{' ' * column}{line}"


def _wrap(text: str, width: int, indent: str) -> str:
    return textwrap.fill(text, width, initial_indent=indent, subsequent_indent=indent, break_on_hyphens=False)
