"""`deltareg flatten`: store a version against its base alone."""

import click

from deltareg.errors import Unavailable
from deltareg_cli.command_tree import Place, command
from deltareg_cli.help_page import Example
from deltareg_cli.invocation import Invocation
from deltareg_cli.options import option, timeout_option
from deltareg_cli.waiting import run_answer, wait_for

PLACE = Place("Deltas", 130)


@command(
    "flatten",
    Example("queue it", "deltareg flatten me/chat:v7"),
    Example("wait until it is done", "deltareg flatten me/chat:v7 --wait"),
    see_also=("push", "stats storage", "gc", "worker"),
    is_resumable=True,
)
@click.argument("ref", help="The version, named exactly: ns/name:v3, ns/name@prod.")
@option("--wait", is_flag=True, help="Wait until the version is stored anew.")
@timeout_option()
@click.pass_obj
def flatten(invocation: Invocation, ref: str, *, wait: bool, timeout: float) -> None:
    """Store a version against its base alone.

    A version may be stored against the one before it, and that one again, four deep at most: it
    takes less room so, and a little longer to pull. Flattened, each tensor is decoded once. A
    worker fetches the version, encodes it anew, decodes that and compares every digest before it
    counts. Nothing about the version changes, and whoever is pulling it gets it. Bytes that are
    not needed any more go with deltareg gc.
    """
    run = invocation.client.versions.flatten(ref)
    if wait:
        run = wait_for(invocation, run, timeout_s=timeout)
    invocation.output.show(run_answer(run, invocation))
    if wait and run.state != "done":
        raise Unavailable(
            f"{run.ref} is stored as before: {run.error or run.state}",
            fix=f"when that is mended: deltareg flatten {run.ref} --wait",
        )
