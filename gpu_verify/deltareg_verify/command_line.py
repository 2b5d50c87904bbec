"""The commands of `deltareg-worker`: take runs, or do one thing and report the result."""

import json
import logging
import os
import shutil
import time
from contextlib import closing, nullcontext
from dataclasses import replace
from pathlib import Path

import click

from deltareg.client import Client, WorkerClient
from deltareg.client.assertions import PodSource
from deltareg.client.config import ClientConfig, load_config
from deltareg.client.token_reach import why_withheld
from deltareg.errors import Inconclusive, InvalidInput, Misconfigured, Unavailable
from deltareg.gate.verifier import VERIFIER
from deltareg.host.process import explain_errors
from deltareg.host.traces import open_tracer
from deltareg.words import RUN_KIND_NAMES, SCHEMES
from deltareg_verify.entry import main
from deltareg_verify.messages.report import CheckSurroundings, listen
from deltareg_verify.sandbox import layers
from deltareg_verify.sandbox.escape_trial import stand_trial
from deltareg_verify.sandbox.zygote import Zygote
from deltareg_verify.supervisor.base_cache import BaseCache
from deltareg_verify.supervisor.base_measures import BaseMeasures
from deltareg_verify.supervisor.decoding import FOLDER_PREFIX, ChildDecoder
from deltareg_verify.supervisor.key import identity_of
from deltareg_verify.supervisor.materials import MaterialSource
from deltareg_verify.supervisor.options import WorkerOptions
from deltareg_verify.supervisor.settings import resolve
from deltareg_verify.supervisor.stop import StopSignal
from deltareg_verify.supervisor.traced_children import TracedChildren
from deltareg_verify.supervisor.worker import RUN_PREFIX, Worker

log = logging.getLogger(__name__)

_DESCRIBE_S = 60.0
_GIB = 1 << 30
_STALE_S = 2 * 86_400
_EPILOG = "Every option is also a variable: DELTAREG_WORKER_NAME, … (docs/settings.md)."


@main.command(epilog=_EPILOG)
@click.option("--server", metavar="URL", help="The registry. Default: the client's setting.")
@click.option("--once", is_flag=True, help="Take one run, if there is one, then stop; proofs come before it.")
@click.option("--run", "only_run", metavar="ID", default="", help="Take this run only, then stop.")
@click.option("--gpu", metavar="N|cpu|auto", help="The device; auto is the first GPU, if any.")
@click.option("--name", help="How the worker calls itself; each needs a name of its own.")
@click.option(
    "--base-dir",
    "base_dirs",
    metavar="PATH",
    multiple=True,
    type=click.Path(path_type=Path, exists=True, file_okay=False),
    help="A folder with a base, or with folders of bases; may be given often.",
)
@click.option(
    "--only",
    metavar="KIND",
    multiple=True,
    type=click.Choice(RUN_KIND_NAMES),
    help="Take runs of this kind alone; may be given often.",
)
@click.option("--scratch", type=click.Path(path_type=Path), help="Where runs are unpacked.")
@click.option(
    "--lease-wait",
    "lease_wait_s",
    type=click.FloatRange(0, 60),
    metavar="SECONDS",
    help="How long one request for work waits.",
)
def run(
    *,
    server: str | None,
    once: bool,
    only_run: str,
    gpu: str | None,
    name: str | None,
    base_dirs: tuple[Path, ...],
    only: tuple[str, ...],
    scratch: Path | None,
    lease_wait_s: float | None,
) -> None:
    """Take runs from the registry, check versions on their bases, and send verdicts.

    The worker needs a token that may read and verify (DELTAREG_TOKEN, DELTAREG_TOKEN_FILE, or one
    that `deltareg auth login` keeps), a key that an admin has enrolled (see deltareg-worker key),
    and no database and no bucket. A base is found by its
    fingerprint: in --base-dir, where a client pushed or registered it from, in the Hugging Face
    cache, else it is fetched from the registry.

    What it reads of a version is read by a child process without credentials and network. SIGTERM
    ends the worker at once while it waits, and after its run or a grace while it works.
    """
    flags = {
        "gpu": gpu,
        "name": name,
        "scratch": scratch,
        "lease_wait_s": lease_wait_s,
        "base_dirs": ":".join(map(str, base_dirs)) or None,
        "only": " ".join(only) or None,
    }
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s")
    logging.getLogger("httpx").setLevel(logging.WARNING)
    with explain_errors():
        _run(resolve(flags, is_once=once, only_run=only_run), server)


@main.command("key", epilog=_EPILOG)
@click.option(
    "--file",
    "key_file",
    metavar="FILE",
    type=click.Path(path_type=Path),
    help="Where the key is kept. Default: the setting, else this user's data folder.",
)
@click.option("--host", metavar="NAME", help="What this machine is called; asked of it if not.")
def key(*, key_file: Path | None, host: str | None) -> None:
    """Print this worker's public key, for an admin to enrol; it is made where there is none.

    The key in the file is the worker's identity: what is signed with it is taken for what this
    worker found. It is never printed, and a file that is there is never overwritten.
    """
    flags = {"key_file": key_file, "host": host}
    logging.basicConfig(level=logging.WARNING)
    with explain_errors():
        options = resolve(flags, is_once=True)
        own = identity_of(options.key_file, options.host, is_for_one_run=False)
    click.echo(own.text)
    click.echo(f"kept in {options.key_file}; an admin enrols it:", err=True)
    click.echo(f"  deltareg worker enrol NAME --key {own.text}", err=True)


def _run(options: WorkerOptions, server: str | None) -> None:
    layers.conceal()
    stop = StopSignal(options.stop_grace_s)
    stop.listen()
    config = load_config(flags={"server": server} if server else {}).config
    if (refusal := why_withheld(config)) is not None:  # said at once, not after a minute of preparing
        raise refusal
    options.scratch.mkdir(mode=0o700, parents=True, exist_ok=True)
    sweep(options.scratch, now=time.time())
    own = identity_of(options.key_file, options.host, is_for_one_run=bool(options.only_run))
    if options.id_token_file is not None:
        config = replace(config, token=None, pod=PodSource(options.id_token_file, own.key))
    tracer = open_tracer("deltareg-worker")
    with (
        WorkerClient(config, key=own.key, host=own.host) as client,
        Zygote(options.scratch, environment=os.environ) as zygote,
        nullcontext() if tracer is None else closing(tracer),
    ):
        client.decode_with(ChildDecoder(zygote, options, stop))
        with stop.waiting():
            _introduce(config)
            surroundings = _describe(zygote, options)
            device = surroundings.environment["device"]
            log.info("worker=%s device=%s sandbox=%s", options.name, device, surroundings.sandbox)
            escapes = stand_trial(
                zygote,
                options.scratch,
                memory_bytes=layers.memory_bound(device, options.memory_bytes),
                accepted=options.accepted_layers,
            )
        base_cache = BaseCache(client.cache, max_bytes=options.base_cache_bytes)
        stock = MaterialSource(client, base_dirs=options.base_dirs, base_cache=base_cache)
        Worker(
            registry=client,
            gather=stock.gather,
            gather_sides=stock.gather_sides,
            reencode=stock.reencode,
            stored=client.bring_stored,
            open_reference=stock.open_reference,
            children=zygote if tracer is None else TracedChildren(zygote, tracer),
            tracer=tracer,
            options=options,
            device=device,
            escapes=escapes,
            labels={
                **options.labels,
                **labels(surroundings),
                "worker": options.name,
                "runs": ",".join(options.only or RUN_KIND_NAMES),
            },
            stop=stop,
            base_cache=base_cache,
            measures=BaseMeasures(client, zygote, options, device, surroundings.environment),
        ).serve()


def sweep(scratch: Path, *, now: float) -> None:
    """Remove run folders that a killed worker left, once no run can still be using them."""
    folders = (folder for prefix in (RUN_PREFIX, FOLDER_PREFIX) for folder in scratch.glob(f"{prefix}*"))
    for folder in folders:
        if now - folder.stat().st_mtime > _STALE_S:
            shutil.rmtree(folder, ignore_errors=True)


def labels(found: CheckSurroundings) -> dict[str, str]:
    """Return the labels that a worker offers: device, GPU and its memory in GiB, and library versions."""
    environment = found.environment
    offers = {
        "device": environment["device"].partition(":")[0],
        "verifier": VERIFIER,
        "quantised": ",".join(SCHEMES),
        "prompts": "plain,chat",
    }
    offers |= {key: environment[key] for key in ("torch", "cuda", "driver") if key in environment}
    if "gpu" in environment:
        offers["gpu"] = environment["gpu"]
        offers["gpu_memory_gib"] = str(int(environment["gpu_memory_bytes"]) // _GIB)
    return offers


def _introduce(config: ClientConfig) -> None:
    """Check the token at once; a server that is not up yet may come later.

    Raises:
        Unauthenticated: The token is not valid.
    """
    try:
        with Client(replace(config, patience_s=0.0)) as client:
            client.whoami()
    except Unavailable as error:
        log.warning("the registry does not answer yet: %s", error.message)


def _describe(zygote: Zygote, options: WorkerOptions) -> CheckSurroundings:
    device = f"cuda:{options.gpu}" if options.gpu.isdecimal() else options.gpu
    if device not in {"cpu", "auto"} and not options.gpu.isdecimal():
        raise InvalidInput(f"not a device: {options.gpu[:40]!r}", fix="--gpu 0, --gpu cpu or auto")
    request = json.dumps({"device": device, "scratch": str(options.scratch.absolute())})
    try:
        answer = zygote.run(b"describe " + request.encode(), wall_s=_DESCRIBE_S)
        return listen(answer).surroundings
    except Inconclusive as error:
        raise Misconfigured(error.message, fix=error.fix) from error
