"""`deltareg apply`: make access, suites and policies what a folder says."""

from pathlib import Path
from typing import TYPE_CHECKING

import click

from deltareg.errors import DeltaregError
from deltareg_cli.exits import ExitStatus
from deltareg_cli.invocation import Invocation
from deltareg_cli.options.options import option, reason_option
from deltareg_cli.terminal.blocks import Cell, CommandResult, LinesBlock, Text, Tone
from deltareg_cli.terminal.wording import count
from deltareg_cli.tree.command_tree import command
from deltareg_cli.tree.global_options import dry_run
from deltareg_cli.tree.help_page import Example
from deltareg_cli.views.applied import plan_blocks, plan_document

if TYPE_CHECKING:
    from deltareg.client.applying.comparing import ApplyPlan
    from deltareg.client.applying.declared import Declarations

ORDER = 25


@command(
    "apply",
    Example("what would change?", "deltareg apply -f registry --dry-run"),
    Example("make it so", 'deltareg apply -f registry -m "two people from now on"'),
    Example("is it sound? no server is asked", "deltareg apply -f registry --offline"),
    Example("take away what is not in the folder, too", "deltareg apply -f registry --prune -m REASON"),
    see_also=("access export", "member add", "policy set", "suite push"),
    is_resumable=True,
)
@option("-f", "--folder", required=True, metavar="DIR", type=click.Path(path_type=Path), help="The folder.")
@reason_option()
@option("--prune", is_flag=True, help="Take away what is not in the folder, and reset policies.")
@option("--offline", is_flag=True, help="Read and check the files alone.")
@dry_run("Show what would change and change nothing; 10 where anything would.")
@click.pass_obj
def apply(invocation: Invocation, *, folder: Path, reason: str, prune: bool, offline: bool) -> ExitStatus:
    """Make access, suites and policies what a folder says.

    access.yaml has groups, roles, service accounts, quotas and who holds what everywhere;
    namespaces/NS.yaml has visibility, members, roles, quota and webhooks of one namespace.
    policies/server.yaml applies to every channel, policies/NS/namespace.yaml to those of a namespace,
    policies/NS/NAME/CHANNEL.yaml to one; suites/ contains suites with their samples. Every file is
    read, and the server tries every change, before anything changes. All of access changes at once or
    not at all. Only differences are applied, so the command can be repeated.

    A file speaks for the keys that it has, a folder in policies/ for its namespace, and
    policies/server.yaml for the whole server. What they leave out is listed and kept; --prune takes
    it away, and resets policies. What you hold yourself is never pruned. Suites stay, because
    verdicts name them.

    The exit status is 0 when it is done. With --dry-run it is 0 when there is nothing to do and 10
    when something would change, and a token that may read is enough. With --offline it is 2 when a
    file is refused.
    """
    from deltareg.client.applying.declared import read_folder  # YAML, which others need not load

    declared = read_folder(folder)
    if offline:
        return _check(invocation, declared)
    from deltareg.client.applying.comparing import compare

    is_dry = invocation.globals.dry_run
    plan = compare(invocation.client, declared, reason=reason, prune=prune, is_dry=is_dry)
    if not is_dry:
        _carry_out(invocation, plan, reason)
    document, blocks = plan_document(plan, is_dry=is_dry), plan_blocks(plan, is_dry=is_dry)
    invocation.output.show(CommandResult(document, blocks, [one.of for one in plan.changes]))
    if not plan.is_checked:
        invocation.output.note("names in policies were not looked up: that takes the right to set them")
    return ExitStatus.DIFFERENT if is_dry and plan.changes else ExitStatus.DONE


def _carry_out(invocation: Invocation, plan: "ApplyPlan", reason: str) -> None:
    from deltareg.client.applying.carrying_out import carry_out

    applied = list[str]()
    try:
        applied.extend(change.of for change in carry_out(invocation.client, plan, reason=reason))
    except DeltaregError:
        if applied:
            message = f"{len(applied)} of {count(len(plan.changes), 'change')} were made, the last one {applied[-1]}"
            invocation.output.note(f"{message}; apply it again to go on")
        raise


def _check(invocation: Invocation, declared: "Declarations") -> ExitStatus:
    """Check suites as `suite lint` does; the policies have been read already."""
    lines: list[Text] = []
    findings: list[dict[str, str]] = []
    for one in declared.suites:
        _, problems = invocation.client.suites.lint(one.path)
        for each in problems:
            findings.append(
                {
                    "path": str(one.path),
                    "severity": each.severity,
                    "where": each.where,
                    "message": each.message,
                    "fix": each.fix,
                }
            )
            where = f"{one.path}: {each.where}: " if each.where else f"{one.path}: "
            tone: Tone = "bad" if each.severity == "error" else "warn"
            lines.append(Cell(f"{each.severity}: {where}{each.message}", tone))
            lines += [Cell(f"  {each.fix}", "dim")] if each.fix else []
    errors = sum(one["severity"] == "error" for one in findings)
    suites, policies = len(declared.suites), len(declared.policies)
    contents = f"{count(suites, 'suite')}, {policies} {'policy' if policies == 1 else 'policies'}"
    if declared.access.document is not None:
        contents += f", access to {count(len(declared.access.document.namespaces), 'namespace')}"
    outcome = f"refused: {count(errors, 'error')}" if errors else "may be applied"
    lines.append(Cell(f"{contents}: {outcome}", "bad" if errors else "good"))
    document = {
        "path": str(declared.root),
        "suites": suites,
        "policies": policies,
        "accepted": not errors,
        "findings": findings,
    }
    invocation.output.show(CommandResult(document, [LinesBlock(lines)], [str(declared.root)]))
    return ExitStatus.INVALID if errors else ExitStatus.DONE
