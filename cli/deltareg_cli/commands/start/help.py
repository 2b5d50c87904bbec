"""`deltareg help`: pages about more than one command."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

import click
from click.shell_completion import CompletionItem

from deltareg.client.config import SETTINGS, ConfigSetting
from deltareg.errors import NotFound
from deltareg_cli.exits import MEANINGS
from deltareg_cli.invocation import Invocation
from deltareg_cli.options.options import Option
from deltareg_cli.terminal.blocks import Block, Cell, Column, CommandResult, LinesBlock, TableBlock, Text, TitleBlock
from deltareg_cli.terminal.documents import items_fields
from deltareg_cli.tree.command_tree import RootGroup, command
from deltareg_cli.tree.global_options import global_options
from deltareg_cli.tree.help_page import Example

ORDER = 40

ALL = "all"

DEFAULTS = {"cache_dir": "~/.cache/deltareg", "progress": ""}  # said better than stored
OTHER_VARIABLES = (
    ("DELTAREG_TOKEN", "The token; comes before any that is kept."),
    ("DELTAREG_TOKEN_FILE", "A file that holds the token."),
    ("DELTAREG_ID_TOKEN", "In CI: what it says of this job, exchanged where there is no token; also …_2 to …_9."),
    ("DELTAREG_TRUST", "In CI: the number of the trust that is meant, where several accept the job."),
    ("DELTAREG_CONFIG", "The settings file, in place of config.toml."),
    ("XDG_CONFIG_HOME", "Where config.toml and tokens are; ~/.config by default."),
    ("XDG_CACHE_HOME", "Where the cache is; ~/.cache by default."),
    ("HF_HOME, HF_HUB_CACHE", "Where bases are looked for."),
    ("NO_COLOR", "No colours."),
    ("CI", "Never ask."),
    ("HTTPS_PROXY, NO_PROXY", "The proxy, as usual."),
    ("SSL_CERT_FILE", "The certificates to trust, as usual."),
)
REFERENCES = (
    (
        "ns/name",
        "The newest version where one looks (show, diff, verify); what prod serves where"
        " one takes (pull, materialize). --frozen refuses it, and promote asks.",
    ),
    ("ns/name:v12", "Version 12. Numbers are given by the server and never used again."),
    ("ns/name:1.4.0", "The version with this label."),
    ("ns/name@prod", "What the channel serves now."),
    ("ns/name@prod#17", "What it served as of revision 17 of its ledger."),
    ("ns/name@prod~1", "What it served one revision before this one."),
    ("ns/name@sha256:ab12…", "The version with this manifest; six digits do where only one begins so."),
    ("sha256:ab12…", "The same where it stands alone: of all lines, as outputs print it."),
    ("deltareg://host/ns/name@prod", "The same on another server."),
    ("llama-3.1-8b, ./llama", "A base by its name or as a folder, wherever --base stands."),
    ("base:llama-3.1-8b", "A base where versions are named, too: lineage."),
)
OUTPUT = (
    ("table", "For people: facts and tables; colours on a terminal, plain columns in a pipe."),
    ("json", "One document with schema_version. Fields may be added, none change their meaning."),
    ("jsonl", "The entries of a list, a line each."),
    ("yaml", "The same document as YAML."),
    ("--quiet", "Ids or paths only, a line each."),
    ("stdout", "The result and nothing else."),
    ("-v", "For people: digests, keys, proofs and timings below the result."),
    (
        "stderr",
        "Progress, notes, questions, errors. Under json an error is one RFC 9457 problem"
        " document there, with its exit status.",
    ),
)


class TopicParam(click.ParamType[str]):
    """A topic or a command; the shell completes both."""

    name = "topic"

    def shell_complete(self, ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
        """Offer topics and commands."""
        root = ctx.find_root().command
        names = root.list_commands(ctx) if isinstance(root, click.Group) else []
        return [CompletionItem(name) for name in (ALL, *TOPICS, *names) if name.startswith(incomplete)]


@command(
    "help",
    Example("every command", "deltareg help all"),
    Example("the exit status and what it says", "deltareg help exit-codes"),
    Example("how versions are named", "deltareg help references"),
    Example("the page of a command", "deltareg help channel show"),
    see_also=("explain",),
    is_tolerant=True,
)
@click.argument("topic", type=TopicParam(), nargs=-1, help="A topic, or a command.")
@click.pass_context
def topics(ctx: click.Context, topic: Sequence[str]) -> None:
    """Show a topic, or the page of a command.

    Topics: all (every command), exit-codes, options, environment, references, output.
    """
    invocation = ctx.find_object(Invocation) or Invocation()
    name = "-".join(topic)
    if not topic:
        click.echo(ctx.find_root().get_help(), color=ctx.color)
    elif name == ALL:
        root = ctx.find_root()
        click.echo(root.command.write_whole_page(root) if isinstance(root.command, RootGroup) else "", color=ctx.color)
    elif name in TOPICS:
        invocation.output.show(TOPICS[name]())
    else:
        click.echo(_page_of(ctx.find_root(), topic), color=ctx.color)


def exit_codes(*, only: str | None = None) -> CommandResult:
    """Show what each exit status means, or one of them.

    Raises:
        NotFound: There is no such status.
    """
    meanings = [row for row in MEANINGS if only is None or str(int(row.status)) == only]
    if not meanings:
        raise NotFound(f"no command ends with status {only}", fix="deltareg help exit-codes")
    columns = [Column("status", is_number=True), Column("meaning", is_prose=True), Column("retry?")]
    rows: list[list[Text]] = [[Cell(str(int(row.status)), "name"), row.text, row.retry] for row in meanings]
    items: list[dict[str, object]] = [
        {"status": int(row.status), "meaning": row.text, "retry": row.retry} for row in meanings
    ]
    more = LinesBlock(["", Cell("deltareg explain lists the codes behind each of them", "dim")])
    return CommandResult(items_fields(items), [TitleBlock("Exit status"), TableBlock(columns, rows), more])


def options() -> CommandResult:
    """Show the options that every command has."""
    rows = [(_as_typed(option), option.help or "") for option in global_options()]
    return _pairs("Options of every command, before or after its name", "option", rows)


def _as_typed(option: Option) -> str:
    choices = option.type.choices if isinstance(option.type, click.Choice) else ()
    value = option.metavar or "|".join(str(choice) for choice in choices)
    return f"{', '.join(option.opts)} {value}".strip()


def environment() -> CommandResult:
    """Show the variables that the command line reads."""
    variables = [(s.variable, _with_default(s)) for s in SETTINGS] + list(OTHER_VARIABLES)
    answer = _pairs("Environment", "variable", variables)
    order = "Options come before variables, and variables before deltareg.toml and config.toml."
    return replace(answer, blocks=[*answer.blocks, LinesBlock(["", Cell(order, "dim")])])


def _with_default(setting: ConfigSetting) -> str:
    default = DEFAULTS.get(setting.key, setting.default)
    return f"{setting.summary} Default: {default}." if default else setting.summary


def references() -> CommandResult:
    """Show how versions and bases are named."""
    return _pairs("References", "reference", REFERENCES)


def output() -> CommandResult:
    """Show what goes to stdout and stderr, and in which form."""
    return _pairs("Output", "form", OUTPUT)


TOPICS: Mapping[str, Callable[[], CommandResult]] = {
    "exit-codes": exit_codes,
    "options": options,
    "environment": environment,
    "references": references,
    "output": output,
}


def _pairs(title: str, what: str, found: Sequence[tuple[str, str]]) -> CommandResult:
    columns = [Column(what), Column("what it means", is_prose=True)]
    rows: list[list[Text]] = [[Cell(name, "name"), text] for name, text in found]
    items: list[dict[str, object]] = [{what: name, "meaning": text} for name, text in found]
    blocks: list[Block] = [TitleBlock(title), TableBlock(columns, rows)]
    return CommandResult(items_fields(items), blocks, [name for name, _ in found])


def _page_of(root: click.Context, words: Sequence[str]) -> str:
    """Find a command in the tree and write its page."""
    ctx, node = root, root.command
    for word in words:
        child = node.get_command(ctx, word) if isinstance(node, click.Group) else None
        if child is None:
            raise NotFound(
                f"there is no command or topic {' '.join(words)[:80]!r}",
                fix=f"topics: {', '.join(TOPICS)}; commands: deltareg help all",
            )
        ctx, node = click.Context(child, info_name=word, parent=ctx), child
    return node.get_help(ctx)
