"""Guesses what a line that cannot be parsed was meant to be, and suggests that command.

It considers the line alone: a value without its option, an option where the value stands alone, two
values that changed places.
"""

import re
import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import click
from click.exceptions import NoSuchOption

from deltareg.errors import DeltaregError, InvalidInput, NotFound
from deltareg_cli.options.options import ChannelParam

# What a value too many may be for where no option is missing: the first that a command has.
_LIKELY = ("--out", "--to", "--base", "--suite", "--channel", "--hub-id")
_CHANNELS = ("dev", "staging", "prod")
# What an option is called in other commands, and in this one where it has that.
_SYNONYMS = {
    "--to": ("--version", "--out"),
    "--out": ("--to",),
    "--timeout": ("--wait-timeout",),
    "--wait-timeout": ("--timeout",),
}
_OF_REFERENCES = frozenset("/:@")
_OF_VERSIONS = ("ref", "named", "a", "b")  # the arguments that name a version


@dataclass(frozen=True, slots=True)
class _Line:
    """The words after a command.

    Attributes:
        values: The words in the places of the arguments, in order.
        extra: The words beyond the last argument.
        rest: The options with their values, as written.
        given: The names of the options on the line.
    """

    values: list[str]
    extra: list[str]
    rest: list[str]
    given: frozenset[str]


def suggest_line(command: click.Command, ctx: click.Context, args: Sequence[str], slip: Exception) -> str:
    """Return the line that was probably meant, or an empty text.

    Args:
        command: The command.
        ctx: Its context.
        args: The words after it.
        slip: Why they cannot be parsed.
    """
    if "--" in args:
        return ""
    if isinstance(slip, NoSuchOption):
        return _with_synonym(command, ctx, args, slip.option_name) or _without_option(
            command, ctx, args, slip.option_name
        )
    line = _read(command, ctx, args)
    if line is None:
        return ""
    missing = [
        param
        for param in command.params
        if isinstance(param, click.Option) and param.required and param.name not in line.given
    ]
    return _with_options(ctx, line, missing or _likely(command, line))


def in_order(ctx: click.Context, error: DeltaregError) -> DeltaregError:
    """Return the error that says which comes first, where a path and a name changed places."""
    argument, path = _path_in(ctx)
    key = next((key for key in ("name", "line") if isinstance(ctx.params.get(key), str)), "")
    if not key or not isinstance(path, Path) or path.exists():
        return error
    second = str(ctx.params[key])
    if not Path(second).exists() or not _is_name(path, key, second):
        return error
    words = {param.name: param.make_metavar(ctx).removesuffix("...") for param in ctx.command.params}
    return InvalidInput(
        f"there is nothing at {path}, and {second} is there: {words[argument]} comes first, then {words[key]}",
        fix=shlex.join([*ctx.command_path.split(), second, str(path)]),
    )


def behind_its_option(ctx: click.Context, error: DeltaregError) -> DeltaregError:
    """Return the error that says so, where a base comes after a line, without its option."""
    paths, last = _paths_in(ctx), ctx.params.get("line")
    if len(paths) < 2 or not isinstance(last, str) or "/" in last or ctx.params.get("base") is not None:
        return error
    *folders, name = map(str, paths)
    if paths[-1].exists() or name.count("/") != 1:
        return error
    return InvalidInput(
        f"{last} comes after {name}, and is no folder's line",
        fix=shlex.join([*ctx.command_path.split(), *folders, name, "--base", last]),
    )


def of_folder(ctx: click.Context, error: DeltaregError) -> DeltaregError:
    """Return the error that says so, where a folder on this machine stands in the place of a version."""
    named = next((text for key in _OF_VERSIONS if isinstance(text := ctx.params.get(key), str)), "")
    is_missing = isinstance(error, NotFound) and re.match("there is no (delta|namespace) ", error.message)
    is_no_ref = type(error) is InvalidInput and error.message.startswith("not NAMESPACE/NAME")
    if not named or not (is_missing or is_no_ref) or not Path(named).is_dir():
        return error
    return type(error)(
        f"{named} is a folder here, and no version in the registry",
        fix=f"push it first: {shlex.join(['deltareg', 'push', named, 'NS/NAME', '--base', 'BASE'])}",
    )


def _path_in(ctx: click.Context) -> tuple[str, object]:
    """Return which argument of a command is its path, and what stands there; of several paths nothing."""
    paths = _paths_in(ctx)
    return ("paths", paths[0]) if len(paths) == 1 else ("path", ctx.params.get("path"))


def _paths_in(ctx: click.Context) -> tuple[Path, ...]:
    paths: object = ctx.params.get("paths")
    return cast("tuple[Path, ...]", paths) if isinstance(paths, tuple) else ()


def _is_name(path: Path, key: str, second: str) -> bool:
    """Whether a path may be the name; ORG/NAME before a plain word is an id on the hub."""
    slashes = str(path).count("/")
    return slashes == 1 if key == "line" else slashes == 0 or (slashes == 1 and "/" in second)


def _read(command: click.Command, ctx: click.Context, args: Sequence[str]) -> _Line | None:
    """Separate arguments from options; returns None where an option is unknown."""
    try:
        opts, extra, _ = command.make_parser(ctx).parse_args(list(args))
    except click.UsageError:
        return None
    values: list[str] = []
    for param in command.params:
        text = opts.get(param.name or "") if isinstance(param, click.Argument) else None
        if isinstance(text, str):
            values.append(text)
        if isinstance(text, tuple):
            values += map(str, cast("tuple[object, ...]", text))
    rest = list(args)
    for value in (*values, *extra):
        rest.remove(value)
    option_names = {param.name for param in command.params if isinstance(param, click.Option)}
    return _Line(values, list(extra), rest, frozenset(option_names & opts.keys()))


def _with_options(ctx: click.Context, line: _Line, wanted: Sequence[click.Option]) -> str:
    """Write the line with an extra value behind its option, and a placeholder where there is none."""
    values, extra, added = list(line.values), list(line.extra), list[str]()
    if not wanted:
        return ""
    for option in wanted:
        name = max(option.opts, key=len) if option.opts[0] != "-m" else "-m"
        chosen = next((value for value in extra if _takes(option, value, ctx)), None)
        if chosen is None:
            added.append(f"{name} {option.make_metavar(ctx)}")
            continue
        extra.remove(chosen)
        if _is_swapped(option, chosen, values):
            values[0], chosen = chosen, values[0]
        added.append(shlex.join([name, chosen]))
    return "" if extra else " ".join([_format_command(ctx, values, line.rest), *added])


def _likely(command: click.Command, line: _Line) -> list[click.Option]:
    """Return the option that one extra value is probably for."""
    if len(line.extra) != 1:
        return []
    by_name = {
        param.opts[0]: param
        for param in command.params
        if isinstance(param, click.Option) and param.name not in line.given
    }
    order = _LIKELY[::-1] if line.extra[0] in _CHANNELS else _LIKELY
    return [by_name[name] for name in order if name in by_name][:1]


def _takes(option: click.Option, value: str, ctx: click.Context) -> bool:
    """Whether an option takes a value."""
    try:
        option.type.convert(value, option, ctx)
    except (click.BadParameter, DeltaregError):
        return False
    return True


def _is_swapped(option: click.Option, value: str, values: Sequence[str]) -> bool:
    """Whether the user named the channel before the value that belongs there."""
    return (
        isinstance(option.type, ChannelParam)
        and len(values) == 1
        and bool(_OF_REFERENCES & set(value))
        and not _OF_REFERENCES & set(values[0])
    )


def _with_synonym(command: click.Command, ctx: click.Context, args: Sequence[str], name: str) -> str:
    """Write the line with an option that other commands have, by the name that it has here."""
    own = {text for param in command.params if isinstance(param, click.Option) for text in param.opts}
    here = next((other for other in _SYNONYMS.get(name, ()) if other in own), None)
    split = _split(args, name)
    if here is None or split is None:
        return ""
    value, others = split
    line = _read(command, ctx, others)
    if line is None or line.extra:
        return ""
    return f"{_format_command(ctx, line.values, line.rest)} {shlex.join([here, value])}"


def _without_option(command: click.Command, ctx: click.Context, args: Sequence[str], name: str) -> str:
    """Write the line without an option that has an argument's name, its value as the argument."""
    arguments = [param for param in command.params if isinstance(param, click.Argument)]
    place = next((n for n, one in enumerate(arguments) if name[2:] in _names(one, ctx)), None)
    split = _split(args, name)
    if place is None or split is None:
        return ""
    value, others = split
    line = _read(command, ctx, others)
    if line is None or line.extra:
        return ""
    return _format_command(ctx, [*line.values[:place], value, *line.values[place:]], line.rest)


def _names(argument: click.Argument, ctx: click.Context) -> set[str]:
    """Return the words that an argument goes by."""
    return {argument.name or "", argument.make_metavar(ctx).strip("[]").lower()}


def _split(args: Sequence[str], name: str) -> tuple[str, list[str]] | None:
    """Remove an option and its value from the words."""
    for at, word in enumerate(args):
        if word.startswith(f"{name}="):
            return word.removeprefix(f"{name}="), [*args[:at], *args[at + 1 :]]
        if word == name and at + 1 < len(args) and not args[at + 1].startswith("-"):
            return args[at + 1], [*args[:at], *args[at + 2 :]]
    return None


def _format_command(ctx: click.Context, values: Sequence[str], rest: Sequence[str]) -> str:
    return shlex.join([*ctx.command_path.split(), *values, *rest])
