"""Verification, as one user sees it: runs, their logs, the queue, the workers."""

from collections.abc import Callable, Mapping

from deltareg.client.leased import Leased
from deltareg.client.resources import runs
from deltareg.refs import parse_id
from deltareg.wire import (
    LogLine,
    Page,
    Priority,
    RunCreate,
    RunInfo,
    RunLog,
    WorkerInfo,
    request_of,
)


class Verifying(Leased):
    """Has versions verified and follows how it goes."""

    def verify(
        self,
        ref: str,
        *,
        suite: str = "smoke",
        again: bool = False,
        labels: Mapping[str, str] | None = None,
        priority: Priority = "normal",
        channel: str | None = None,
    ) -> RunInfo:
        """Queue a verification, or join the one under way; for a channel, bound to its policy.

        With `labels` it is made by a worker that offers them, whatever was found elsewhere.
        """
        wanted = request_of(
            RunCreate, ref=ref, suite=suite, again=again, labels=dict(labels or {}),
            priority=priority, channel=channel,
        )  # fmt: skip
        return self.queue_verification(wanted)

    def queue_verification(self, wanted: RunCreate) -> RunInfo:
        """Queue the verification that a request asks for, or join the one under way."""
        return runs.verify(self._context, wanted)

    def wait_run(
        self,
        run_id: str,
        *,
        timeout_s: float,
        on_change: Callable[[RunInfo], None] | None = None,
        on_line: Callable[[LogLine], None] | None = None,
    ) -> RunInfo:
        """Wait until a run has ended, hearing of its changes and of the lines of its log.

        Raises:
            WaitTimeout: It goes on.
        """
        return runs.follow(
            self._context, run_id, timeout_s=timeout_s, on_change=on_change, on_line=on_line
        )

    def run(self, run_id: str) -> RunInfo:
        """Show a run."""
        return self._api.get(f"/runs/{parse_id(run_id, 'run')}", RunInfo)

    def find_run(self, text: str) -> RunInfo:
        """Find a run by its id, by its verdict's, or as the newest verification of a version."""
        return runs.find(self._context, text)

    def run_log(self, run_id: str, *, after: int = 0) -> RunLog:
        """Read a run with a page of its log, from the line after a number on."""
        return runs.read_log(self._context, run_id, after=after)

    def runs(
        self, *, state: str | None = None, cursor: str | None = None, limit: int = 50
    ) -> Page[RunInfo]:
        """List runs, newest first."""
        return self._api.get("/runs", Page[RunInfo], state=state, cursor=cursor, limit=limit)

    def queue(
        self, ref: str | None = None, *, cursor: str | None = None, limit: int = 50
    ) -> Page[RunInfo]:
        """List the runs that are under way, and then those that wait, the next one first."""
        return self._api.get("/queue", Page[RunInfo], ref=ref, cursor=cursor, limit=limit)

    def cancel_run(self, text: str) -> RunInfo:
        """End a run that waits or is under way; it is named as for `find_run`.

        Raises:
            Conflict: It has ended already.
        """
        return runs.act(self._context, text, "cancel")

    def rerun(self, text: str) -> RunInfo:
        """Queue a verification once more, with the suite as it is now."""
        return runs.act(self._context, text, "rerun")

    def workers(self) -> Page[WorkerInfo]:
        """List the workers of the last day, and what each of them runs."""
        return self._api.get("/workers", Page[WorkerInfo])
