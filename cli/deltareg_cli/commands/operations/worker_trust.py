"""`deltareg worker trust`: clusters whose pods are workers."""

import click

from deltareg_cli.invocation import Invocation
from deltareg_cli.options.options import option
from deltareg_cli.terminal.blocks import Cell, Column, CommandResult, Sentence, SentencesBlock, TableBlock
from deltareg_cli.terminal.documents import fields, page_fields
from deltareg_cli.tree.command_tree import command, group
from deltareg_cli.tree.help_page import Example

_CLUSTER = "https://kubernetes.default.svc.cluster.local"


@group(
    "trust",
    Example("pods of a service account", f"deltareg worker trust add {_CLUSTER} deltareg/deltareg-worker-cpu"),
    see_also=("worker enrol", "worker keys"),
)
def trust() -> None:
    """Let pods of a cluster be workers without a stored secret.

    A cluster says in a signed text which service account a pod is of. The pod sends that with the
    public half of a key that it has made, and is enrolled with it. It gets a token for an hour.
    """


@command(
    "add",
    Example("pods of a service account", f"deltareg worker trust add {_CLUSTER} deltareg/deltareg-worker-cpu"),
    see_also=("worker trust ls", "worker keys"),
)
@click.argument("issuer", help="The cluster, as its tokens name it; also in DELTAREG_ISSUERS of the servers.")
@click.argument("account", metavar="NAMESPACE/NAME", help="The service account.")
@option("--audience", metavar="URL", default="", help="This server as the pods name it, if not as here.")
@click.pass_obj
def add(invocation: Invocation, *, issuer: str, account: str, audience: str) -> None:
    """Let the pods of a service account be workers.

    Whoever may run a pod as that account has its verdicts count. Each pod is a worker of its own, by
    its name and with a key of its own, on the node that the cluster names.
    """
    made = invocation.client.trusts.add_worker(issuer, account, audience=audience)
    line = Sentence(f"pods of {made.account} are workers, called {made.workers}")
    invocation.output.show(CommandResult(fields(made, "id", "account"), [SentencesBlock([line])], [str(made.id)]))


@command("ls", Example("all of them", "deltareg worker trust ls"), see_also=("worker trust rm", "worker keys"))
@click.pass_obj
def ls(invocation: Invocation) -> None:
    """List the service accounts whose pods are workers."""
    page = invocation.client.trusts.list_worker()
    columns = [Column("id", is_number=True), Column("account"), Column("workers"), Column("issuer"), Column("by")]
    rows: list[list[str | Cell]] = [
        [str(each.id), Cell(each.account, "name"), each.workers, each.issuer, each.created_by] for each in page.items
    ]
    table = TableBlock(columns, rows, "no cluster's pods are workers here")
    invocation.output.show(CommandResult(page_fields(page), [table], [str(each.id) for each in page.items]))


@command("rm", Example("a cluster was given up", "deltareg worker trust rm 1"), see_also=("worker trust ls",))
@click.argument("number", type=int, help="Its number.")
@click.pass_obj
def rm(invocation: Invocation, *, number: int) -> None:
    """End a trust and the tokens of its workers, at once.

    What they signed goes on counting; deltareg worker revoke ends that.
    """
    invocation.confirm(f"End worker trust {number} and the tokens of its pods?")
    ended = invocation.client.trusts.remove_worker(number)
    line = Sentence(f"pods of {ended.account} are no workers any more")
    invocation.output.show(CommandResult(fields(ended, "id", "account"), [SentencesBlock([line])], [str(ended.id)]))


for _command in (add, ls, rm):
    trust.add_command(_command)
