"""`deltareg audit`: who did what."""

import json
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar, cast

import click

from deltareg.errors import InvalidInput
from deltareg_cli.commands.operations.audit_log import accept, checkpoint, prove, verify
from deltareg_cli.invocation import Invocation
from deltareg_cli.options.options import cursor_option, limit_option, option
from deltareg_cli.terminal.blocks import Cell, Column, CommandResult, TableBlock, Text
from deltareg_cli.terminal.documents import fields, items_fields, page_fields
from deltareg_cli.terminal.output import to_json
from deltareg_cli.terminal.paging import note_more
from deltareg_cli.terminal.wording import moment, short, who
from deltareg_cli.tree.command_tree import command, group
from deltareg_cli.tree.help_page import Example

ORDER = 60

MOST = 200  # rows of a page
F = TypeVar("F", bound=Callable[..., Any])


@group("audit", Example("newest first", "deltareg audit ls"), see_also=("log", "token"))
def audit() -> None:
    """See who changed what.

    Every change is written down in one transaction with the change itself, and stays. Some seconds
    later it is sealed into a log under a checkpoint that the server signs, so that nobody can
    rewrite it unseen.
    """


def audit_filters(command: F) -> F:
    """Add what narrows the rows of the audit trail to a command."""
    for each in reversed(
        (
            click.argument("namespace", metavar="[NS]", required=False, help="Only what is about this one."),
            option("--actor", metavar="PRINCIPAL", help="Only what this principal did."),
            option("--action", metavar="ACTION", help="Only this, channel.promote, or of this kind: channel."),
            option("--subject", metavar="NAME", help="Only what was done to this."),
            option("--since", metavar="TIME", help="Only from then on: 7d, a date or an RFC 3339 time (UTC)."),
            option("--until", metavar="TIME", help="Only before then."),
        )
    ):
        command = each(command)
    return command


@command(
    "ls",
    Example("what is about your namespace", "deltareg audit ls team"),
    Example("who moved channels this week", "deltareg audit ls team --action channel --since 7d"),
    Example("before and after, for a script", "deltareg audit ls --subject me/chat --json"),
    see_also=("log", "channel history"),
)
@audit_filters
@limit_option()
@cursor_option()
@click.pass_obj
def ls(invocation: Invocation, /, *, limit: int, cursor: str | None, **asked: str | None) -> None:
    """List changes, newest first.

    Owners read what is about their namespaces; without one it takes an admin. The state before and
    after is in the JSON.
    """
    page = invocation.client.audit.list(**asked, cursor=cursor, limit=limit)
    columns = [
        Column("id", is_number=True),
        Column("when"),
        Column("by"),
        Column("action"),
        Column("subject"),
        Column("after", is_prose=True),
    ]
    rows: list[list[Text]] = [
        [
            str(row.id),
            moment(row.at, now=invocation.now),
            who(row.actor, row.via),
            Cell(row.action, "name"),
            row.subject,
            Cell(_brief(row.after), "dim"),
        ]
        for row in page.items
    ]
    table = TableBlock(columns, rows, if_empty="nothing was changed")
    ids = [str(row.id) for row in page.items]
    invocation.output.show(CommandResult(page_fields(page), [table], ids))
    note_more(invocation.output, page.next_cursor)


@command(
    "export",
    Example("all of it, a line a change", "deltareg audit export > audit.jsonl"),
    Example("a quarter for an auditor", "deltareg audit export team --since 2026-07-01 --proofs --out q3.jsonl"),
    Example("the whole log, to be verified offline", "deltareg audit export --proofs --out log.jsonl"),
    see_also=("audit ls", "audit verify"),
)
@audit_filters
@option("--proofs", is_flag=True, help="With the hashes and checkpoints that prove it, oldest first.")
@option("--out", metavar="FILE", help="With --proofs: where to write it; else to the output.")
@click.pass_obj
def export(invocation: Invocation, /, *, proofs: bool, out: str | None, **asked: str | None) -> None:
    """Write every change as a line of JSON, newest first.

    Page by page, so it may be long. With --json or -o yaml it is one document. With --proofs it is
    what deltareg audit verify reads: the whole log, or the rows that were asked for, each proven to
    be in the log that the server signed.
    """
    if proofs:
        _export_proofs(invocation, out, {name: word for name, word in asked.items() if word is not None})
        return
    if out is not None:
        raise InvalidInput("--out goes with --proofs", fix="or write: deltareg audit export > FILE")
    is_document = invocation.output.format in {"json", "yaml"}
    rows: list[dict[str, object]] = []
    cursor: str | None = None
    while True:
        page = invocation.client.audit.list(**asked, cursor=cursor, limit=MOST)
        items = [fields(row) for row in page.items]
        if is_document:
            rows += items
        elif items:
            lines = "".join(map(to_json, items))
            ids = [str(row.id) for row in page.items]
            invocation.output.show(CommandResult(items_fields(items), [], ids, raw=lines))
        cursor = page.next_cursor
        if cursor is None:
            break
    if is_document:
        invocation.output.show(CommandResult(items_fields(rows), []))


def _export_proofs(invocation: Invocation, out: str | None, asked: dict[str, str]) -> None:
    audit_log = invocation.client.audit

    def write(path: str | Path) -> int:
        return audit_log.export_excerpt(path, **asked) if asked else audit_log.export_log(path)

    if out is not None:
        rows = write(out)
        invocation.output.note(f"wrote {rows} rows to {out}")
        invocation.output.show(CommandResult({"rows": rows, "file": out}, []))
        return
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "log.jsonl"
        rows = write(path)
        document: dict[str, object] = {"rows": rows, "file": None}
        invocation.output.show(CommandResult(document, [], raw=path.read_text(encoding="utf-8")))


def _brief(state: object) -> str:
    text = "" if state is None else json.dumps(state, ensure_ascii=False)
    if isinstance(state, dict):
        fields = cast("dict[str, object]", state).items()
        text = ", ".join(f"{key} {short(str(value))}" for key, value in fields)
    return text if len(text) <= 120 else f"{text[:119]}…"


audit.add_command(ls)
audit.add_command(export)
audit.add_command(verify)
audit.add_command(prove)
audit.add_command(checkpoint)
audit.add_command(accept)
