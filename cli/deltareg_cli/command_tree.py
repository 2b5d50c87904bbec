"""The two nodes of the command tree: a command and a group, each with a page that teaches."""

import importlib
from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType

import click
from click.exceptions import NoSuchCommand

from deltareg.errors import NotFound
from deltareg_cli.front_page import front_page
from deltareg_cli.global_options import with_global_options
from deltareg_cli.help_page import Example, Teaching, write_page
from deltareg_cli.invocation import Invocation
from deltareg_cli.options import Option

Body = Callable[..., object]


class Command(click.Command):
    """A command: its own options, the global ones, examples and where to read on."""

    teaching: Teaching = Teaching()
    is_resumable: bool = False
    is_tolerant: bool = False

    def __init__(self, name: str | None, **attributes: object) -> None:
        """Take what click's command takes; add the global options that its own leave free."""
        super().__init__(name, **attributes)  # type: ignore[arg-type]  # handed through
        self.params = with_global_options(self.params)

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Read the line; an option with a `bare` value takes it where none is joined to it."""
        bare = {
            name: param.bare
            for param in self.params
            if isinstance(param, Option) and param.bare is not None
            for name in param.opts
        }
        return super().parse_args(
            ctx, [f"{arg}={bare[arg]}" if arg in bare else arg for arg in args]
        )

    def invoke(self, ctx: click.Context) -> object:
        """Set up the invocation and run the command."""
        invocation = ctx.ensure_object(Invocation)
        if invocation.globals.dry_run and not self._has_dry_run():
            raise click.UsageError(f"{ctx.command_path} has no --dry-run", ctx)
        invocation.begin(is_resumable=self.is_resumable, is_tolerant=self.is_tolerant)
        try:
            result: object = super().invoke(ctx)
        except NotFound as error:
            if type(error) is not NotFound:
                raise
            from deltareg_cli.nearest import (
                with_nearest,
            )  # what a line without a slip need not load

            raise with_nearest(error, invocation) from error
        return result

    def get_help(self, ctx: click.Context) -> str:
        """Write the command's page."""
        return write_page(self, ctx, self.teaching)

    def _has_dry_run(self) -> bool:
        """Tell whether the command heeds the option, which every line may hold."""
        own = (p for p in self.params if isinstance(p, Option) and not p.is_global)
        return any("--dry-run" in option.opts for option in own)


class Group(click.Group):
    """A group of commands; its page lists them."""

    command_class = Command
    teaching: Teaching = Teaching()

    def __init__(self, name: str | None, **attributes: object) -> None:
        """Take what click's group takes; add the global options."""
        super().__init__(name, **attributes)  # type: ignore[arg-type]  # handed through
        self.params = with_global_options(self.params)

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Give the names in the order that they were added in."""
        return list(self.commands)

    def get_help(self, ctx: click.Context) -> str:
        """Write the group's page."""
        return write_page(self, ctx, self.teaching)

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Find the command that the line names; where there is none, say which may be meant."""
        try:
            return super().resolve_command(ctx, args)
        except NoSuchCommand as error:
            from deltareg_cli.nearest import nearest_commands

            near = nearest_commands(error.command_name, self.list_commands(ctx))
            meant = f" Did you mean {' or '.join(map(repr, near))}?" if near else ""
            told = f"No such command {error.command_name!r}.{meant}"
            raise NoSuchCommand(error.command_name, told, ctx=ctx) from None


class Root(Group):
    """The root: its commands are loaded from their files when they are asked for."""

    sections: Mapping[str, Mapping[str, str]] = MappingProxyType({})

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Read the line; `--help TOPIC` is `help TOPIC`."""
        if len(args) > 1 and args[0] in ctx.help_option_names and not args[1].startswith("-"):
            args = ["help", *args[1:]]
        return super().parse_args(ctx, args)

    def get_help(self, ctx: click.Context) -> str:
        """Write the first page."""
        return front_page(self, ctx, self.sections)

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Give the names in the order of the page."""
        return [name for names in self.sections.values() for name in names]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Load a command."""
        place = {k: v for names in self.sections.values() for k, v in names.items()}.get(cmd_name)
        if place is None:
            return None
        module, _, attribute = place.partition(":")
        found: object = getattr(
            importlib.import_module(f"deltareg_cli.commands.{module}"), attribute
        )
        if not isinstance(found, click.Command):
            raise TypeError(f"{place} is not a command")  # a mistake in the table of main.py
        return found


def command(
    name: str,
    *examples: Example,
    see_also: Sequence[str] = (),
    is_resumable: bool = False,
    is_tolerant: bool = False,
) -> Callable[[Body], Command]:
    """Make a command of a function that returns nothing, or the exit status.

    Args:
        name: As typed.
        examples: For its page, easiest first.
        see_also: Names of commands and topics to read next.
        is_resumable: Whether the same line goes on after an interruption.
        is_tolerant: Whether it runs although the settings cannot be read.
    """

    def decorate(body: Body) -> Command:
        made = click.command(name, cls=Command)(body)
        made.teaching = Teaching(examples, tuple(see_also))
        made.is_resumable, made.is_tolerant = is_resumable, is_tolerant
        return made

    return decorate


def group(name: str, *examples: Example, see_also: Sequence[str] = ()) -> Callable[[Body], Group]:
    """Make a group of a function whose docstring is its page; the function does nothing."""

    def decorate(body: Body) -> Group:
        made = click.group(name, cls=Group)(body)
        made.teaching = Teaching(examples, tuple(see_also))
        return made

    return decorate
