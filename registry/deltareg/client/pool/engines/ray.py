"""Ray: each worker of a pool is an actor with a name, of which a cluster has one of each.

Names are slots, from 0 on, so whoever asks twice gets no second actor, and the cluster itself keeps
the bound. An actor lives on when whoever started it ends, and ends with its worker's process. An
autoscaler such as KubeRay's adds the nodes that waiting actors ask for, and removes idle ones.
"""

import os
import queue
import subprocess
import sys
import threading
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from importlib import import_module
from typing import Any, TypeAlias

from deltareg.client.pool.engine import PoolSize, PoolWorkers
from deltareg.errors import Misconfigured, Unavailable

_Ray: TypeAlias = Any
_Handle: TypeAlias = Any
_NAMESPACE = "deltareg"
_LOOK_S = 0.5


@dataclass(frozen=True, slots=True)
class RayPool:
    """A pool whose workers are actors of a Ray cluster.

    Attributes:
        workers: What they are.
        address: The cluster's address; `auto` for the one that this machine belongs to.
        num_cpus: Processors that each takes.
        num_gpus: GPUs that each takes; a part of one is allowed.
        resources: Ray's own resources that each takes, by name.
    """

    workers: PoolWorkers
    address: str = "auto"
    num_cpus: float = 1.0
    num_gpus: float = 0.0
    resources: Mapping[str, float] = field(default_factory=dict[str, float])

    def bring_to(self, wanted: int) -> PoolSize:
        """Start actors in the free slots, and kill those above that have no place yet."""
        ray = _connect(self.address)
        try:
            taken = self._find_slots(ray)
            free = [slot for slot in range(wanted) if slot not in taken]
            started = [slot for slot in free[: max(0, wanted - len(taken))] if self._start(ray, slot)]
            unplaced = self._find_unplaced(ray, [*taken, *started])
            surplus = unplaced[: max(0, len(taken) + len(started) - wanted)]
            for slot in surplus:
                self._kill(ray, slot)
        except ray.exceptions.RayError as error:
            raise Unavailable(f"Ray: {' '.join(str(error).split())[:400]}") from error
        left = len(unplaced) - len(surplus)
        return PoolSize(len(taken) + len(started) - len(surplus), left, len(started), len(surplus))

    def _find_slots(self, ray: _Ray) -> list[int]:
        names = (each["name"] for each in ray.util.list_named_actors(all_namespaces=True) if _is_ours(each))
        slots = (name.removeprefix(f"{self.workers.pool}/") for name in names)
        return sorted(int(slot) for slot in slots if slot.isdecimal())

    def _start(self, ray: _Ray, slot: int) -> bool:
        """Start the actor of a slot; tell whether it was free."""
        actor = ray.remote(WorkerActor).options(
            name=f"{self.workers.pool}/{slot}",
            namespace=_NAMESPACE,
            lifetime="detached",
            num_cpus=self.num_cpus,
            num_gpus=self.num_gpus,
            resources=dict(self.resources),
            max_restarts=0,  # of a node that died; the next look starts another
            max_concurrency=2,
        )
        try:
            actor.remote([*self.workers.words], dict(self.workers.environ), f"{self.workers.pool}-{slot}")
        except ValueError:  # another keeper was quicker
            return False
        return True

    def _find_unplaced(self, ray: _Ray, slots: Sequence[int]) -> list[int]:
        """Return the slots whose actors wait for a node, highest first."""
        handles = {slot: self._find(ray, slot) for slot in sorted(slots, reverse=True)}
        refs = {slot: actor.__ray_ready__.remote() for slot, actor in handles.items() if actor is not None}
        if not refs:
            return []
        _, waiting = ray.wait(list(refs.values()), num_returns=len(refs), timeout=_LOOK_S)
        return [slot for slot, ref in refs.items() if ref in waiting]

    def _kill(self, ray: _Ray, slot: int) -> None:
        actor = self._find(ray, slot)
        if actor is not None:
            ray.kill(actor, no_restart=True)

    def _find(self, ray: _Ray, slot: int) -> _Handle:
        with suppress(ValueError):  # it has just ended
            return ray.get_actor(f"{self.workers.pool}/{slot}", namespace=_NAMESPACE)
        return None


class WorkerActor:
    """What runs on a node: it starts a worker's process with itself, and ends with it."""

    def __init__(self, words: Sequence[str], environ: Mapping[str, str], name: str) -> None:
        """Start the worker; its process ends when this actor's does.

        Args:
            words: Its command and options: `run`, `--server`, ….
            environ: Its variables beside those of the node.
            name: How it calls itself.
        """
        self._line = [sys.executable, "-m", "deltareg_verify", "--with-parent", str(os.getpid()), *words]
        self._line += ["--name", f"{name}-{os.getpid()}"]
        self._environ = {**os.environ, **environ}
        self._pids: queue.Queue[int] = queue.Queue()
        # A process that is to end with its parent ends with the thread that started it.
        threading.Thread(target=self._run, daemon=True).start()
        self._pid = self._pids.get()

    def pid(self) -> int:
        """Return the number of the worker's process."""
        return self._pid

    def _run(self) -> None:
        ray: _Ray = import_module("ray")
        process = subprocess.Popen(self._line, env=self._environ)  # noqa: S603  # our own module
        self._pids.put(process.pid)
        process.wait()
        ray.kill(ray.get_runtime_context().current_actor, no_restart=True)


def _is_ours(entry: Mapping[str, str]) -> bool:
    return entry["namespace"] == _NAMESPACE


def _connect(address: str) -> _Ray:
    """Return Ray, connected; a connection that was lost is made anew.

    Raises:
        Misconfigured: Ray is not installed.
        Unavailable: The cluster does not answer now.
    """
    try:
        ray: _Ray = import_module("ray")
    except ImportError as error:
        raise Misconfigured("Ray is not installed here", fix="pip install 'deltareg[ray]'") from error
    if not ray.is_initialized():
        try:
            ray.init(address=address, namespace=_NAMESPACE, log_to_driver=False, logging_level="warning")
        except (ConnectionError, RuntimeError, TimeoutError) as error:
            raise Unavailable(f"no Ray cluster answers at {address}: {' '.join(str(error).split())[:200]}") from error
    return ray
