"""`deltareg trust`: pipelines that get a token without a stored secret."""

import click

from deltareg.documents.json_values import parse_json
from deltareg.errors import InvalidInput
from deltareg.words import TRUST_PROVIDERS, Scope, TrustProvider
from deltareg_cli.invocation import Invocation
from deltareg_cli.options.options import cursor_option, limit_option, option
from deltareg_cli.terminal.blocks import Cell, Column, CommandResult, Sentence, SentencesBlock, TableBlock
from deltareg_cli.terminal.documents import fields, page_fields
from deltareg_cli.terminal.paging import note_more
from deltareg_cli.tree.command_tree import command, group
from deltareg_cli.tree.help_page import Example

ORDER = 80
_SCOPES = ("read", "push", "promote", "serve")


@group(
    "trust",
    Example(
        "a repository pushes to team",
        "deltareg trust add github OWNER/REPO --id 74 --owner-id 65 --for team --scope push",
    ),
    see_also=("token", "member", "gate check"),
)
def trust() -> None:
    """Let pipelines get tokens without a stored secret.

    GitHub, GitLab and others say in a signed text which repository a job is of. A job sends that to
    the registry, and gets a token for a quarter of an hour if a trust accepts it. In CI deltareg
    does this by itself where there is no token.
    """


@command(
    "add",
    Example(
        "a repository of GitHub pushes",
        "deltareg trust add github OWNER/REPO --id 74 --owner-id 65 --for team --scope push",
    ),
    Example(
        "only its release workflow promotes",
        "deltareg trust add github OWNER/REPO --id 74 --owner-id 65 --ref main --workflow release.yml"
        " --environment production --for team --scope promote --as deployer",
    ),
    Example(
        "another issuer",
        "deltareg trust add oidc https://agent.buildkite.com --claim organization_id=0190 --for team --scope push",
    ),
    see_also=("trust ls", "trust rm", "member ls"),
)
@click.argument("provider", metavar="github|gitlab|oidc", type=click.Choice(TRUST_PROVIDERS), help="Whose CI it is.")
@click.argument("source", metavar="OWNER/REPO", help="The repository, for people to read; for oidc the issuer.")
@option("--id", "source_id", metavar="N", default="", help="The number of the repository or project.")
@option("--owner-id", metavar="N", default="", help="The number of its owner, in GitLab of its namespace.")
@option("--for", "namespace", metavar="NS", required=True, help="The namespace that its jobs may use.")
@option(
    "--scope",
    "scopes",
    multiple=True,
    required=True,
    type=click.Choice(_SCOPES),
    help="What its jobs may do there; may be repeated.",
)
@option("--ref", metavar="REF", default="", help="Only this branch, or a ref such as 'refs/tags/v*'.")
@option("--workflow", metavar="FILE", default="", help="Only this workflow, such as train.yml.")
@option("--environment", metavar="NAME", default="", help="Only jobs of this environment.")
@option("--claim", "claims", metavar="NAME=VALUE", multiple=True, help="For oidc: exactly so; NAME:=7 for numbers.")
@option("--as", "principal", metavar="NAME", default="", help="The service account; by default ci-NS.")
@option("--issuer", metavar="URL", default="", help="Of a GitLab or GitHub of one's own.")
@option("--audience", metavar="URL", default="", help="This server as jobs name it, if not as here.")
@click.pass_obj
def add(
    invocation: Invocation,
    provider: TrustProvider,
    source: str,
    *,
    source_id: str,
    owner_id: str,
    namespace: str,
    scopes: tuple[Scope, ...],
    ref: str,
    workflow: str,
    environment: str,
    claims: tuple[str, ...],
    principal: str,
    issuer: str,
    audience: str,
) -> None:
    """Let the jobs of a repository have tokens.

    A repository counts by its numbers, because its name may be somebody else's tomorrow. Without
    --ref, jobs of all branches and tags are accepted, and none of pull requests.

    The service account gets the roles that it lacks. You stand behind it.
    """
    made = invocation.client.trusts.add(
        provider,
        namespace=namespace,
        scopes=scopes,
        source_id=source_id,
        owner_id=owner_id,
        ref=ref,
        workflow=workflow,
        environment=environment,
        claims=dict(map(_parse_claim, claims)),
        issuer=source if provider == "oidc" else issuer,
        audience=audience,
        principal=principal,
        note=source,
    )
    sentences = [
        Sentence(f"{made.accepts}.", Cell(f"trust {made.id}", "name")),
        Sentence(f"A job calls this server {made.audience}."),
    ]
    invocation.output.show(CommandResult(fields(made, "id"), [SentencesBlock(sentences)], [str(made.id)]))


@command(
    "ls",
    Example("of a namespace", "deltareg trust ls team"),
    Example("all, as an admin", "deltareg trust ls --everywhere"),
    see_also=("trust add", "trust rm"),
)
@click.argument("namespace", metavar="[NS]", required=False, help="The namespace.")
@option("--everywhere", is_flag=True, help="Of all namespaces, for admins.")
@limit_option()
@cursor_option()
@click.pass_obj
def ls(invocation: Invocation, namespace: str | None, *, everywhere: bool, limit: int, cursor: str | None) -> None:
    """List what is accepted, a sentence each."""
    if (namespace is None) != everywhere:
        raise click.UsageError("name a namespace, or --everywhere")
    page = invocation.client.trusts.list(namespace, cursor=cursor, limit=limit)
    columns = [Column("trust", is_number=True), Column("accepts", is_prose=True), Column("by")]
    table = TableBlock(columns, [[Cell(str(row.id), "name"), row.accepts, row.created_by] for row in page.items])
    invocation.output.show(CommandResult(page_fields(page), [table], [str(row.id) for row in page.items]))
    note_more(invocation.output, page.next_cursor)


@command("rm", Example("one", "deltareg trust rm 3"), see_also=("trust ls", "member rm"))
@click.argument("trust_id", metavar="NUMBER", type=click.IntRange(min=1), help="Its number.")
@click.pass_obj
def rm(invocation: Invocation, trust_id: int) -> None:
    """End a trust, and every token that came of it, at once."""
    ended = invocation.client.trusts.remove(trust_id)
    sentences = [Sentence("ended, and the tokens that came of it are revoked", Cell(f"trust {ended.id}", "name"))]
    invocation.output.show(CommandResult(fields(ended, "id"), [SentencesBlock(sentences)], [str(ended.id)]))


def _parse_claim(text: str) -> tuple[str, object]:
    """Parse `NAME=VALUE`, a text, or `NAME:=VALUE`, a number, true or false."""
    name, equals, value = text.partition("=")
    if not equals or not name.rstrip(":"):
        raise InvalidInput(f"no claim: {text[:80]!r}", fix="write NAME=VALUE")
    if not name.endswith(":"):
        return name, value
    try:
        return name[:-1], parse_json(value)
    except ValueError as error:
        raise InvalidInput(f"no number, true or false: {value[:80]!r}", fix="write NAME:=7") from error


for _command in (add, ls, rm):
    trust.add_command(_command)
