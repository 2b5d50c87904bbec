"""`deltareg token`: tokens for people, scripts and workers."""

from collections.abc import Sequence
from datetime import datetime
from typing import TYPE_CHECKING

import click

from deltareg.words import SCOPES, TOKEN_KINDS, Scope, TokenKind
from deltareg_cli.commands.people.token_renew import renew
from deltareg_cli.invocation import Invocation
from deltareg_cli.options.options import AgeParam, option
from deltareg_cli.terminal.blocks import (
    Block,
    Cell,
    Column,
    CommandResult,
    FactsBlock,
    LinesBlock,
    TableBlock,
    Text,
    TitleBlock,
)
from deltareg_cli.terminal.documents import fields, page_fields
from deltareg_cli.terminal.wording import moment
from deltareg_cli.tree.command_tree import command, group
from deltareg_cli.tree.help_page import Example

if TYPE_CHECKING:
    from deltareg.wire import TokenInfo

ORDER = 70


@group(
    "token",
    Example("for a colleague", "deltareg token create --for ana --scope read --scope push"),
    see_also=("auth", "audit"),
)
def token() -> None:
    """Make, list, renew and revoke tokens.

    A token belongs to a principal, and what is done with it is written down under that name.
    """


@command(
    "create",
    Example("for a colleague", "deltareg token create --for ana --scope read --scope push"),
    Example(
        "for a worker, for half a year",
        "deltareg token create --for gpu-1 --kind wrk --everywhere --scope read --scope verify --expires 180d",
    ),
    Example(
        "for a script, in one namespace, that a group holds",
        "deltareg token create --for team-ci --kind ci --acts-for trainers --namespace team --scope read --scope push",
    ),
    Example(
        "for a colleague's script, as an admin",
        "deltareg token create --for ci-bot --kind ci --acts-for ana --scope read --scope push",
    ),
    see_also=("member add", "access explain", "token renew", "token revoke", "auth login"),
)
@option("--for", "principal", required=True, metavar="PRINCIPAL", help="Who acts with it.")
@option(
    "--scope",
    "scopes",
    multiple=True,
    default=("read",),
    show_default="read",
    type=click.Choice(SCOPES),
    help="What it allows; may be repeated.",
)
@option(
    "--kind",
    type=click.Choice(TOKEN_KINDS),
    default="pat",
    show_default=True,
    help="pat for a person, ci for a script, wrk for a worker.",
)
@option("--expires", type=AgeParam(), default="90d", show_default=True, help="After how long.")
@option("--namespace", "namespaces", multiple=True, metavar="NS", help="Only in this namespace; may be repeated.")
@option("--everywhere", is_flag=True, help="Give the principal the roles for it, in all namespaces.")
@option(
    "--acts-for",
    default=None,
    metavar="NAME",
    help="Whose script or worker it is: the person or the group that holds its secret. A script's first token has to"
    " say it; a worker is yours by default.",
)
@option("--note", default="", metavar="TEXT", help="What it is for.")
@click.pass_obj
def create(
    invocation: Invocation,
    *,
    principal: str,
    scopes: tuple[Scope, ...],
    kind: TokenKind,
    expires: float,
    namespaces: tuple[str, ...],
    everywhere: bool,
    acts_for: str | None,
    note: str,
) -> None:
    """Make a token for a principal.

    It allows what its scopes and the roles of the principal both allow, at the moment of use:
    deltareg member add gives roles in a namespace. Everybody reads what is not private, and whoever
    may push makes a namespace that nobody has.

    Admins make tokens for everybody. Owners of a namespace make them for scripts called NS-NAME,
    limited to the namespace. Everybody makes narrower ones for themselves, which end with the
    token that they were made with.

    In a rule about people, such as four eyes, what a script or a worker did counts as the work of
    whom it acts for, and of whoever made it a token without saying so. A script approves, reviews
    and waives nothing.

    It is shown this once; the registry keeps only its hash.
    """
    from deltareg.wire import TokenCreate, request_of  # messages load when something is asked

    new_token = invocation.client.tokens.create(
        request_of(
            TokenCreate,
            principal=principal,
            kind=kind,
            scopes=list(scopes),
            expires_in_s=int(expires),
            namespaces=list(namespaces) or None,
            everywhere=everywhere,
            acts_for=acts_for,
            note=note,
        )
    )
    blocks: list[Block] = [
        LinesBlock([Cell(new_token.token, "strong")]),
        FactsBlock(
            [
                ("for", f"{new_token.principal} ({new_token.kind})"),
                ("acts for", ", ".join(new_token.people)),
                ("may", ", ".join(new_token.scopes)),
                ("only in", ", ".join(new_token.namespaces or [])),
                ("expires", _expiry(new_token, invocation.now)),
                ("id", str(new_token.id)),
            ]
        ),
    ]
    invocation.output.show(CommandResult(fields(new_token, "id", "token"), blocks, [new_token.token]))
    invocation.output.note("it is not shown again; hand it over on a safe way")
    if new_token.lacking:
        invocation.output.note(
            f"{new_token.principal} holds no role yet for {', '.join(new_token.lacking)}:"
            f" deltareg member add NS {new_token.principal} --role ROLE"
        )


@command("ls", Example("all that you may see", "deltareg token ls"), see_also=("token revoke", "token renew"))
@click.pass_obj
def ls(invocation: Invocation) -> None:
    """List tokens, without their secrets.

    An admin sees all. Others see their own, those of their scripts and workers, and those of scripts
    that are limited to namespaces of theirs.
    """
    page = invocation.client.tokens.list()
    ids = [str(item.id) for item in page.items]
    table = token_table(page.items, now=invocation.now)
    invocation.output.show(CommandResult(page_fields(page), [table], ids))


@command("revoke", Example("at once", "deltareg token revoke 7"), see_also=("token ls",))
@click.argument("token_id", metavar="ID", type=click.IntRange(1), help="As token ls names it.")
@click.pass_obj
def revoke(invocation: Invocation, token_id: int) -> None:
    """Make a token worthless, at once and for good.

    What renewed it, and what its owner made with it for themselves, ends with it.
    """
    revoked = invocation.client.tokens.revoke(token_id)
    blocks: list[Block] = [
        TitleBlock(f"token {revoked.id}", "revoked"),
        FactsBlock([("for", revoked.principal), ("was", revoked.display)]),
    ]
    invocation.output.show(CommandResult(fields(revoked, "id"), blocks, [str(revoked.id)]))


def token_table(tokens: Sequence["TokenInfo"], *, now: datetime) -> TableBlock:
    """Build the table of tokens."""
    columns = [
        Column("id", is_number=True),
        Column("token"),
        Column("for"),
        Column("kind"),
        Column("may"),
        Column("expires"),
        Column("last used"),
        Column("note", is_prose=True),
    ]
    rows: list[list[Text]] = [
        [
            Cell(str(item.id), "name"),
            item.display,
            item.principal + (f" (for {', '.join(item.people)})" if item.people else ""),
            item.kind,
            ", ".join(item.scopes) + _where(item),
            Cell("revoked", "bad") if item.revoked_at else _expiry(item, now),
            moment(item.last_used_at, now=now) if item.last_used_at else Cell("never", "dim"),
            item.note,
        ]
        for item in tokens
    ]
    return TableBlock(columns, rows, if_empty="no tokens")


def _where(item: "TokenInfo") -> str:
    return f" in {', '.join(item.namespaces)}" if item.namespaces else ""


def _expiry(item: "TokenInfo", now: datetime) -> str:
    return moment(item.expires_at, now=now) if item.expires_at else "never"


for _command in (create, ls, renew, revoke):
    token.add_command(_command)
