"""The options that every command has, before or after its name."""

from collections.abc import Callable, Sequence

import click
from click.core import ParameterSource

from deltareg.client.config import COMPRESSIONS, OUTPUT_FORMATS
from deltareg_cli.invocation import Invocation
from deltareg_cli.options.options import Option, option

Callback = Callable[[click.Context, click.Parameter, object], object]
Decorator = Callable[[Callable[..., object]], Callable[..., object]]


def global_options() -> list[Option]:
    """Create the global options anew, for one command."""
    return [
        _option(["-o", "--output"], "The form of the result.", choices=OUTPUT_FORMATS),
        _flag(["--json", "as_json"], "The same as -o json.", _set("output", "json")),
        _flag(["-q", "--quiet"], "Print ids or paths only."),
        _flag(["--no-color"], "No colours; NO_COLOR says the same."),
        _flag(["--no-progress"], "No progress on stderr."),
        _flag(["--no-input"], "Never ask; fail where an answer is needed."),
        _flag(["-y", "--yes"], "Answer yes to every question."),
        _flag(["--dry-run"], "Show what would be done, where a command can."),
        _option(["--server"], "The registry's address.", metavar="URL"),
        _option(["--profile"], "The profile of config.toml to use.", metavar="NAME"),
        _option(["--timeout"], "How long one request may take.", metavar="DURATION"),
        _option(["--retries"], "Tries after a failure that may pass; 0: none.", metavar="N"),
        _option(["--request-id"], "Sent along, to find a request in the log.", metavar="ID"),
        _option(["-v", "--verbose"], "Show digests, keys and timings too; -vv logs, -vvv logs more.", count=True),
        _flag(["--debug"], "Log all, and show where an error comes from."),
        _option(["--log-format"], "The form of the log.", choices=["text", "json"]),
    ]


def with_global_options(params: Sequence[click.Parameter]) -> list[click.Parameter]:
    """Add to a command's own parameters the global options whose names are free."""
    used_names = {name for param in params for name in param.opts}
    return [*params, *(option for option in global_options() if not used_names & set(option.opts))]


def dry_run(text: str) -> Decorator:
    """Give a command a `--dry-run` of its own; its value stands in the invocation's globals."""
    return option("--dry-run", is_flag=True, expose_value=False, callback=_record, help=text)


def concurrency_option() -> Decorator:
    """Give a command `--concurrency`, a setting like the global ones."""
    text = "Requests that carry bytes at once, at most."
    return option("--concurrency", metavar="N", expose_value=False, callback=_record, help=text)


def gpu_option(section: str = "Options") -> Decorator:
    """Give a command `--gpu`, for commands that run networks here."""
    return option(
        "--gpu",
        metavar="N|cpu|auto",
        default="auto",
        show_default=True,
        section=section,
        help="The device; auto is the first GPU, if there is one.",
    )


def compression_option() -> Decorator:
    """Give a command `--compression`, a setting like the global ones."""
    return option(
        "--compression",
        type=click.Choice(COMPRESSIONS),
        expose_value=False,
        callback=_record,
        help="Fast is quicker to read and to write; max is smallest, and slower for fp32.",
    )


def _option(
    names: Sequence[str], text: str, *, metavar: str | None = None, choices: Sequence[str] = (), count: bool = False
) -> Option:
    return Option(
        names,
        help=text,
        metavar=metavar,
        type=click.Choice(choices) if choices else None,
        count=count,
        expose_value=False,
        is_global=True,
        callback=_record,
    )


def _flag(names: Sequence[str], text: str, callback: Callback | None = None) -> Option:
    return Option(names, help=text, is_flag=True, expose_value=False, is_global=True, callback=callback or _record)


def _set(name: str, value: object) -> Callback:
    def callback(ctx: click.Context, param: click.Parameter, _: object) -> object:
        return _store(ctx, param, name, value)

    return callback


def _record(ctx: click.Context, param: click.Parameter, value: object) -> object:
    return _store(ctx, param, str(param.name), value)


def _store(ctx: click.Context, param: click.Parameter, name: str, value: object) -> object:
    """Store a value from the line; a default never replaces an earlier mention."""
    invocation = ctx.find_object(Invocation)
    source = ctx.get_parameter_source(str(param.name))
    if invocation is not None and source is ParameterSource.COMMANDLINE:
        setattr(invocation.globals, name, value)
    return value
