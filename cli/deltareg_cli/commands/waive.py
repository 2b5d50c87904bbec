"""`deltareg verdict waive` and `unwaive`: answer for a failed check, for a while."""

import click

from deltareg_cli.blocks import Answer
from deltareg_cli.command_tree import command
from deltareg_cli.documents import fields
from deltareg_cli.help_page import Example
from deltareg_cli.invocation import Invocation
from deltareg_cli.options import option, required_reason_option
from deltareg_cli.views.verdicts import RESULT_FIELDS, verdict_blocks

verdict_argument = click.argument(
    "verdict_id", metavar="ID", help="The verdict, as `verdict ls` names it."
)
check_option = option("--check", required=True, metavar="NAME", help="The check that failed.")


@command(
    "waive",
    Example(
        "for a month",
        'deltareg verdict waive ID --check perplexity -m "known, JIRA-12" --expires 30d',
    ),
    see_also=("verdict show", "verdict unwaive", "channel policy explain"),
)
@verdict_argument
@check_option
@required_reason_option()
@option(
    "--expires",
    default="30d",
    show_default=True,
    metavar="DURATION|TIME",
    help="When it ends: 30d, or an RFC 3339 time or date (UTC).",
)
@click.pass_obj
def waive(
    invocation: Invocation, verdict_id: str, *, check: str, reason: str, expires: str
) -> None:
    """Answer for a failed check of a verdict until a time.

    Until then it does not fail the gate.

    It takes the right to promote, and another person than the one who pushed the version. Checks
    that show bytes, base or computation to be other than they claim are never waived: digests,
    accounting, finite, overflow, attached_equals_folded, golden. The verdict stays fail; the waiver
    is shown with it, at gate check, and in the audit trail. Once it has expired the check fails
    again.
    """
    found = invocation.client.verdicts.waive(verdict_id, check, reason=reason, expires=expires)
    blocks = verdict_blocks(found, now=invocation.now)
    invocation.output.show(Answer(fields(found, *RESULT_FIELDS), blocks, [found.id]))


@command(
    "unwaive",
    Example("it fails again", "deltareg verdict unwaive ID --check perplexity"),
    see_also=("verdict waive", "verdict show"),
)
@verdict_argument
@check_option
@click.pass_obj
def unwaive(invocation: Invocation, verdict_id: str, *, check: str) -> None:
    """End the waiver of a check: it fails again.

    The waiver and who ended it stay in the record. It takes the right to promote.
    """
    found = invocation.client.verdicts.unwaive(verdict_id, check)
    blocks = verdict_blocks(found, now=invocation.now)
    invocation.output.show(Answer(fields(found, *RESULT_FIELDS), blocks, [found.id]))
