"""Pushes from a loop that makes a new delta every few seconds, each served as soon as possible.

::

    from deltareg.integrations.rl import StepPushes

    with StepPushes("team/policy", "rollout", base="llama-3.1-8b") as steps:
        for step in range(10_000):
            train(model, rollouts)
            steps.push(model, step)
            steps.wait(step)            # only where rollouts must be of this very step

The channel says which step is served, and agents on the rollout hosts follow it. Pushes run in the
background. Stale versions are deleted, so that ten thousand steps do not leave ten thousand
versions.
"""

import logging
import os
import shutil
import tempfile
import threading
import time
from collections import deque
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from deltareg.client import Client
from deltareg.errors import Conflict, DeltaregError, Forbidden, NotFound, Unavailable, WaitTimeout
from deltareg.integrations.before_training import check_before_training
from deltareg.integrations.newest_first import LatestOnlyQueue
from deltareg.integrations.run_facts import labels_of
from deltareg.integrations.snapshot import save_pretrained, take_snapshot

log = logging.getLogger(__name__)
_MEMORY = Path("/dev/shm")  # noqa: S108  # a folder of its own is made in it
_LOOP = "loop"
_PAGE = 200
_KEPT_REPORTS = 1_000


@dataclass(frozen=True, slots=True)
class StepReport:
    """The outcome of a step.

    Attributes:
        step: Its number.
        ref: Its version.
        uploaded_bytes: Bytes that were sent for it.
        pushed_s: How long the push took, in seconds.
        proven_s: How long it took from then until a worker had proved it, in seconds.
        moved_s: How long it took from then until the channel served it, in seconds.
    """

    step: int
    ref: str
    uploaded_bytes: int
    pushed_s: float
    proven_s: float
    moved_s: float


@dataclass(frozen=True, slots=True)
class _Ready:
    folder: Path
    step: int
    labels: Mapping[str, str]


class StepPushes:
    """Pushes the steps of a loop, has a channel serve the newest, and deletes stale ones.

    The channel's policy decides what a step has to pass; one that asks only for proven bytes
    (`smoke: false`) serves it in a fraction of a second. The token has to allow push and promote on
    the line, and `admin` to delete.

    Attributes:
        reports: The outcomes of the last steps.
    """

    def __init__(
        self,
        line: str,
        channel: str,
        *,
        base: str | None = None,
        trained_on: str | None = None,
        loop: str = "",
        keep: int = 8,
        keep_every: int = 0,
        proof_s: float = 60.0,
        scratch: Path | str | None = None,
        client: Client | None = None,
    ) -> None:
        """Configure where to push and what to keep.

        Args:
            line: The line, `ns/name`.
            channel: The channel that serves the newest step; created if it does not exist.
            base: The base that is trained on: its name, its folder, or a version; None for the one
                in the adapter's config.
            trained_on: The base to insist on where the adapter's config names another one.
            loop: The loop's name, so that a restarted loop deletes its earlier versions; empty for
                none.
            keep: How many of the newest steps to keep.
            keep_every: Keep every step divisible by this for good; 0 for none.
            proof_s: How long a worker may take to prove a pushed step, in seconds.
            scratch: Where a step is saved before it is pushed; None for a disk in memory, if the
                system has one.
            client: The client; None for one from the environment and the settings files.

        Raises:
            InvalidInput: The line is not a name for one.
            Forbidden, Unauthenticated: The token may not push there, or not move the channel.
            NotFound: There is no such base.
        """
        self._line, self._channel, self._loop = line, channel, loop
        self._base, self._trained_on = base, trained_on
        self._keep, self._keep_every, self._proof_s = max(keep, 1), keep_every, proof_s
        self._given, self._client = client, Client() if client is None else client
        with suppress(Unavailable):  # a loop may start before its registry; each step says what fails
            check_before_training(self._client, line, base, channel=channel)
        place = _MEMORY if scratch is None and os.access(_MEMORY, os.W_OK) else scratch
        self._scratch = Path(tempfile.mkdtemp(prefix="deltareg-steps-", dir=place))
        self._work = LatestOnlyQueue(self._do, self._pass_over)
        self._changed = threading.Condition()
        self._served: tuple[int, str] | None = None
        self._failure: tuple[int, DeltaregError | OSError] | None = None
        self._stale: dict[int, str] = {}
        self._may_delete, self._is_known = True, False
        self.reports: deque[StepReport] = deque(maxlen=_KEPT_REPORTS)

    def __enter__(self) -> Self:
        """Enter a `with` block."""
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        """Wait for the last step, unless the loop has ended with an error."""
        self.close(0 if kind is not None else self._proof_s)

    def close(self, timeout_s: float = 60.0) -> None:
        """Wait up to `timeout_s` for what is under way, then release everything."""
        is_over = self._work.wait(timeout_s)
        shutil.rmtree(self._scratch, ignore_errors=True)
        if self._given is None and is_over:
            self._client.close()

    def push(self, model: object, step: int, *, metrics: Mapping[str, float] | None = None) -> None:
        """Save a step and have it pushed; return once it is saved.

        A step that waits while an earlier one is pushed is replaced by the next.

        Args:
            model: The model, which has to have `save_pretrained`; or a folder that it was saved to.
            step: Its number, larger than those before.
            metrics: The step's metrics.

        Raises:
            InvalidInput: The model cannot save itself.
            OSError: There is no room to save it.
        """
        folder = self._scratch / f"step-{step}"
        if isinstance(model, str | Path):
            take_snapshot(Path(model), folder)
        else:
            save_pretrained(folder, model, fix="save it, and give the folder")
        own = {_LOOP: self._loop} if self._loop else {}
        labels = labels_of(step=step, epoch=None, metrics=metrics or {}, run_url="", own=own)
        self._work.put(_Ready(folder, step, labels))

    def wait(self, step: int, timeout_s: float = 60.0) -> str:
        """Wait until the channel serves a step or a later one; return its version.

        Raises:
            DeltaregError, OSError: That step, or a later one, could not be served.
            WaitTimeout: It is still under way.
        """

        def is_over() -> bool:
            is_served = self._served is not None and self._served[0] >= step
            return is_served or (self._failure is not None and self._failure[0] >= step)

        with self._changed:
            self._changed.wait_for(is_over, timeout_s)
            if self._served is not None and self._served[0] >= step:
                return self._served[1]
            if self._failure is not None and self._failure[0] >= step:
                raise self._failure[1]
        raise WaitTimeout(
            f"{self._line}@{self._channel} does not serve step {step} after {timeout_s:.0f} s",
            fix="deltareg verdict ls --pending shows whether a worker is there",
        )

    def _do(self, ready: _Ready) -> None:
        try:
            report = self._serve(ready)
        except (DeltaregError, OSError) as error:
            fix = f"; {error.fix}" if isinstance(error, DeltaregError) and error.fix else ""
            log.warning("%s: step %d is not served: %s%s", self._line, ready.step, error, fix)
            with self._changed:
                self._failure = (ready.step, error)
                self._changed.notify_all()
        else:
            with self._changed:
                self._served = (report.step, report.ref)
                self._changed.notify_all()
            self.reports.append(report)
            self._prune()
        shutil.rmtree(ready.folder, ignore_errors=True)

    def _serve(self, ready: _Ready) -> StepReport:
        client, began = self._client, time.monotonic()
        report = client.push(
            ready.folder,
            self._line,
            base=self._base,
            trained_on=self._trained_on,
            labels=ready.labels,
            message=f"step {ready.step}",
            golden=False,
        )
        ref, at_push = report.version.ref, time.monotonic()
        self._stale[ready.step] = ref
        if not self._is_known:
            client.channels.create(self._line, self._channel)
            self._find_own()
        if report.version.proof != "proven":
            client.runs.wait(client.runs.prove(ref), timeout_s=self._proof_s)
        at_proof = time.monotonic()
        client.promote(ref, self._channel, reason=f"step {ready.step}")
        return StepReport(
            ready.step, ref, report.uploaded_bytes, at_push - began, at_proof - at_push, time.monotonic() - at_proof
        )

    def _find_own(self) -> None:
        """Take over the versions that an earlier run of the same loop left."""
        self._is_known = True
        if not self._loop:
            return
        for version in self._client.versions.list(self._line, limit=_PAGE):
            step = version.labels.get("step", "")
            is_own = version.labels.get(_LOOP) == self._loop and step.isdecimal()
            if is_own and not version.is_deleted:
                self._stale.setdefault(int(step), version.ref)

    def _prune(self) -> None:
        """Delete versions that are neither among the newest nor to stay; retry failures later."""
        if not self._may_delete:
            return
        for step in sorted(self._stale)[: -self._keep]:
            if self._keep_every and step % self._keep_every == 0:
                del self._stale[step]
                continue
            try:
                self._client.versions.delete(self._stale[step])
            except Conflict:  # a channel serves it, or something was made from it
                continue
            except NotFound:
                pass
            except Forbidden as error:
                self._may_delete = False
                log.warning("stale steps of %s stay: %s; %s", self._line, error.message, error.fix)
                return
            except DeltaregError as error:
                log.warning("stale steps of %s stay for now: %s", self._line, error.message)
                return
            del self._stale[step]

    def _pass_over(self, ready: _Ready) -> None:
        shutil.rmtree(ready.folder, ignore_errors=True)
