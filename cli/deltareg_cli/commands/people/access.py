"""`deltareg access`: why somebody may do something, and who has what."""

from pathlib import Path

import click

from deltareg.drawing.csv_rows import write_rows
from deltareg_cli.invocation import Invocation
from deltareg_cli.options.options import cursor_option, limit_option, option
from deltareg_cli.terminal.blocks import Cell, CommandResult, LinesBlock
from deltareg_cli.terminal.documents import as_it_is, page_fields
from deltareg_cli.terminal.paging import note_more
from deltareg_cli.tree.command_tree import command, group
from deltareg_cli.tree.help_page import Example
from deltareg_cli.views.access import access_blocks, holder_table, review_table

ORDER = 50
_PAGE = 200


@group(
    "access",
    Example("why not", "deltareg access explain ana promote team/chat@prod"),
    Example("who may do what there", "deltareg access ls team"),
    Example("what is too much", "deltareg access review"),
    see_also=("member", "token", "audit"),
)
def access() -> None:
    """Find out who may do what, why, and who has too much."""


@command(
    "explain",
    Example("why not", "deltareg access explain ana promote team/chat@prod"),
    Example("may I push there", "deltareg access explain ana push team/chat"),
    see_also=("member add", "token create"),
)
@click.argument("principal", metavar="PRINCIPAL", help="Who would act.")
@click.argument("action", metavar="ACTION", help="A scope: read, push, promote, approve, admin.")
@click.argument("ref", metavar="REF", help="NS, ns/name, ns/name@channel, base:NAME, or everywhere.")
@click.pass_obj
def explain(invocation: Invocation, principal: str, action: str, ref: str) -> None:
    """Say whether a principal may do something now, and why.

    About yourself, or about others where you manage members. The last line is the command that
    would give it.
    """
    explanation = invocation.client.members.explain(principal, action, ref)
    word = "yes" if explanation.allowed else "no"
    invocation.output.show(CommandResult(as_it_is(explanation), access_blocks(explanation), [word]))


@command(
    "review",
    Example("of everything", "deltareg access review"),
    Example("of a namespace", "deltareg access review team --unused 30"),
    see_also=("member ls", "member rm", "token ls"),
)
@click.argument("namespace", metavar="[NS]", required=False, help="Only what reaches this one.")
@option(
    "--unused",
    "unused_days",
    type=click.IntRange(1, 3650),
    default=90,
    show_default=True,
    metavar="DAYS",
    help="After how many days without use a role is named.",
)
@limit_option()
@cursor_option()
@click.pass_obj
def review(invocation: Invocation, namespace: str | None, *, unused_days: int, limit: int, cursor: str | None) -> None:
    """List who holds what, and what looks like too much.

    Legacy is what tokens allowed everywhere before namespaces had owners. Give people what they
    need where they need it, and end the legacy role then.
    """
    page = invocation.client.members.review(namespace, unused_days=unused_days, cursor=cursor, limit=limit)
    ids = [str(item.member.id) for item in page.items]
    invocation.output.show(CommandResult(page_fields(page), [review_table(page.items)], ids))
    note_more(invocation.output, page.next_cursor)


@command(
    "ls",
    Example("in a namespace", "deltareg access ls team"),
    Example("who may promote there", "deltareg access ls team --right promote"),
    Example("all of it, for a spreadsheet", "deltareg access ls --csv > access.csv"),
    see_also=("member ls", "access explain", "access review"),
)
@click.argument("namespace", metavar="[NS]", required=False, help="Only in this one.")
@option("--right", metavar="RIGHT", help="Only who may do this: read, push, promote, approve, …")
@option("--csv", "is_csv", is_flag=True, help="All as CSV, a row for each right of each role.")
@limit_option()
@cursor_option()
@click.pass_obj
def ls(
    invocation: Invocation, namespace: str | None, *, right: str | None, is_csv: bool, limit: int, cursor: str | None
) -> None:
    """List who may do what, what gives it, and their live tokens.

    In a namespace: if you manage members there. Everywhere: as an admin. Roles that reach everything
    and roles of groups are those of each member. Who is disabled may do nothing and is not listed.
    """
    members = invocation.client.members
    if is_csv:
        from deltareg.wire import HOLDER_HEADS, holder_rows  # messages load when something is asked

        holders = list(members.holders(namespace, right=right, cursor=cursor, limit=_PAGE))
        invocation.output.line(write_rows([HOLDER_HEADS, *holder_rows(holders)]).rstrip())
        return
    page = members.holders(namespace, right=right, cursor=cursor, limit=limit)
    table = holder_table(page.items, namespace, now=invocation.now)
    invocation.output.show(CommandResult(page_fields(page), [table], [each.principal for each in page.items]))
    note_more(invocation.output, page.next_cursor)


@command(
    "export",
    Example("the first files of an organisation", "deltareg access export registry"),
    see_also=("apply", "policy get"),
)
@click.argument("folder", metavar="DIR", type=click.Path(path_type=Path), help="A folder that is empty or new.")
@click.pass_obj
def export(invocation: Invocation, folder: Path) -> None:
    """Write access to files that deltareg apply reads.

    All that you see of it: an admin gets the whole server. Addresses of webhooks are not shown; in
    their place stands a variable of the environment, for you to set where you apply the files.
    """
    from deltareg.client.applying.exporting import export_folder  # YAML, which others need not load

    paths = [str(path) for path in export_folder(invocation.client, folder)]
    invocation.output.show(CommandResult({"paths": paths}, [LinesBlock([Cell(path, "name") for path in paths])], paths))


for _command in (ls, explain, review, export):
    access.add_command(_command)
