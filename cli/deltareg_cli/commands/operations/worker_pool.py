"""`deltareg worker pool`: workers that Slurm or Ray starts by the length of the queue."""

import os
import re
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import TypeVar

import click

from deltareg.client.pool.engine import PoolEngine, PoolWorkers, variables_of
from deltareg.client.pool.keeper import PoolKeeper, PoolLook, only_keeper
from deltareg.errors import InvalidInput, Unavailable
from deltareg.words import RUN_KIND_NAMES
from deltareg_cli.invocation import Invocation
from deltareg_cli.options.options import DurationParam, option
from deltareg_cli.runs.launch import build_flags
from deltareg_cli.terminal.blocks import CommandResult, LinesBlock
from deltareg_cli.terminal.wording import count
from deltareg_cli.tree.command_tree import command, group
from deltareg_cli.tree.help_page import Example

Body = TypeVar("Body", bound=Callable[..., object])
_NAME, _OFFER = r"[a-z][a-z0-9-]{0,39}", r"[a-z][a-z0-9_-]{0,39}=[^\s=]{1,100}"


@dataclass(frozen=True, slots=True, kw_only=True)
class PoolOptions:
    """The options that all engines have."""

    name: str
    most: int
    least: int
    offers: tuple[str, ...]
    asked: bool
    only: tuple[str, ...]
    idle_s: float
    every_s: float
    folder: Path | None
    once: bool


@group(
    "pool",
    Example("up to 8 workers as jobs of Slurm", "deltareg worker pool slurm --most 8"),
    Example("up to 8 actors of Ray with a GPU each", "deltareg worker pool ray --most 8 --num-gpus 1"),
    see_also=("worker run", "worker ls"),
)
def pool() -> None:
    """Have workers started as the queue asks for them.

    The command runs on and asks the registry every few seconds how many runs want a worker of the
    pool. What it has started it keeps nowhere: it may be stopped and started again at any time, and
    workers go on meanwhile. They end by themselves once they are idle.
    """


def _pool_options(body: Body) -> Body:
    """Add the options that all engines have."""
    folder = click.Path(path_type=Path, file_okay=False)
    for each in reversed(
        (
            option("--pool", "name", default="main", metavar="NAME", help="The pool's name; main by default."),
            option("--most", required=True, type=click.IntRange(1, 10_000), help="How many workers there are at most."),
            option("--least", default=0, type=click.IntRange(0, 10_000), help="How many there are at least; 0."),
            option(
                "--offer",
                "offers",
                multiple=True,
                metavar="NAME=VALUE",
                help="What its workers offer, such as device=cuda or gpu=H100; may be repeated.",
            ),
            option("--asked", is_flag=True, help="Leave runs that ask for nothing to other pools."),
            option(
                "--only",
                multiple=True,
                metavar="KIND",
                type=click.Choice(RUN_KIND_NAMES),
                help="Take runs of this kind alone, such as prove; may be repeated.",
            ),
            option(
                "--idle", "idle_s", default="5m", type=DurationParam(), help="How long a worker waits for work; 5m."
            ),
            option("--every", "every_s", default="10s", type=DurationParam(), help="How often to look; 10s."),
            option("--folder", type=folder, metavar="DIR", help="Where its lock and its logs are."),
            option("--once", is_flag=True, help="Look once and stop."),
        )
    ):
        body = each(body)
    return body


@command(
    "slurm",
    Example("up to 8 workers", "deltareg worker pool slurm --most 8"),
    Example(
        "on GPUs of a partition, for what asks for one",
        "deltareg worker pool slurm --pool gpu --most 8 --offer device=cuda --asked --partition gpu --gres gpu:1",
    ),
    see_also=("worker run", "worker ls"),
)
@_pool_options
@option("--partition", metavar="NAME", help="The partition.")
@option("--gres", metavar="LIST", help="What each takes, such as gpu:1.")
@option("--sbatch", "others", multiple=True, metavar="OPTION", help="Another option of sbatch; may be repeated.")
@click.pass_obj
def slurm(
    invocation: Invocation, /, *, partition: str | None, gres: str | None, others: tuple[str, ...], **common: object
) -> None:
    """Have Slurm start workers, as array jobs.

    Run it where jobs are submitted. Its jobs are called deltareg-POOL; scancel --name ends them all.
    A worker needs a token in a file and its key where the nodes read them (DELTAREG_TOKEN_FILE,
    DELTAREG_WORKER_KEY_FILE): DELTAREG_TOKEN is not handed to Slurm, which would keep it.
    """
    from deltareg.client.pool.engines.slurm import SlurmPool

    named = {"partition": partition, "gres": gres}
    options = [*(f"--{name}={value}" for name, value in named.items() if value is not None), *others]
    _keep(invocation, lambda workers: SlurmPool(workers, options), _options(common))


@command(
    "ray",
    Example("up to 8 workers with a GPU each", "deltareg worker pool ray --most 8 --num-gpus 1 --offer device=cuda"),
    Example("a cluster elsewhere", "deltareg worker pool ray --most 8 --address ray://head:10001"),
    see_also=("worker run", "worker ls"),
)
@_pool_options
@option("--address", default="auto", metavar="ADDRESS", help="The cluster; by default the one of this machine.")
@option("--num-cpus", type=click.FloatRange(min=0), default=1.0, help="Processors that each takes; 1.")
@option("--num-gpus", type=click.FloatRange(min=0), default=0.0, help="GPUs that each takes; 0.")
@click.pass_obj
def ray(invocation: Invocation, /, *, address: str, num_cpus: float, num_gpus: float, **common: object) -> None:
    """Have a Ray cluster run workers, as actors.

    Its autoscaler, such as KubeRay's, adds the nodes that they need. All nodes have the same release
    of deltareg installed, a token in a file and the worker's key (DELTAREG_TOKEN_FILE,
    DELTAREG_WORKER_KEY_FILE); DELTAREG_TOKEN is not handed to Ray, which would keep it.
    """
    from deltareg.client.pool.engines.ray import RayPool

    def engine(workers: PoolWorkers) -> RayPool:
        return RayPool(workers, address=address, num_cpus=num_cpus, num_gpus=num_gpus)

    _keep(invocation, engine, _options(common))


for _command in (slurm, ray):
    pool.add_command(_command)


def _keep(invocation: Invocation, engine: Callable[[PoolWorkers], PoolEngine], options: PoolOptions) -> None:
    """Keep a pool until somebody ends this, or look once."""
    if re.fullmatch(_NAME, options.name) is None:
        raise InvalidInput(f"not the name of a pool: {options.name[:40]!r}", fix="letters of a to z, digits and dashes")
    from platformdirs import user_state_path  # what a page of help need not load

    labels = dict(map(_pair, options.offers))
    folder = (options.folder or user_state_path("deltareg") / "pools" / options.name).absolute()
    words = ["run", *build_flags(server=invocation.config.server)]
    words += [word for kind in options.only for word in build_flags(only=kind)]
    offered = " ".join(f"{name}={value}" for name, value in {**labels, "pool": options.name}.items())
    own = {"DELTAREG_WORKER_IDLE_S": f"{options.idle_s:g}", "DELTAREG_WORKER_LABELS": offered}
    workers = PoolWorkers(options.name, words, {**variables_of(os.environ), **own}, folder)
    ask = partial(invocation.client.runs.demand, options.name, labels=labels, what=options.only, asked=options.asked)
    keeper = PoolKeeper(ask, engine(workers), least=options.least, most=options.most, every_s=options.every_s)
    with only_keeper(folder):
        if options.once:
            look = keeper.step()
            document = {**asdict(look.size), **look.demand.model_dump()}
            invocation.output.show(CommandResult(document, [LinesBlock([_sentence(look)])], [str(look.size.workers)]))
            return
        keeper.keep(partial(_tell, invocation))


def _options(given: Mapping[str, object]) -> PoolOptions:
    return PoolOptions(**given)  # type: ignore[arg-type]  # as click has read them


def _pair(text: str) -> tuple[str, str]:
    """Parse `NAME=VALUE`; a value has no spaces, and of a GPU one word of its name is enough."""
    if re.fullmatch(_OFFER, text) is None:
        raise InvalidInput(f"no label: {text[:60]!r}", fix="write NAME=VALUE, without spaces: --offer device=cuda")
    name, _, value = text.partition("=")
    return name, value


def _tell(invocation: Invocation, look: PoolLook | Unavailable) -> None:
    invocation.output.note(_sentence(look) if isinstance(look, PoolLook) else f"not now: {look.message}")


def _sentence(look: PoolLook) -> str:
    """Say what a look has found: `runs: 4 waiting, 2 held; 6 workers, 3 not begun; started 3`."""
    size = look.size
    changes: list[str] = []
    if size.started:
        changes.append(f"started {size.started}")
    if size.cancelled:
        changes.append(f"cancelled {size.cancelled}")
    runs = f"runs: {look.demand.waiting} waiting, {look.demand.running} held"
    workers = f"{count(size.workers, 'worker')}, {size.waiting} not begun"
    return "; ".join([f"pool {look.demand.pool}: {runs}", workers, *changes])
