"""At start-up a child tries to escape; a worker whose sandbox lets it out takes no runs.

What counts is what gets out, not which layer the kernel lacks: most escapes are closed twice. One
that succeeds though a layer against it holds is a broken sandbox, and nobody can accept that. One
that succeeds because its layers are missing can be accepted by naming the layer, in a setting.
"""

import logging
import secrets
import socket
import tempfile
import threading
from collections.abc import Callable, Collection, Generator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Protocol

from deltareg.errors import Inconclusive, InvalidInput, Misconfigured
from deltareg_verify.messages.report import CheckSurroundings, listen
from deltareg_verify.sandbox import layers
from deltareg_verify.sandbox.escapes import ESCAPES, METADATA, Address, Escape, EscapeTargets

log = logging.getLogger(__name__)

FOLDER_PREFIX = "run-trial-"
NONE = "none"
_TRIAL_S = 30.0
_MESSAGE_BYTES = 512
_ACCEPTABLE = tuple(dict.fromkeys(escape.layers[0] for escape in ESCAPES))
_REMEDIES = {
    "network": "allow user namespaces (unshare), or seccomp, on this host or in its container",
    "files": "run a kernel of 5.13 or later that has landlock in /sys/kernel/security/lsm",
    "calls": "allow seccomp filters on this host or in its container; x86_64 or aarch64 is needed",
    "limits": "allow setrlimit on this host or in its container",
}


class EscapeRunner(Protocol):
    """Starts children; `deltareg_verify.sandbox.zygote.Zygote` does."""

    def run(self, request: bytes, *, wall_s: float) -> bytes:
        """Run a request in a child and return its output."""
        ...


def accepted_layers(text: str) -> frozenset[str]:
    """Parse the layers whose escapes an operator accepts, separated by spaces or commas.

    Raises:
        InvalidInput: A layer does not exist.
    """
    names = frozenset(text.replace(",", " ").split())
    if unknown := sorted(names - set(_ACCEPTABLE)):
        raise InvalidInput(
            f"DELTAREG_WORKER_ALLOW_ESCAPES: no layer that escapes are named after: {unknown[0]!r}",
            fix=f"name some of: {' '.join(_ACCEPTABLE)}",
        )
    return names


def stand_trial(children: EscapeRunner, scratch: Path, *, memory_bytes: int | None, accepted: Collection[str]) -> str:
    """Have a child try all escapes under the limits of a run.

    Args:
        children: Starts the child.
        scratch: The folder of the runs' folders.
        memory_bytes: What a run may take, as `Bounds` says it.
        accepted: Layers whose escapes are accepted where the layer is missing.

    Returns:
        The names of the escapes that succeeded and are accepted, or `none`.

    Raises:
        Misconfigured: One succeeded that is not accepted, or the trial could not be held.
    """
    report = _try(children, scratch, memory_bytes=memory_bytes)
    names = set(report.environment["escapes"].split())
    out = [escape for escape in ESCAPES if escape.name in names]
    held_layers = set(report.sandbox.split())
    refuse_leaks(out, held_layers)
    refuse_gaps(out, accepted)
    for escape in out:
        log.warning("accepted: a child can %s, as layer %s is missing", escape.deed, escape.layers[0])
    # Nobody has a control group without being given one, so its lack is no news.
    if missing := [layer for layer in layers.LAYERS if layer not in {*held_layers, "cgroup"}]:
        log.warning("kernel or container: no %s; verdicts say so", ", ".join(missing))
    return " ".join(escape.name for escape in out) or NONE


def refuse_leaks(out: Sequence[Escape], held: Collection[str]) -> None:
    """Refuse a sandbox with a layer that claims to hold and does not.

    Raises:
        Misconfigured: There is such a layer.
    """
    for escape in out:
        if leaking := [layer for layer in escape.layers if layer in held]:
            raise Misconfigured(
                f"the sandbox leaks: a child can {escape.deed} (escape {escape.name}), "
                f"though layer {leaking[0]} is said to hold",
                fix="run no worker on this host; report its kernel and container runtime",
            )


def refuse_gaps(out: Sequence[Escape], accepted: Collection[str]) -> None:
    """Refuse a machine that lacks a layer needed against an escape, unless that is accepted.

    Raises:
        Misconfigured: A layer is missing.
    """
    open_ones = [escape for escape in out if escape.layers[0] not in accepted]
    if not open_ones:
        return
    layers = list(dict.fromkeys(escape.layers[0] for escape in open_ones))
    deeds = "; ".join(f"{escape.deed} ({escape.name})" for escape in open_ones)
    needed = " ".join(sorted({*accepted, *layers}))
    raise Misconfigured(
        f"without layer {', '.join(layers)} a child that reads uploads can escape here: {deeds}",
        fix=f"{'; '.join(_REMEDIES[layer] for layer in layers)}; or accept it, where you trust "
        f"whoever pushes: DELTAREG_WORKER_ALLOW_ESCAPES='{needed}'",
    )


def _try(children: EscapeRunner, scratch: Path, *, memory_bytes: int | None) -> CheckSurroundings:
    with (
        tempfile.TemporaryDirectory(prefix=FOLDER_PREFIX, dir=scratch.absolute()) as name,
        bystanders() as (host, resolver),
    ):
        own, outside = Path(name, "own"), Path(name, "outside")
        own.mkdir()
        outside.mkdir()
        (outside / "secret").write_text(secrets.token_hex())
        targets = EscapeTargets(
            host=host,
            metadata=METADATA,
            resolver=resolver,
            own=own,
            outside=outside,
            memory_bytes=memory_bytes,
            file_bytes=layers.FILE_BYTES,
        )
        try:
            return listen(children.run(b"escape " + targets.encode(), wall_s=_TRIAL_S)).surroundings
        except Inconclusive as error:
            raise Misconfigured(
                f"whether the sandbox holds could not be tried: {error.message}", fix=error.fix
            ) from error


@contextmanager
def bystanders() -> Generator[tuple[Address, Address]]:
    """Run a host that takes connections and a name server, on addresses of this machine alone."""
    with socket.create_server(("127.0.0.1", 0)) as host, socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as resolver:
        resolver.bind(("127.0.0.1", 0))
        is_over = threading.Event()
        answering = threading.Thread(target=_answer, args=(resolver, is_over.is_set))
        answering.start()
        try:
            yield host.getsockname(), resolver.getsockname()
        finally:
            is_over.set()
            resolver.sendto(b"", resolver.getsockname())
            answering.join()


def _answer(resolver: socket.socket, is_over: Callable[[], bool]) -> None:
    while True:
        question, asker = resolver.recvfrom(_MESSAGE_BYTES)
        if is_over():
            return
        resolver.sendto(question, asker)
