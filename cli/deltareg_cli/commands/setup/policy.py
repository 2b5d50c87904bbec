"""`deltareg policy`: what the server, or a namespace, asks of every channel."""

import click

from deltareg_cli.invocation import Invocation
from deltareg_cli.options.options import option, required_reason_option
from deltareg_cli.options.policy_files import read_policy_bytes
from deltareg_cli.terminal.blocks import CommandResult
from deltareg_cli.terminal.documents import fields
from deltareg_cli.tree.command_tree import command, group
from deltareg_cli.tree.global_options import dry_run
from deltareg_cli.tree.help_page import Example
from deltareg_cli.views.policies import floor_change_blocks
from deltareg_cli.views.policy_warnings import warn_of_idle_suites

ORDER = 24


@group(
    "policy",
    Example("what the server asks of every channel", "deltareg policy get"),
    Example(
        "what every channel of team asks from now on", 'deltareg policy set floor.yaml --namespace team -m "two people"'
    ),
    see_also=("channel policy", "gate check", "member"),
)
def policy() -> None:
    """Set what the server, or a namespace, requires of every channel.

    Such a policy is a floor: it applies in addition to the channel's own, and for each key the
    stricter one decides. Admins set the server's, owners that of their namespace. A gate that
    refuses because of a floor names it.
    """


namespace_option = option("--namespace", metavar="NS", help="The namespace; without it the server.")


@command(
    "get",
    Example("as a file to edit", "deltareg policy get --namespace team > floor.yaml"),
    see_also=("policy set", "channel policy get"),
)
@namespace_option
@click.pass_obj
def get(invocation: Invocation, *, namespace: str | None) -> None:
    """Print what every channel requires, as YAML for policy set.

    An empty policy, {}, requires nothing.
    """
    from deltareg.documents.yaml_document import write_yaml  # what other lines need not load

    floor = invocation.client.floors.show(namespace)
    raw = write_yaml(floor.policy, is_ascii=True)
    document = fields(floor, "of", "policy", "digest", "reason", "actor", "at")
    invocation.output.show(CommandResult(document, [], [floor.digest], raw=raw))


@command(
    "set",
    Example("two people on every channel of team", 'deltareg policy set floor.yaml --namespace team -m "two people"'),
    Example("what would change?", 'deltareg policy set floor.yaml -m "audit" --dry-run'),
    Example("ask nothing any more", 'echo "{}" | deltareg policy set - -m "it was a trial"'),
    see_also=("policy get", "channel policy explain", "audit"),
)
@click.argument("file", metavar="FILE|-", help="The policy, as YAML or JSON; - reads stdin.")
@namespace_option
@required_reason_option()
@dry_run("Show what would change and change nothing.")
@click.pass_obj
def set_(invocation: Invocation, file: str, *, namespace: str | None, reason: str) -> None:
    """Replace what is required of every channel.

    The file has the keys of a channel's policy except smoke, variants and worker_labels, and
    requires only what it names: suites: [smoke] requires smoke even where a channel does not.
    rollback is the widest window that a channel may have; local: false excludes verdicts of verify
    --on local everywhere.

    An admin sets the server's floor, an owner that of a namespace. It takes effect at once for every
    channel; channels keep serving their versions. Open requests whose requirements changed become
    stale, and verdicts that were made for those channels no longer count.
    """
    from deltareg.gate.policy_file import read_floor_file  # YAML, as above

    of = "the server" if namespace is None else f"namespace {namespace}"
    floor = read_floor_file(read_policy_bytes(file), of=of)
    is_dry = invocation.globals.dry_run
    change = invocation.client.floors.set(floor, namespace=namespace, reason=reason, dry_run=is_dry)
    document = {
        **fields(change, "is_changed", "before", "after", "stale_requests"),
        "warnings": warn_of_idle_suites(invocation, floor.get("suites")),
    }
    blocks = floor_change_blocks(change, is_dry=is_dry)
    invocation.output.show(CommandResult(document, blocks, [change.digest]))


for _command in (get, set_):
    policy.add_command(_command)
