"""The two nodes of the command tree: a command and a group, each with a page that teaches."""

import importlib
from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path
from pkgutil import iter_modules

import click
from click.exceptions import NoSuchCommand, NoSuchOption

from deltareg.errors import InvalidInput, NotFound
from deltareg_cli.invocation import Invocation
from deltareg_cli.options.options import Option
from deltareg_cli.tree.front_page import SECTIONS, front_page, whole_page
from deltareg_cli.tree.global_options import with_global_options
from deltareg_cli.tree.help_page import CommandHelp, Example, write_page

Body = Callable[..., object]
_COMMANDS = "deltareg_cli.commands"
_FORMER = {"--wait-timeout": "--timeout"}


class Command(click.Command):
    """A command: its own options, the global ones, examples and further reading."""

    teaching: CommandHelp = CommandHelp()
    is_resumable: bool = False
    is_tolerant: bool = False

    def __init__(self, name: str | None, **attributes: object) -> None:
        """Take the arguments of click's command; add the global options whose names are free."""
        super().__init__(name, **attributes)  # type: ignore[arg-type]  # handed through
        self.params = with_global_options(self.params)

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Parse the line; an option with a `bare` value takes that where no value is joined to it."""
        bare = {
            name: param.bare
            for param in self.params
            if isinstance(param, Option) and param.bare is not None
            for name in param.opts
        }
        args[:] = [_as_now(self, arg) for arg in args]
        written = list(args)  # click takes the words out of its list
        try:
            return super().parse_args(ctx, [f"{arg}={bare[arg]}" if arg in bare else arg for arg in args])
        except click.UsageError as error:
            from deltareg_cli.tree.slips import suggest_line  # what a line without a slip need not load

            fix = suggest_line(self, ctx, written, error)
            if not fix:
                raise
            has_guess = isinstance(error, NoSuchOption)  # of another option, which was not meant
            message = error.message if has_guess else error.format_message()
            raise InvalidInput(message, fix=fix) from error

    def invoke(self, ctx: click.Context) -> object:
        """Set up the invocation and run the command."""
        invocation = ctx.ensure_object(Invocation)
        if invocation.globals.dry_run and not self._has_dry_run():
            raise click.UsageError(f"{ctx.command_path} has no --dry-run", ctx)
        invocation.begin(is_resumable=self.is_resumable, is_tolerant=self.is_tolerant)
        try:
            if any("sha256:" in str(value) for value in ctx.params.values()):
                from deltareg_cli.tree.whole_refs import name_versions  # few type a digest

                name_versions(ctx, invocation)
            result: object = super().invoke(ctx)
        except (InvalidInput, NotFound) as error:
            from deltareg_cli.tree import nearest, slips  # what a line without a slip need not load

            explained = slips.of_folder(ctx, slips.behind_its_option(ctx, slips.in_order(ctx, error)))
            if explained is error and type(error) is NotFound:
                explained = nearest.with_nearest(error, invocation)
            if explained is error:
                raise
            raise explained from error
        return result

    def get_help(self, ctx: click.Context) -> str:
        """Write the command's page."""
        return write_page(self, ctx, self.teaching)

    def _has_dry_run(self) -> bool:
        """Return whether the command honours `--dry-run`, which every line accepts."""
        own = (p for p in self.params if isinstance(p, Option) and not p.is_global)
        return any("--dry-run" in option.opts for option in own)


class Group(click.Group):
    """A group of commands; its page lists them."""

    command_class = Command
    teaching: CommandHelp = CommandHelp()

    def __init__(self, name: str | None, **attributes: object) -> None:
        """Take the arguments of click's group; add the global options."""
        super().__init__(name, **attributes)  # type: ignore[arg-type]  # handed through
        self.params = with_global_options(self.params)
        self.of_reference = ""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the names in the order in which they were added."""
        return list(self.commands)

    def get_help(self, ctx: click.Context) -> str:
        """Write the group's page."""
        return write_page(self, ctx, self.teaching)

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Find the command that the line names; where there is none, suggest which one is meant.

        A reference in its place means the command that is for references: `gate me/chat:v3` is
        `gate check me/chat:v3`.
        """
        if self.of_reference and args and "/" in args[0] and args[0] not in self.commands:
            args = [self.of_reference, *args]
        try:
            return super().resolve_command(ctx, args)
        except NoSuchCommand as error:
            from deltareg_cli.tree.nearest import nearest_commands

            near = nearest_commands(error.command_name, self.list_commands(ctx))
            hint = f" Did you mean {' or '.join(map(repr, near))}?" if near else ""
            message = f"No such command {error.command_name!r}.{hint}"
            raise NoSuchCommand(error.command_name, message, ctx=ctx) from None


class RootGroup(Group):
    """The root: each command lives in a file of its name, loaded on demand.

    A file that has no `PLACE` holds no command of its own.
    """

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Parse the line; `--help TOPIC` is `help TOPIC`."""
        if len(args) > 1 and args[0] in ctx.help_option_names and not args[1].startswith("-"):
            args = ["help", *args[1:]]
        return super().parse_args(ctx, args)

    def get_help(self, ctx: click.Context) -> str:
        """Write the first page."""
        return front_page(ctx)

    def write_whole_page(self, ctx: click.Context) -> str:
        """Write the page that lists every command."""
        return whole_page(self, ctx, sections())

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the names in the order of the page."""
        return [name for names in sections().values() for name in names]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Load a command."""
        return _load(cmd_name)[1] if cmd_name in _folders() else None


def _as_now(command: click.Command, word: str) -> str:
    """Return an option by the name that it has now, where the line has a former one."""
    name, equals, value = word.partition("=")
    now = _FORMER.get(name)
    is_there = any(isinstance(p, Option) and now in p.opts and not p.is_global for p in command.params)
    return f"{now}{equals}{value}" if now is not None and is_there else word


def sections() -> dict[str, list[str]]:
    """Return the sections of `help all` with their commands in order; loads every command."""
    by_section: dict[str, list[tuple[int, str]]] = {title: [] for title in SECTIONS.values()}
    for name, folder in _folders().items():
        order, _ = _load(name)
        if order is not None:
            by_section[SECTIONS[folder]].append((order, name))
    return {title: [name for _, name in sorted(rows)] for title, rows in by_section.items()}


@cache
def _folders() -> dict[str, str]:
    """Map each file of a command to its folder, which is the section that it stands in."""
    root = Path(next(iter(importlib.import_module(_COMMANDS).__path__)))
    return {module.name: folder for folder in SECTIONS for module in iter_modules([str(root / folder)])}


def _load(name: str) -> tuple[int | None, click.Command | None]:
    """Load the file of a command; returns None where the file holds parts of another one."""
    module = importlib.import_module(f"{_COMMANDS}.{_folders()[name]}.{name}")
    order: object = getattr(module, "ORDER", None)
    if order is None:
        return None, None
    commands = [value for value in vars(module).values() if isinstance(value, Command | Group) and value.name == name]
    if not isinstance(order, int) or len(commands) != 1:
        raise TypeError(f"{module.__name__} has no command {name!r} with an order on the page")
    return order, commands[0]


def command(
    name: str, *examples: Example, see_also: Sequence[str] = (), is_resumable: bool = False, is_tolerant: bool = False
) -> Callable[[Body], Command]:
    """Turn a function that returns nothing, or the exit status, into a command.

    Args:
        name: The name as typed.
        examples: Examples for its page, easiest first.
        see_also: Names of commands and topics to read next.
        is_resumable: Whether the same line goes on after an interruption.
        is_tolerant: Whether it runs although the settings cannot be read.
    """

    def decorate(body: Body) -> Command:
        made = click.command(name, cls=Command)(body)
        made.teaching = CommandHelp(examples, tuple(see_also))
        made.is_resumable, made.is_tolerant = is_resumable, is_tolerant
        return made

    return decorate


def group(
    name: str, *examples: Example, see_also: Sequence[str] = (), of_reference: str = ""
) -> Callable[[Body], Group]:
    """Turn a function whose docstring is its page into a group; the function does nothing.

    Args:
        name: The name as typed.
        examples: Examples for its page, easiest first.
        see_also: Names of commands and topics to read next.
        of_reference: The command that is meant where a reference stands in a command's place.
    """

    def decorate(body: Body) -> Group:
        made = click.group(name, cls=Group)(body)
        made.of_reference = of_reference
        made.teaching = CommandHelp(examples, tuple(see_also))
        return made

    return decorate
