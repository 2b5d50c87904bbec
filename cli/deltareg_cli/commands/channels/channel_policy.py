"""`deltareg channel policy`: what a channel asks of a version."""

import click

from deltareg_cli.invocation import Invocation
from deltareg_cli.options.options import ChannelParam, option, reason_option
from deltareg_cli.options.policy_files import read_policy_bytes
from deltareg_cli.terminal.blocks import CommandResult
from deltareg_cli.terminal.documents import fields
from deltareg_cli.tree.command_tree import command, group
from deltareg_cli.tree.global_options import dry_run
from deltareg_cli.tree.help_page import Example
from deltareg_cli.views.policies import change_blocks, ruling_blocks
from deltareg_cli.views.policy_warnings import warn_of_policy


@group(
    "policy",
    Example("what prod asks for", "deltareg channel policy get me/chat prod"),
    Example("ask for more", 'deltareg channel policy set me/chat prod policy.yaml -m "two people now"'),
    Example("rule by rule, for v3", "deltareg channel policy explain me/chat:v3 --channel prod"),
    see_also=("gate check", "promote", "channel show"),
)
def policy() -> None:
    """Say what a channel asks of a version, and what one lacks.

    A policy names the suites that must have passed and how old their verdicts may be, sandbox and
    base evidence, allowed kinds and bases, approvals, freeze windows and the window of rollbacks.
    """


line_argument = click.argument("line", metavar="NS/NAME", help="The line.")
channel_argument = click.argument("name", metavar="CHANNEL", type=ChannelParam(), help="The channel.")


@command(
    "get",
    Example("as a file to edit", "deltareg channel policy get me/chat prod > policy.yaml"),
    see_also=("channel policy set",),
)
@line_argument
@channel_argument
@click.pass_obj
def get(invocation: Invocation, line: str, name: str) -> None:
    """Print the policy of a channel, as YAML that `policy set` takes.

    What has its default value is left out, and so is what the server and the namespace ask of every
    channel: see deltareg policy get, and channel show for all of it.
    """
    from deltareg.documents.yaml_document import write_yaml  # what other lines need not load

    current = invocation.client.channels.policy(line, name)
    raw = write_yaml(current.policy, is_ascii=True)
    invocation.output.show(CommandResult(fields(current, "policy", "digest", "floors"), [], [current.digest], raw=raw))


@command(
    "set",
    Example("from a file", 'deltareg channel policy set me/chat prod policy.yaml -m "audit"'),
    Example("what would change?", "deltareg channel policy set me/chat prod new.yaml --dry-run"),
    see_also=("channel policy get", "channel policy explain", "audit"),
)
@line_argument
@channel_argument
@click.argument("file", metavar="FILE|-", help="The policy, as YAML or JSON; - reads stdin.")
@reason_option()
@dry_run("Show what would change and change nothing.")
@click.pass_obj
def set_(invocation: Invocation, line: str, name: str, file: str, *, reason: str) -> None:
    """Replace the policy of a channel, whole.

    What the file leaves out is the default. Its suites are asked for beside smoke, unless it says
    smoke: false; its freeze windows say of which zone they are.

    It takes a token with admin, because whoever promotes does not decide what that takes. Verdicts
    that were asked for the channel, and approvals, do not count under another policy. The
    channel keeps serving its version. A policy that somebody else replaced meanwhile is refused with 5.
    """
    from deltareg.gate.policy_file import read_policy_file  # YAML, which reading needs not

    is_dry, raw = invocation.globals.dry_run, read_policy_bytes(file)
    new_policy = read_policy_file(raw)
    change = invocation.client.channels.set_policy(line, name, new_policy, reason=reason, dry_run=is_dry)
    blocks = change_blocks(change, f"{line}@{name}", is_dry=is_dry)
    document = {**fields(change, "is_changed", "before", "after"), "warnings": warn_of_policy(invocation, new_policy)}
    invocation.output.show(CommandResult(document, blocks, [change.digest]))


@command(
    "explain",
    Example("may v3 go to prod, and why?", "deltareg channel policy explain me/chat:v3 --channel prod"),
    see_also=("gate check", "verdict waive"),
)
@click.argument("ref", help="The version; a bare NS/NAME is its newest.")
@option("--channel", required=True, type=ChannelParam(), help="The channel that it would go to.")
@click.pass_obj
def explain(invocation: Invocation, ref: str, *, channel: str) -> None:
    """Show every rule of a channel for a version, met or unmet.

    It is the answer of gate check with the rules that are met. Nothing is changed, and the exit
    status is 0 either way.
    """
    answer = invocation.client.gate(ref, channel)
    document = fields(answer, "allowed", "rules")
    invocation.output.show(CommandResult(document, ruling_blocks(answer), [answer.ref]))


for _command in (get, set_, explain):
    policy.add_command(_command)
