"""`deltareg prove`: have stored bytes decoded and compared with their digests."""

from typing import TYPE_CHECKING

import click

from deltareg.errors import Corrupt, Unavailable
from deltareg_cli.invocation import Invocation
from deltareg_cli.options.options import option, timeout_option
from deltareg_cli.runs.waiting import run_answer, wait_for
from deltareg_cli.tree.command_tree import command
from deltareg_cli.tree.help_page import Example

if TYPE_CHECKING:
    from deltareg.wire import RunInfo

ORDER = 5


@command(
    "prove",
    Example("wait until its bytes are proven", "deltareg prove me/chat:v3 --wait"),
    Example("have somebody look once more", "deltareg prove me/chat:v3 --again --wait"),
    see_also=("base prove", "verify", "gate", "worker", "explain"),
    is_resumable=True,
)
@click.argument("ref", help="The version; a bare NS/NAME is its newest.")
@option("--again", is_flag=True, help="Decode it anew although it is proven.")
@option("--wait", is_flag=True, help="Wait until somebody has looked.")
@timeout_option()
@click.pass_obj
def prove(invocation: Invocation, ref: str, *, again: bool, wait: bool, timeout: float) -> None:
    """Have the bytes of a version proven by a worker.

    What is pushed is a claim of who pushed it, until a worker of somebody else has decoded every
    tensor and compared every digest. That is queued by each push and done first, in a moment for
    an adapter. Only then other pushes may build on these bytes, and channels take the version.

    A version whose bytes are something else than it says is corrupt: it is given to nobody, and
    pushing the same folder again heals it. Exit status 6 says so.
    """
    run = invocation.client.runs.prove(ref, again=again)
    finish_proof(invocation, run, wait=wait, timeout_s=timeout)


def finish_proof(invocation: Invocation, run: "RunInfo", *, wait: bool, timeout_s: float) -> None:
    """Wait for a proof if that is wanted, show it, and end with its status."""
    if wait:
        run = wait_for(invocation, run, timeout_s=timeout_s)
    invocation.output.show(run_answer(run, invocation))
    name = run.ref or run.base
    if run.proof == "corrupt":
        again = f"deltareg base push PATH {run.base}"
        if run.ref:
            base = invocation.client.show(run.ref).base.name
            again = f"deltareg push PATH {run.ref.partition(':')[0]} --base {base}"
        problem = f"{name} is corrupt: what is stored is not what it says"
        raise Corrupt(problem, fix=f"push the same folder again: {again}")
    if wait and run.proof is None:
        command = f"deltareg prove {run.ref}" if run.ref else f"deltareg base prove {run.base}"
        raise Unavailable(
            f"nobody could tell about {name}: {run.error or run.state}",
            fix=f"once that is fixed: {command} --again --wait",
        )
