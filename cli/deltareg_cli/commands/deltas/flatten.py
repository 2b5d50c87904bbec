"""`deltareg flatten`: store a version against its base alone."""

import click

from deltareg.errors import Unavailable
from deltareg_cli.invocation import Invocation
from deltareg_cli.options.options import option, timeout_option
from deltareg_cli.runs.waiting import run_answer, wait_for
from deltareg_cli.tree.command_tree import command
from deltareg_cli.tree.help_page import Example

ORDER = 130


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
    worker fetches the version and encodes it anew; another one decodes that and compares every
    digest, and only then it is served so. Nothing about the version changes, and whoever is pulling
    it gets it. How it was stored is kept for a week: deltareg storage revert goes back to it.
    """
    run = invocation.client.versions.flatten(ref)
    proof = None
    if wait:
        run = wait_for(invocation, run, timeout_s=timeout)
        if run.proof_run:
            proof = invocation.client.runs.show(run.proof_run)
            proof = wait_for(invocation, proof, timeout_s=timeout)
    invocation.output.show(run_answer(run, invocation))
    if proof is not None and proof.proof != "proven":
        raise Unavailable(
            f"{run.ref} is stored as before: nobody proved the new form ({proof.error or proof.proof or proof.state})",
            fix=f"deltareg storage history {run.ref}",
        )
    if wait and run.state != "done":
        raise Unavailable(
            f"{run.ref} is stored as before: {run.error or run.state}",
            fix=f"once that is fixed: deltareg flatten {run.ref} --wait",
        )
