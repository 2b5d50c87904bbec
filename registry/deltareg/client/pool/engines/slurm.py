"""Slurm: the workers of a pool are the tasks of array jobs, which share a name.

All state is Slurm's. A job is submitted held, then counted with all others of its name, and only as
many as are wanted are released. So whatever is killed between any two commands, tasks that may run
are never more than wanted, and what was left held is released or cancelled by the next look.
"""

import os
import re
import shlex
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from deltareg.client.pool.engine import PoolSize, PoolWorkers
from deltareg.errors import Misconfigured, Unavailable

_WAIT_S = 120.0
_STOP_BEFORE_S = 60
_HELD = ("JobHeldUser", "JobHeldAdmin")
_ENDS = frozenset({"CG"})
_REFUSED = re.compile(r"invalid|not available|denied|unrecogni[sz]ed|not permitted|disabled", re.IGNORECASE)
_MOST_IDS = 200
# Not all of an environment: Slurm keeps it, and other people's tools may show it.
_KEPT = frozenset({"PATH", "HOME", "USER", "LOGNAME", "LANG", "LC_ALL", "PYTHONPATH", "LD_LIBRARY_PATH", "VIRTUAL_ENV"})
_OF_SLURM = ("XDG_C", "XDG_D", "SLURM_", "SBATCH_", "SQUEUE_", "SCANCEL_")


@dataclass(frozen=True, slots=True)
class SlurmTask:
    """A task of an array job: its id as `1234_5`, whether it has begun, and whether it is held."""

    id: str
    has_begun: bool
    is_held: bool


@dataclass(frozen=True, slots=True)
class SlurmPool:
    """A pool whose workers Slurm starts.

    Attributes:
        workers: What they are.
        options: Options of `sbatch` beside ours: `--partition=gpu`, `--gres=gpu:1`.
    """

    workers: PoolWorkers
    options: Sequence[str] = ()

    def bring_to(self, wanted: int) -> PoolSize:
        """Submit what is lacking as one array job, and cancel tasks that are not wanted and not begun."""
        tasks = self.tasks()
        lacking = max(0, wanted - len(tasks))
        if lacking:
            self._submit(lacking)
            tasks = self.tasks()
        surplus = len(tasks) - wanted
        unbegun = sorted((task for task in tasks if not task.has_begun), key=lambda task: not task.is_held)
        cancelled = unbegun[: max(0, surplus)]
        self._tell("scancel", cancelled)
        left = [task for task in unbegun if task not in cancelled]
        self._tell("scontrol", [task for task in left if task.is_held], "release")
        return PoolSize(len(tasks) - len(cancelled), len(left), lacking, len(cancelled))

    def tasks(self) -> list[SlurmTask]:
        """List the tasks of the pool that run or wait; those that just end are none any more.

        Raises:
            Unavailable: Slurm does not answer now.
        """
        words = ["--noheader", "--array", "--me", f"--name={self._name}", "--format=%i|%t|%r"]
        rows = [line.strip().split("|") for line in _ask("squeue", *words).splitlines() if line.strip()]
        return [SlurmTask(row[0], row[1] != "PD", row[2] in _HELD) for row in rows if row[1] not in _ENDS]

    @property
    def _name(self) -> str:
        return f"deltareg-{self.workers.pool}"

    def _submit(self, number: int) -> None:
        logs = self.workers.folder / "logs"
        logs.mkdir(exist_ok=True)
        own = [
            "--parsable",
            "--hold",
            f"--array=0-{number - 1}",
            f"--job-name={self._name}",
            "--no-requeue",  # of a node that died; the next look starts another
            f"--signal=B:TERM@{_STOP_BEFORE_S}",  # before the time limit, so that the run is given back
            f"--output={logs}/%A_%a.log",
            "--open-mode=append",
        ]
        _ask("sbatch", *self.options, *own, text=self._script(), environ=self.workers.environ)

    def _script(self) -> str:
        name = f"{self.workers.pool}-$SLURM_ARRAY_JOB_ID-$SLURM_ARRAY_TASK_ID"
        line = shlex.join([sys.executable, "-m", "deltareg_verify", *self.workers.words])
        return f'#!/bin/sh\nexec {line} --name "{name}"\n'

    @staticmethod
    def _tell(program: str, tasks: Sequence[SlurmTask], *words: str) -> None:
        for start in range(0, len(tasks), _MOST_IDS):
            ids = [task.id for task in tasks[start : start + _MOST_IDS]]
            _ask(program, *words, *([",".join(ids)] if words else ids))


def _ask(program: str, *words: str, text: str = "", environ: Mapping[str, str] | None = None) -> str:
    """Run a command of Slurm and return what it prints.

    Raises:
        Unavailable: Slurm does not answer now, or knows a task no more.
        Misconfigured: The command is not installed, or Slurm refuses what is submitted.
    """
    kept = {name: value for name, value in os.environ.items() if name in _KEPT or name.startswith(_OF_SLURM)}
    try:
        ended = subprocess.run(  # noqa: S603  # Slurm's, found as people find them
            [program, *words],
            input=text,
            env={**kept, **(environ or {})},
            capture_output=True,
            text=True,
            timeout=_WAIT_S,
            close_fds=False,  # it inherits the lock of the pool
            check=False,
        )
    except FileNotFoundError as error:
        raise Misconfigured(
            f"{program} is not installed here", fix="run this where jobs are submitted, such as a login node"
        ) from error
    except subprocess.TimeoutExpired as error:
        raise Unavailable(f"{program} takes more than {_WAIT_S:.0f} s") from error
    if ended.returncode == 0:
        return ended.stdout
    said = " ".join(ended.stderr.split())[:400] or f"it ended with status {ended.returncode}"
    if program == "sbatch" and _REFUSED.search(said):
        raise Misconfigured(f"Slurm refuses the workers: {said}", fix="change what is given by --sbatch")
    raise Unavailable(f"{program}: {said}")
