"""`deltareg agent`: keep this host on what channels say."""

import signal
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import click

from deltareg.errors import InvalidInput
from deltareg.host.interrupts import ask_on_signals
from deltareg.words import ENGINE_NAMES
from deltareg_cli.invocation import Invocation
from deltareg_cli.options.options import DurationParam, option
from deltareg_cli.terminal.blocks import CommandResult
from deltareg_cli.tree.command_tree import command, group
from deltareg_cli.tree.help_page import Example

if TYPE_CHECKING:
    from deltareg.client.follow import FollowEvent
    from deltareg.client.follow.exec_server import ExecCommands
    from deltareg.client.follow.llamacpp_engine import LlamaOptions
    from deltareg.wire import EngineName

ORDER = 20

SERVERS, LLAMA, EXEC = "Engines vllm, sglang and llamacpp", "Engine llamacpp", "Engine exec"
MOST_BETWEEN_S = 3_600.0


@group(
    "agent",
    Example("a folder", "deltareg agent run --channel me/chat@prod --dir /srv/chat"),
    see_also=("fleet", "channel show", "rollback"),
)
def agent() -> None:
    """Run agents, which keep serving hosts on what channels say."""


@command(
    "run",
    Example("a folder", "deltareg agent run --channel me/chat@prod --dir /srv/chat"),
    Example(
        "the adapters of a vLLM server",
        "deltareg agent run --channel me/chat@prod --engine vllm \\\n"
        "      --url http://127.0.0.1:8000 --dir /srv/adapters",
    ),
    Example(
        "of any other engine",
        "deltareg agent run --channel me/chat@prod --engine exec --dir /srv/adapters \\\n"
        "      --list './adapters ls' --load './adapters add' --unload './adapters rm'",
    ),
    Example("once, as a step of a deployment or from cron", "deltareg agent run --once …"),
    see_also=("fleet", "channel show", "token create"),
)
@option(
    "--channel",
    "channels",
    metavar="NS/NAME@CHANNEL",
    multiple=True,
    required=True,
    help="A channel to follow; may be repeated.",
)
@option(
    "--engine",
    type=click.Choice(ENGINE_NAMES),
    default="dir",
    show_default=True,
    help="What serves: dir is a folder with a link, vllm, sglang and llamacpp are their servers,"
    " exec is whatever three commands speak to.",
)
@option(
    "--dir",
    "folders",
    metavar="DIR",
    multiple=True,
    required=True,
    type=click.Path(path_type=Path),
    help="Where versions go; with dir one for each channel, in their order.",
)
@option("--name", metavar="NAME", help="How it calls itself; each agent needs another name.")
@option(
    "--interval",
    type=DurationParam(),
    default="2s",
    show_default=True,
    help="How often the engine is looked at; the channel is heard at once.",
)
@option(
    "--keep",
    type=click.IntRange(0, 1000),
    default=2,
    show_default=True,
    help="Versions that stay beside the one that is served.",
)
@option(
    "--alias-file",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="Where it says what is served as which name; DIR/serving.json else.",
)
@option(
    "--base",
    metavar="DIR",
    type=click.Path(path_type=Path, exists=True, file_okay=False),
    help="The base that the engine serves, where it does not say so itself.",
)
@option("--once", is_flag=True, help="Bring everything to what the channels say now, then stop.")
@option(
    "--every",
    type=DurationParam(),
    default="1h",
    show_default=True,
    help="With --once: how often it is run, an hour at most; after three times it is silent.",
)
@option(
    "--drain",
    type=DurationParam(),
    default="30s",
    show_default=True,
    help="How long an old version stays loaded with vllm, sglang and exec.",
)
@option("--url", metavar="URL", section=SERVERS, help="Where the server listens.")
@option(
    "--restart", metavar="COMMAND", section=LLAMA, help="Starts llama-server again, with the options in DIR/lora.args."
)
@option("--list", "list_", metavar="COMMAND", section=EXEC, help="Writes, in JSON, what is loaded.")
@option("--load", metavar="COMMAND", section=EXEC, help="Loads the adapter whose name and path it reads, in JSON.")
@option("--unload", metavar="COMMAND", section=EXEC, help="Unloads the adapter whose name it reads, in JSON.")
@click.pass_obj
def run(
    invocation: Invocation,
    *,
    channels: tuple[str, ...],
    engine: "EngineName",
    folders: tuple[Path, ...],
    name: str | None,
    interval: float,
    keep: int,
    alias_file: Path | None,
    base: Path | None,
    once: bool,
    every: float,
    url: str | None,
    drain: float,
    restart: str | None,
    list_: str | None,
    load: str | None,
    unload: str | None,
) -> None:
    """Keep this host on what channels say.

    A promotion or a rollback is heard at once and served when its bytes are here; those of versions
    that were served lately are kept, so that a rollback moves none. With dir, DIR/current is a link
    to the folder of the version that is served. With the others, every version is loaded under a
    name of its own, and the one before stays until it has drained. llama.cpp loads adapters when it
    starts: versions that it has are switched by their scales, and a new one takes a --restart.

    A version is served only on the base that it is for. Servers say which folder they
    were started with; where that is not on this machine, and with dir, --base names it. Without,
    the base is unchecked, which is shown. On another base nothing is served; --once ends with 7.

    The registry may be away: what is served stays served. A version that is revoked, or that cannot
    be pulled or loaded, is not served, and the one before stays. What is served is reported, which
    needs a token that may read and serve; see channel show and fleet.

    From cron: --once, and --every with how often that is. The registry then waits so long for the
    next report, and fleet drift does not call the agent silent between two runs.
    """
    from deltareg.client.follow import FollowedChannel, FollowOptions
    from deltareg.client.follow.opening import open_engine
    from deltareg.client.resources.fleet import default_agent_name  # the engines bring what --help need not
    from deltareg_cli.views.fleet import observed_table

    followed = [FollowedChannel.parse(channel) for channel in channels]
    opened = open_engine(
        engine,
        followed,
        folders,
        url=url,
        commands=_commands(list_, load, unload),
        llama=_llama(invocation, engine, base, restart),
        drain_s=drain,
    )
    options = FollowOptions(
        agent=name or default_agent_name(folders[0]), interval_s=interval, keep=keep, alias_file=alias_file, base=base
    )
    if once:
        options = replace(options, report_s=_between_runs(every))
        observed = invocation.client.fleet.agent(opened, followed, options).once()
        document = {"agent": options.agent, "items": [each.model_dump() for each in observed]}
        ids = [f"{each.channel} v{each.version}" for each in observed]
        invocation.output.show(CommandResult(document, [observed_table(observed)], ids))
        return
    versions = invocation.client.fleet.agent(opened, followed, options, on_event=lambda event: _tell(invocation, event))
    # Being stopped is how an agent ends, and no failure.
    ask_on_signals(versions.stop, signal.SIGINT, signal.SIGTERM)
    invocation.output.note(f"{options.agent} follows {', '.join(channels)}. Ctrl-C stops it")
    versions.run()


def _llama(invocation: Invocation, engine: str, base: Path | None, restart: str | None) -> "LlamaOptions | None":
    """Read the options of llama.cpp: how to convert a version for it, by the base's own tensor names."""
    from deltareg.client.follow.llamacpp_engine import LlamaOptions, token_of_llama

    if engine != "llamacpp":
        if restart is not None:
            raise InvalidInput(f"the engine {engine} is not started again", fix="leave it out")
        return None
    if base is None:
        return None

    def convert(folder: Path, to: Path) -> object:
        return invocation.client.folders.convert(folder, to, base=str(base), layout="gguf")

    return LlamaOptions(convert, restart or "", token_of_llama())


def _commands(list_: str | None, load: str | None, unload: str | None) -> "ExecCommands | None":
    """Return all three commands, or None where none is given."""
    from deltareg.client.follow.exec_server import ExecCommands

    if list_ is None or load is None or unload is None:
        if (list_, load, unload) == (None, None, None):
            return None
        raise InvalidInput("the engine exec needs its commands", fix="name all of --list, --load and --unload")
    return ExecCommands(list_, load, unload)


def _between_runs(every_s: float) -> float:
    """Check the interval at which somebody starts an agent that ends by itself.

    Raises:
        InvalidInput: It is not positive, or longer than the registry waits for a report.
    """
    if not 0 < every_s <= MOST_BETWEEN_S:
        raise InvalidInput("an agent reports once an hour at least", fix="--every 1h, and have it run so often")
    return every_s


def _tell(invocation: Invocation, event: "FollowEvent") -> None:
    from deltareg_cli.views.fleet import event_blocks

    if event.observed.state == "pulling" and not invocation.output.is_for_scripts:
        return
    document = {
        "event": event.observed.state,
        **event.observed.model_dump(),
        "previous": event.previous,
        "served": event.served,
        "fetched_bytes": event.fetched_bytes,
        "seconds": round(event.seconds, 3),
    }
    line = f"{event.observed.channel} v{event.observed.version} {event.observed.state}"
    invocation.output.show(CommandResult(document, event_blocks(event), [line]))


agent.add_command(run)
